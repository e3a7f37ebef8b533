// SPDX-License-Identifier: GPL-2.0-or-later
// The 256-byte header that both write-intent bitmap formats share, and which of the two its version means.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "libmeta/field.h"
#include "libmeta/finding.h"
#include "libmeta/ondisk.h"
#include "libmeta/sectors.h"
#include "libmeta/source.h"
#include "libmeta/uuid.h"

namespace mdtool::bitmap {

constexpr std::uint32_t magic_number = 0x6d746962;
constexpr std::size_t header_bytes = 256;

// Flag bits of `state`.
constexpr std::uint32_t state_stale = 1U << 1;
constexpr std::uint32_t state_write_error = 1U << 2;
constexpr std::uint32_t state_first_use = 1U << 3;  // lockless: header and states are not valid yet
constexpr std::uint32_t state_clean = 1U << 4;      // lockless: created with assume-clean
constexpr std::uint32_t state_host_endian = 1U << 15;

struct Header {
  le32 magic;
  le32 version;  // 3 host-endian, 4, 5 clustered: classic; 6: lockless
  std::array<unsigned char, 16> uuid;
  le64 events;
  le64 events_cleared;
  le64 sync_size;  // sectors
  le32 state;
  le32 chunksize;  // classic: bytes; lockless: sectors, once FIRST_USE is clear
  le32 daemon_sleep;  // seconds
  le32 write_behind;
  le32 sectors_reserved;
  le32 nodes;
  std::array<char, 64> cluster_name;
  std::array<unsigned char, 120> pad;
};
static_assert(sizeof(Header) == header_bytes);

enum class Kind { none, classic, lockless };

// What the array's superblock leads one to expect of its bitmap.
struct Expected {
  Uuid uuid;                    // MemberDescription::bitmap_uuid
  std::uint64_t events = 0;     // the array's (the freshest in-sync member's)
  Sectors sync_size;            // member size for levels 1, 4, 5, 6; array size for 10
  std::uint64_t room_bytes = 0; // MemberDescription::bitmap_room_bytes
  bool raid456 = true;
};

// Reads the header; fails if it lies outside of the source or the magic is wrong.
Result<Header> read_header(const Source&, std::uint64_t offset_bytes);
// The format that the on-disk version means, whatever anybody expects; none for an unknown version.
Kind kind_of(const Header&);
Fields header_fields(const Header&);

}  // namespace mdtool::bitmap
