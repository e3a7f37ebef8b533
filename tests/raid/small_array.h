// SPDX-License-Identifier: GPL-2.0-or-later
// Whole members of a small 1.2 array of any level 4, 5, 6 and layout: superblock, bitmap and data, made by the plainest
// arithmetic, with a state of affairs that a test asks for.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <random>
#include <vector>

#include "libmeta/bitmap/lockless.h"
#include "libmeta/checksum.h"
#include "libmeta/md1/superblock.h"
#include "tests/raid/fixture.h"
#include "tests/raid/plain_rows.h"

namespace mdtool::test {

struct SmallArray {
  std::int32_t level = 5;
  std::uint32_t layout_code = 2;  // left-symmetric
  std::uint32_t slots = 4;
  bitmap::Kind bitmap = bitmap::Kind::none;

  static constexpr Sectors chunk{8};
  static constexpr Sectors component{256};
  static constexpr Sectors bitmap_chunk{16};
  static constexpr Sectors super_offset{8}, bitmap_offset{16}, data_offset{64};
  static constexpr std::uint64_t bitmap_chunks = component / bitmap_chunk;
  static constexpr std::uint32_t max_dev = 128;

  Layout layout() const { return *Layout::of({level, layout_code, slots, chunk, component}); }
};

// What a member's superblock says of itself.
struct SmallMember {
  std::uint64_t events = 20;
  Sectors resync_offset = Sectors::max();
  std::uint32_t recovery_features = 0;
  Sectors recovery_offset;
};

inline std::vector<std::byte> random_content(const SmallArray& array, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> content(array.layout().array_size().bytes());
  std::generate(content.begin(), content.end(), [&] { return static_cast<std::byte>(random()); });
  return content;
}

// All members' data areas for this content, in images of the members' size.
inline std::vector<Image> with_content(const SmallArray& array, const std::vector<std::byte>& content) {
  const Layout layout = array.layout();
  std::vector<Image> images(array.slots,
                            Image((SmallArray::data_offset + SmallArray::component).bytes(), std::byte{0xee}));
  const auto at = [&](std::uint32_t slot, Sectors sector) {
    return images[slot].begin() + static_cast<std::ptrdiff_t>((SmallArray::data_offset + sector).bytes());
  };
  for (Sectors sector; sector < layout.array_size(); sector += Sectors(1)) {
    const Place place = layout.data(sector);
    const auto from = content.begin() + static_cast<std::ptrdiff_t>(sector.bytes());
    std::copy(from, from + Sectors::bytes_each, at(place.slot, place.sector));
  }
  for (Sectors row; row < SmallArray::component; row += Sectors(1)) {
    std::vector<std::vector<std::byte>> sectors;
    for (std::uint32_t slot = 0; slot < array.slots; ++slot) {
      sectors.emplace_back(at(slot, row), at(slot, row) + Sectors::bytes_each);
    }
    const std::uint64_t stripe = row / SmallArray::chunk;
    const PlainParity right = plain_parity(layout, stripe, sectors);
    const ParitySlots parity = layout.parity(stripe);
    std::copy(right.p.begin(), right.p.end(), at(parity.p, row));
    if (parity.q) {
      std::copy(right.q.begin(), right.q.end(), at(*parity.q, row));
    }
  }
  return images;
}

// `missing` slots have no member in anybody's view.
inline void put_superblock(const SmallArray& array, Image& image, std::uint32_t slot, const SmallMember& member,
                           const std::vector<std::uint32_t>& missing = {}) {
  md1::Superblock sb{};
  sb.magic = md1::magic_number;
  sb.major_version = 1;
  sb.feature_map = member.recovery_features | (array.bitmap == bitmap::Kind::none ? 0 : md1::feature_bitmap_offset);
  sb.set_uuid.fill(0x5e);
  sb.device_uuid.fill(static_cast<unsigned char>(slot + 1));
  sb.ctime = 1700000000;
  sb.utime = 1700000000;
  sb.level = array.level;
  sb.layout = array.layout_code;
  sb.size = SmallArray::component.count();
  sb.chunksize = static_cast<std::uint32_t>(SmallArray::chunk.count());
  sb.raid_disks = array.slots;
  sb.bitmap_offset = static_cast<std::int32_t>((SmallArray::bitmap_offset - SmallArray::super_offset).count());
  sb.data_offset = SmallArray::data_offset.count();
  sb.data_size = SmallArray::component.count();
  sb.super_offset = SmallArray::super_offset.count();
  sb.recovery_offset = member.recovery_offset.count();
  sb.dev_number = slot;
  sb.events = member.events;
  sb.resync_offset = member.resync_offset.count();
  sb.max_dev = SmallArray::max_dev;
  std::vector<std::byte> bytes(sizeof(sb) + sizeof(le16) * SmallArray::max_dev);
  for (std::uint32_t i = 0; i < SmallArray::max_dev; ++i) {
    const bool active = i < array.slots && std::find(missing.begin(), missing.end(), i) == missing.end();
    const le16 role = active ? static_cast<std::uint16_t>(i) : role_spare;
    std::memcpy(bytes.data() + sizeof(sb) + sizeof(role) * i, &role, sizeof(role));
  }
  std::memcpy(bytes.data(), &sb, sizeof(sb));
  const le32 sum = superblock_sum<std::endian::little>(bytes, offsetof(md1::Superblock, sb_csum));
  std::memcpy(bytes.data() + offsetof(md1::Superblock, sb_csum), &sum, sizeof(sum));
  std::copy(bytes.begin(), bytes.end(), image.begin() + static_cast<std::ptrdiff_t>(SmallArray::super_offset.bytes()));
}

// A state for every chunk; classic: set where that is not 0.
inline void put_bitmap(const SmallArray& array, Image& image, const std::vector<std::uint8_t>& states,
                       std::uint64_t events, std::uint64_t events_cleared) {
  const bool lockless = array.bitmap == bitmap::Kind::lockless;
  bitmap::Header header{};
  header.magic = bitmap::magic_number;
  header.version = lockless ? bitmap::version_lockless : bitmap::version_little_endian;
  header.uuid.fill(0x5e);
  header.events = events;
  header.events_cleared = lockless ? 0 : events_cleared;
  header.sync_size = SmallArray::component.count();
  header.chunksize =
      static_cast<std::uint32_t>(lockless ? SmallArray::bitmap_chunk.count() : SmallArray::bitmap_chunk.bytes());
  header.daemon_sleep = 5;
  header.sectors_reserved = lockless ? 8 : 0;
  const std::size_t at = SmallArray::bitmap_offset.bytes();
  std::memcpy(image.data() + at, &header, sizeof(header));
  for (std::size_t chunk = 0; chunk < states.size(); ++chunk) {
    if (lockless) {
      image[at + bitmap::lockless_states_offset + chunk] = std::byte{states[chunk]};
    } else {
      std::byte& bits = image[at + bitmap::header_bytes + chunk / 8];
      const std::byte mask = std::byte{1} << (chunk % 8);
      bits = states[chunk] != 0 ? bits | mask : bits & ~mask;
    }
  }
}

}  // namespace mdtool::test
