// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/bitmap/new_bitmap.h"

#include <algorithm>
#include <cassert>
#include <span>

namespace mdtool::bitmap {

namespace {

constexpr std::uint64_t block_bytes = 4096;
constexpr std::byte filler{0xff};

std::uint64_t in_blocks(std::uint64_t bytes) {
  return (bytes + block_bytes - 1) / block_bytes * block_bytes;
}

std::uint64_t chunks_in(Sectors sync_size, std::uint64_t chunk_bytes) {
  const Sectors chunk = Sectors::from_bytes(chunk_bytes);
  return sync_size / chunk + ((sync_size % chunk).is_zero() ? 0 : 1);
}

Header header_of(const NewBitmap& bitmap, std::uint32_t version) {
  Header header{};
  header.magic = magic_number;
  header.version = version;
  header.uuid = bitmap.uuid.bytes;
  header.events = bitmap.events;
  header.events_cleared = bitmap.events_cleared;
  header.sync_size = bitmap.sync_size.count();
  header.chunksize = static_cast<std::uint32_t>(bitmap.chunk_bytes);
  header.daemon_sleep = classic_daemon_sleep;
  header.write_behind = bitmap.write_behind;
  header.sectors_reserved = bitmap.sectors_reserved;
  return header;
}

std::vector<std::byte> filled_area(const Header& header, std::uint64_t area_bytes) {
  return area_with_header(std::vector<std::byte>(area_bytes, filler), header);
}

void clear_bits(std::vector<std::byte>& area, std::uint64_t chunks) {
  const std::span bits = std::span(area).subspan(header_bytes);
  std::ranges::fill(bits.first(chunks / 8), std::byte{0});
  if (chunks % 8 != 0) {
    bits[chunks / 8] = filler << static_cast<int>(chunks % 8);
  }
}

}  // namespace

std::uint64_t min_classic_chunk_bytes(Sectors sync_size, std::uint64_t room_bytes) {
  assert(room_bytes > header_bytes);
  const std::uint64_t most = (room_bytes - header_bytes) * 8;
  std::uint64_t chunk = min_new_chunk_bytes;
  std::uint64_t bits = sync_size / Sectors::from_bytes(chunk) + 1;  // one too many for whole chunks, as mdadm counts
  while (bits > most) {
    chunk *= 2;
    bits = (bits + 1) / 2;
  }
  return chunk;
}

std::uint64_t default_classic_chunk_bytes(Sectors sync_size, std::uint64_t room_bytes) {
  return std::max(preferred_chunk_bytes, min_classic_chunk_bytes(sync_size, room_bytes));
}

Result<Geometry> default_lockless_geometry(Sectors sync_size, std::uint32_t room_sectors) {
  Header header{};
  header.version = version_lockless;
  header.state = state_first_use;
  header.sectors_reserved = room_sectors;
  Expected expected;
  expected.sync_size = sync_size;
  return geometry_of(header, expected);
}

std::uint64_t classic_area_bytes(Sectors sync_size, std::uint64_t chunk_bytes) {
  return in_blocks(header_bytes + (chunks_in(sync_size, chunk_bytes) + 7) / 8);
}

std::uint64_t lockless_area_bytes(std::uint64_t chunks) {
  return in_blocks(lockless_states_offset + chunks);
}

std::vector<std::byte> new_classic(const NewBitmap& bitmap, Bits bits) {
  std::vector<std::byte> area =
      filled_area(header_of(bitmap, version_little_endian), classic_area_bytes(bitmap.sync_size, bitmap.chunk_bytes));
  if (bits == Bits::clear) {
    clear_bits(area, chunks_in(bitmap.sync_size, bitmap.chunk_bytes));
  }
  return area;
}

std::vector<std::byte> first_use_lockless(const NewBitmap& bitmap, Content content) {
  Header header = header_of(bitmap, version_lockless);
  header.state = state_first_use | (content == Content::assumed_clean ? state_clean : 0);
  // mdadm takes the placeholder for a classic chunk size, and the kernel writes all of the area at first use.
  return filled_area(header, classic_area_bytes(bitmap.sync_size, bitmap.chunk_bytes));
}

std::vector<std::byte> new_lockless(const NewBitmap& bitmap, ChunkState state) {
  const std::uint64_t chunks = chunks_in(bitmap.sync_size, bitmap.chunk_bytes);
  Header header = header_of(bitmap, version_lockless);
  header.chunksize = static_cast<std::uint32_t>(Sectors::from_bytes(bitmap.chunk_bytes).count());
  header.daemon_sleep = lockless_daemon_sleep;
  std::vector<std::byte> area = filled_area(header, lockless_area_bytes(chunks));
  std::ranges::fill(std::span(area).subspan(lockless_states_offset, chunks), static_cast<std::byte>(state));
  return area;
}

}  // namespace mdtool::bitmap
