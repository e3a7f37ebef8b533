// SPDX-License-Identifier: GPL-2.0-or-later
// A device: a size and bytes that can be read and, where it was opened for that, written. Behaviour is added by wrapping.
#pragma once

#include "libmeta/source.h"

namespace mdtool {

class BlockDevice : public Source {
 public:
  // All of `in` at `offset_bytes`, or an error; after an error any part of it may have been written.
  virtual Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) = 0;
  // As write(), and durable when it returns. What other writes left need not be.
  virtual Status write_durable(std::uint64_t offset_bytes, std::span<const std::byte> in);
  // The range reads as zeroes afterwards: given back to what lies below where that promises zeroes, else written.
  virtual Status zero(std::uint64_t offset_bytes, std::uint64_t length_bytes);
  // The content is not needed any more. What is read there until the next write is what was there, or zeroes.
  virtual Status discard(std::uint64_t offset_bytes, std::uint64_t length_bytes);
  // When it succeeds, every write that had returned before it was called is durable.
  virtual Status flush() = 0;
};

}  // namespace mdtool
