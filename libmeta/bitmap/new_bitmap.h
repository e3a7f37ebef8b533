// SPDX-License-Identifier: GPL-2.0-or-later
// Bitmaps where there was none: the bytes of a whole area, as mdadm lays them down or ready for use. Knows neither
// superblocks nor where on a member there is room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "libmeta/bitmap/header.h"
#include "libmeta/bitmap/lockless_state.h"
#include "libmeta/result.h"

namespace mdtool::bitmap {

constexpr std::uint64_t min_new_chunk_bytes = 4096;                       // "sub-page chunks don't work yet", mdadm
constexpr std::uint64_t max_new_chunk_bytes = std::uint64_t{1} << 31;     // that 32 bits hold
constexpr std::uint64_t preferred_chunk_bytes = std::uint64_t{64} << 20;  // mdadm's, and its placeholder for lockless
constexpr std::uint32_t classic_daemon_sleep = 5;                         // DEFAULT_BITMAP_DELAY of mdadm
constexpr std::uint32_t lockless_room_sectors = 256;                      // that mdadm reserves for version 6

// Every chunk size is a power of two.
struct NewBitmap {
  Uuid uuid;  // MemberDescription::bitmap_uuid
  std::uint64_t events = 0;
  std::uint64_t events_cleared = 0;
  Sectors sync_size;
  std::uint64_t chunk_bytes = 0;  // of a lockless one that the kernel initialises: a placeholder
  std::uint32_t sectors_reserved = 0;
  std::uint32_t write_behind = 0;
};

// The least chunk size, at least 4 KiB, with which header and bits fit into the room as mdadm counts.
std::uint64_t min_classic_chunk_bytes(Sectors sync_size, std::uint64_t room_bytes);
// What mdadm takes: 64 MiB, or that if it is more.
std::uint64_t default_classic_chunk_bytes(Sectors sync_size, std::uint64_t room_bytes);
// The cut that the kernel would choose at first use, for a room of so many sectors. Fails where none fits.
Result<Geometry> default_lockless_geometry(Sectors sync_size, std::uint32_t room_sectors);

// Bytes of the area, in whole 4 KiB blocks, that such a bitmap takes.
std::uint64_t classic_area_bytes(Sectors sync_size, std::uint64_t chunk_bytes);
std::uint64_t lockless_area_bytes(std::uint64_t chunks);

// Version 4, header, bits and padding; whole 4 KiB blocks. The padding is ones, as mdadm's.
enum class Bits { set, clear };
std::vector<std::byte> new_classic(const NewBitmap&, Bits);
// As mdadm --create leaves it for the kernel's first start (FIRST_USE).
enum class Content { unknown, assumed_clean };
std::vector<std::byte> first_use_lockless(const NewBitmap&, Content);
// Valid at once, every chunk in this state.
std::vector<std::byte> new_lockless(const NewBitmap&, ChunkState);

}  // namespace mdtool::bitmap
