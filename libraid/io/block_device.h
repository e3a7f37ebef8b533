// SPDX-License-Identifier: GPL-2.0-or-later
// A device: a size and bytes that can be read and, where it was opened for that, written. Behaviour is added by wrapping.
#pragma once

#include "libmeta/source.h"

namespace mdtool {

class BlockDevice : public Source {
 public:
  // All of `in` at `offset_bytes`, or an error; after an error any part of it may have been written.
  virtual Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) = 0;
  // When it succeeds, every write that had returned before it was called is durable.
  virtual Status flush() = 0;
};

}  // namespace mdtool
