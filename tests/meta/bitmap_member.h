// SPDX-License-Identifier: GPL-2.0-or-later
// Members in memory with a write-intent bitmap, put together byte by byte from the documented offsets, so that a wrong
// structure declaration shows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libmeta/bitmap/header.h"
#include "libmeta/finding.h"
#include "libmeta/source.h"

namespace mdtool::testing {

class BytesSource final : public Source {
 public:
  explicit BytesSource(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  std::uint64_t size_bytes() const override { return bytes_.size(); }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override {
    if (!fits(offset_bytes, out.size(), bytes_.size())) {
      return Error{ErrorKind::out_of_range, "beyond the end"};
    }
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset_bytes), out.size(), out.begin());
    return Done{};
  }

 private:
  std::vector<std::byte> bytes_;
};

constexpr std::uint64_t bitmap_at = 8192;  // 1.2: superblock sector 8, bitmap 8 sectors behind it

class BitmapMember {
 public:
  std::vector<std::byte> bytes = std::vector<std::byte>(65536, std::byte{0xff});

  BitmapMember& put(std::size_t field, std::uint64_t value, std::size_t width) {
    for (std::size_t i = 0; i < width; ++i) {
      bytes[bitmap_at + field + i] = static_cast<std::byte>(value >> (8 * i));
    }
    return *this;
  }
  BitmapMember& put32(std::size_t field, std::uint32_t value) { return put(field, value, 4); }
  BitmapMember& put64(std::size_t field, std::uint64_t value) { return put(field, value, 8); }
  std::byte& at(std::size_t byte) { return bytes[bitmap_at + byte]; }
  BytesSource source() const { return BytesSource(bytes); }
};

// Offsets of the header's fields.
enum : std::size_t {
  at_magic = 0,
  at_version = 4,
  at_uuid = 8,
  at_events = 24,
  at_events_cleared = 32,
  at_sync_size = 40,
  at_state = 48,
  at_chunksize = 52,
  at_daemon_sleep = 56,
  at_write_behind = 60,
  at_sectors_reserved = 64,
  at_nodes = 68,
  at_cluster_name = 72,
  at_pad = 136,
  at_bits = 256,
  at_states = 1024,
};

inline BitmapMember member_with_header(std::uint32_t version, std::uint64_t sync_size, std::uint32_t chunksize) {
  BitmapMember member;
  std::fill_n(member.bytes.begin() + bitmap_at, bitmap::header_bytes, std::byte{0});
  for (std::size_t i = 0; i < 16; ++i) {
    member.at(at_uuid + i) = static_cast<std::byte>(0xa0 + i);
  }
  return member.put32(at_magic, 0x6d746962)
      .put32(at_version, version)
      .put64(at_events, 20)
      .put64(at_events_cleared, version == 6 ? 0 : 20)
      .put64(at_sync_size, sync_size)
      .put32(at_chunksize, chunksize)
      .put32(at_daemon_sleep, version == 6 ? 30 : 5)
      .put32(at_sectors_reserved, version == 6 ? 256 : 0);
}

inline bitmap::Expected expected_bitmap(std::uint64_t sync_size) {
  bitmap::Expected expected;
  for (std::size_t i = 0; i < 16; ++i) {
    expected.uuid.bytes[i] = static_cast<unsigned char>(0xa0 + i);
  }
  expected.events = 20;
  expected.sync_size = Sectors(sync_size);
  expected.room_bytes = 4096;
  return expected;
}

// 4 KiB chunks, the last one cut short: 101 bits and 3 of padding; bits 0, 9 and 100 are set, and so is the padding.
constexpr std::uint64_t classic_sync_size = 803;
inline BitmapMember classic_member() {
  BitmapMember member = member_with_header(4, classic_sync_size, 4096);
  std::fill_n(member.bytes.begin() + bitmap_at + at_bits, 12, std::byte{0});
  member.at(at_bits) = std::byte{0x01};
  member.at(at_bits + 1) = std::byte{0x02};
  member.at(at_bits + 12) = std::byte{0xf0};
  return member;
}

// 64 KiB chunks, the last one cut short: 100 states, which are 0 to 7 over and over; 0xff around them.
constexpr std::uint64_t lockless_sync_size = 12700;
constexpr std::uint64_t lockless_chunks = 100;
inline BitmapMember lockless_member() {
  BitmapMember member = member_with_header(6, lockless_sync_size, 128);
  for (std::size_t i = 0; i < lockless_chunks; ++i) {
    member.at(at_states + i) = static_cast<std::byte>(i % 8);
  }
  return member;
}

inline const Finding* find(const Findings& findings, std::string_view id) {
  const auto found = std::ranges::find(findings, id, &Finding::id);
  return found == findings.end() ? nullptr : &*found;
}

inline std::string ids(const Findings& findings) {
  std::string all;
  for (const Finding& finding : findings) {
    all += finding.id + " ";
  }
  return all;
}

}  // namespace mdtool::testing
