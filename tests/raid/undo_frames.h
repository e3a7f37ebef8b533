// SPDX-License-Identifier: GPL-2.0-or-later
// Frames of an undo file around any content, with everything that guards them right: what a hostile file would hold.
#pragma once

#include <zstd.h>

#include <cstdint>
#include <span>
#include <vector>

#include "libmeta/checksum.h"
#include "libmeta/ondisk.h"

namespace mdtool {

inline std::vector<std::byte> sealed_frame(std::uint32_t sequence, std::span<const std::byte> raw,
                                           std::uint32_t version = 1) {
  constexpr std::size_t head_bytes = 44;
  std::vector<std::byte> frame(head_bytes + ZSTD_compressBound(raw.size()));
  const std::size_t length =
      ZSTD_compress(frame.data() + head_bytes, frame.size() - head_bytes, raw.data(), raw.size(), 1);
  frame.resize(head_bytes + length);
  const auto put = [&frame](std::size_t at, auto value) { static_cast<void>(store(std::span(frame), at, value)); };
  put(0, le32(0x184D2A50));
  put(4, le32(36));
  put(8, be64(0x6d64746c756e646f));  // "mdtlundo"
  put(16, le32(version));
  put(20, le32(sequence));
  put(24, le64(length));
  put(32, le64(raw.size()));
  put(40, le32(crc32c_standard(std::span(frame).first(40))));
  return frame;
}

}  // namespace mdtool
