// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/disk_view.h"

#include <cstring>

#include "libmeta/checksum.h"

namespace mdtool::crash {

namespace {

template <typename T>
T number(const Image& image, std::uint64_t at) {
  T value{};
  std::memcpy(&value, image.data() + at, sizeof(value));
  return value;
}

}  // namespace

bool superblock_checksum_is_right(const ArraySpec& spec, const Image& image) {
  const std::uint64_t at = spec.superblock_sector() * sector_bytes;
  const std::size_t sum_at = spec.metadata == ArraySpec::Metadata::v1_2 ? 216 : 152;
  const auto bytes = std::span(image).subspan(at, spec.superblock_sectors() * sector_bytes);
  return superblock_sum<std::endian::little>(bytes, sum_at) == number<std::uint32_t>(image, at + sum_at);
}

std::uint64_t bitmap_events(const ArraySpec& spec, const Image& image) {
  return number<std::uint64_t>(image, spec.bitmap_sector() * sector_bytes + 24);
}

bool bit_is_set(const ArraySpec& spec, const Image& image, std::uint64_t bitmap_chunk) {
  const std::byte byte = image[spec.bitmap_sector() * sector_bytes + 256 + bitmap_chunk / 8];
  return (byte >> (bitmap_chunk % 8) & std::byte{1}) != std::byte{0};
}

std::uint8_t state_of(const ArraySpec& spec, const Image& image, std::uint64_t bitmap_chunk) {
  return std::to_integer<std::uint8_t>(image[spec.bitmap_sector() * sector_bytes + 1024 + bitmap_chunk]);
}

}  // namespace mdtool::crash
