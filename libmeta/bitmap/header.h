// SPDX-License-Identifier: GPL-2.0-or-later
// The 256-byte header that both write-intent bitmap formats share: which of the two its version means, where that puts
// the bits, and what the kernel would say to it at start. Knows nothing of the bits themselves.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "libmeta/field.h"
#include "libmeta/finding.h"
#include "libmeta/ondisk.h"
#include "libmeta/sectors.h"
#include "libmeta/source.h"
#include "libmeta/uuid.h"

namespace mdtool::bitmap {

constexpr std::uint32_t magic_number = 0x6d746962;
constexpr std::size_t header_bytes = 256;
constexpr std::size_t lockless_states_offset = 1024;  // bytes from the start of the area to chunk 0's state
// No bitmap of mdadm's is larger than 128 KiB; more than this is never read, whatever a header says.
constexpr std::uint64_t max_area_bytes = 512U << 10;
constexpr std::uint32_t write_behind_max = 16383;          // COUNTER_MAX in the kernel
constexpr std::uint32_t lockless_min_chunk_sectors = 128;  // MIN_CHUNK_SIZE in md-llbitmap.c
// default_space in super_1_validate(): the room of a lockless bitmap that reserves none.
constexpr std::uint32_t lockless_default_room_sectors = 6;
constexpr std::uint32_t lockless_daemon_sleep = 30;  // DEFAULT_DAEMON_SLEEP, seconds

// Values of `version`.
constexpr std::uint32_t version_host_endian = 3;
constexpr std::uint32_t version_little_endian = 4;
constexpr std::uint32_t version_clustered = 5;
constexpr std::uint32_t version_lockless = 6;

// Flag bits of `state`.
constexpr std::uint32_t state_stale = 1U << 1;
constexpr std::uint32_t state_write_error = 1U << 2;
constexpr std::uint32_t state_first_use = 1U << 3;    // lockless: header and states are not valid yet
constexpr std::uint32_t state_clean = 1U << 4;        // lockless: created with assume-clean
constexpr std::uint32_t state_daemon_busy = 1U << 5;  // lockless: harmless
constexpr std::uint32_t state_host_endian = 1U << 15;

struct Header {
  le32 magic;
  le32 version;  // 3 host-endian, 4, 5 clustered: classic; 6: lockless
  std::array<unsigned char, 16> uuid;
  le64 events;
  le64 events_cleared;
  le64 sync_size;  // sectors
  le32 state;
  le32 chunksize;     // classic: bytes; lockless: sectors, once FIRST_USE is clear
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
  Uuid uuid;                     // MemberDescription::bitmap_uuid
  std::uint64_t events = 0;      // the array's (the freshest in-sync member's)
  Sectors sync_size;             // member size for levels 1, 4, 5, 6; array size for 10
  std::uint64_t room_bytes = 0;  // MemberDescription::bitmap_room_bytes; a lockless bitmap brings its own
  bool raid456 = true;
};

// How the sync range is cut into chunks.
struct Geometry {
  Sectors chunk;
  std::uint64_t chunks = 0;
  friend bool operator==(const Geometry&, const Geometry&) = default;
};

// Also the last one that is not whole.
std::uint64_t chunks_in(Sectors size, Sectors chunk);

// Reads the header; fails if it lies outside of the source or the magic is wrong.
Result<Header> read_header(const Source&, std::uint64_t offset_bytes);
// The format that the on-disk version means, whatever anybody expects; none for an unknown version.
Kind kind_of(const Header&);
// Version 6 after a lockless bitmap on 4 KiB logical blocks took header bytes for states: a kernel bug destroyed it.
bool overwritten_by_states(const Header&);
// The cut that the kernel would use (for FIRST_USE: the one it would choose). Fails where the header allows none that
// fits into the room and into max_area_bytes.
Result<Geometry> geometry_of(const Header&, const Expected&);
// The bitmap did not see all writes (events behind the array's, or its STALE or WRITE_ERROR flag): every chunk is due.
bool missed_updates(const Header&, const Expected&);

// Everything that the header alone says, usable or not: refuses_array where the kernel would not start the array.
Findings verify_header(const Header&, const Expected&);
// The finding for a header that read_header() could not give.
Finding unreadable_header(const Error&);
Fields header_fields(const Header&);

// `used_bytes` of the member from `offset_bytes`, and the rest of the last sector where the source has it.
Result<std::vector<std::byte>> read_area(const Source&, std::uint64_t offset_bytes, std::uint64_t used_bytes);
// The area with this header in its first bytes.
std::vector<std::byte> area_with_header(const std::vector<std::byte>& area, const Header&);
// `out` becomes the part from `from_byte` on of area_with_header(); it ends within the area.
void copy_with_header(std::span<const std::byte> area, const Header&, std::uint64_t from_byte,
                      std::span<std::byte> out);

}  // namespace mdtool::bitmap
