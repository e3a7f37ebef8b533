// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/array_spec.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "libmeta/bitmap/lockless_state.h"
#include "libmeta/checksum.h"
#include "libmeta/md0/superblock.h"
#include "libmeta/md1/superblock.h"
#include "tests/crash/crash_point.h"
#include "tests/crash/rows.h"

namespace mdtool::crash {

namespace {

constexpr std::uint64_t kib_sectors = 2;
constexpr std::uint64_t md0_reserved_sectors = 128;  // MD_RESERVED_SECTORS
constexpr std::uint32_t md1_max_dev = 384;           // the superblock then fills two sectors, and can be torn
constexpr std::uint32_t creation_time = 1700000000;

template <typename T>
void put(Image& image, std::uint64_t offset_bytes, const T& value) {
  std::memcpy(image.data() + offset_bytes, &value, sizeof(value));
}

bool is_missing(const ArraySpec& spec, std::uint32_t slot) {
  return spec.missing == slot;
}

unsigned char uuid_byte(std::size_t i) {
  return static_cast<unsigned char>(0x31 + 7 * i);
}

void put_md1(const ArraySpec& spec, std::uint32_t slot, Image& image) {
  md1::Superblock sb{};
  sb.magic = md1::magic_number;
  sb.major_version = 1;
  sb.feature_map = spec.bitmap == bitmap::Kind::none ? 0 : md1::feature_bitmap_offset;
  for (std::size_t i = 0; i < sb.set_uuid.size(); ++i) {
    sb.set_uuid[i] = uuid_byte(i);
    sb.device_uuid[i] = static_cast<unsigned char>(0xa0 + 16 * slot + i);
  }
  sb.ctime = creation_time;
  sb.utime = creation_time;
  sb.level = spec.level;
  sb.layout = spec.layout;
  sb.size = spec.component;
  sb.chunksize = static_cast<std::uint32_t>(spec.chunk);
  sb.raid_disks = spec.slots;
  sb.bitmap_offset = spec.bitmap == bitmap::Kind::none ? 0 : 8;
  sb.data_offset = spec.data_offset();
  sb.data_size = spec.component;
  sb.super_offset = spec.superblock_sector();
  sb.dev_number = slot;
  sb.events = first_events;
  sb.resync_offset = spec.interrupted ? 0 : Sectors::max().count();
  sb.max_dev = md1_max_dev;
  std::vector<std::byte> bytes(sizeof(sb) + 2 * md1_max_dev);
  for (std::uint32_t i = 0; i < md1_max_dev; ++i) {
    const bool active = i < spec.slots && !is_missing(spec, i);
    const le16 role = active ? static_cast<std::uint16_t>(i) : i < spec.slots ? role_faulty : role_spare;
    std::memcpy(bytes.data() + sizeof(sb) + 2 * i, &role, sizeof(role));
  }
  std::memcpy(bytes.data(), &sb, sizeof(sb));
  const le32 sum = superblock_sum<std::endian::little>(bytes, offsetof(md1::Superblock, sb_csum));
  std::memcpy(bytes.data() + offsetof(md1::Superblock, sb_csum), &sum, sizeof(sum));
  std::memcpy(image.data() + spec.superblock_sector() * sector_bytes, bytes.data(), bytes.size());
}

void put_md0(const ArraySpec& spec, std::uint32_t slot, Image& image) {
  md0::LittleSuperblock sb{};
  sb.md_magic = md0::magic_number;
  sb.minor_version = md0::minor_version_normal;
  sb.set_uuid0 = 0x34333231;
  sb.set_uuid1 = 0x38373635;
  sb.set_uuid2 = 0x3c3b3a39;
  sb.set_uuid3 = 0x403f3e3d;
  sb.ctime = creation_time;
  sb.utime = creation_time;
  sb.level = spec.level;
  sb.size = static_cast<std::uint32_t>(spec.component / kib_sectors);
  sb.raid_disks = spec.slots;
  const std::uint32_t present = spec.slots - (spec.missing ? 1 : 0);
  sb.nr_disks = present;
  sb.active_disks = present;
  sb.working_disks = present;
  sb.failed_disks = spec.missing ? 1 : 0;
  sb.state = (spec.interrupted ? 0 : md0::sb_clean) | (spec.bitmap == bitmap::Kind::none ? 0 : md0::sb_bitmap_present);
  sb.events = first_events;
  sb.cp_events = first_events;
  sb.recovery_cp = spec.interrupted ? 0 : 0xffffffff;
  sb.layout = spec.layout;
  sb.chunk_size = static_cast<std::uint32_t>(spec.chunk * sector_bytes);
  for (std::uint32_t i = 0; i < spec.slots; ++i) {
    sb.disks[i].number = i;
    sb.disks[i].raid_disk = i;
    if (is_missing(spec, i)) {
      sb.disks[i].state = md0::disk_removed;
    } else {
      sb.disks[i].major = 7;
      sb.disks[i].minor = i;
      sb.disks[i].state = md0::disk_active | md0::disk_sync;
    }
  }
  sb.this_disk = sb.disks[slot];
  sb.sb_csum =
      superblock_sum<std::endian::little>(std::as_bytes(std::span(&sb, 1)), offsetof(md0::LittleSuperblock, sb_csum));
  put(image, spec.superblock_sector() * sector_bytes, sb);
}

void put_bitmap(const ArraySpec& spec, Image& image) {
  const std::uint64_t at = spec.bitmap_sector() * sector_bytes;
  const bool lockless = spec.bitmap == bitmap::Kind::lockless;
  bitmap::Header header{};
  header.magic = bitmap::magic_number;
  header.version = lockless ? bitmap::version_lockless : bitmap::version_little_endian;
  if (spec.metadata == ArraySpec::Metadata::v1_2) {
    for (std::size_t i = 0; i < header.uuid.size(); ++i) {
      header.uuid[i] = uuid_byte(i);
    }
  } else {
    for (std::size_t i = 0; i < header.uuid.size(); ++i) {
      header.uuid[i] = static_cast<unsigned char>(0x31 + i);
    }
  }
  header.events = first_events;
  header.events_cleared = lockless ? 0 : first_events;
  header.sync_size = spec.component;
  header.chunksize = static_cast<std::uint32_t>(lockless ? spec.bitmap_chunk : spec.bitmap_chunk * sector_bytes);
  header.daemon_sleep = lockless ? bitmap::lockless_daemon_sleep : 5;
  header.sectors_reserved = lockless ? 8 : 0;
  put(image, at, header);
  for (std::uint64_t chunk = 0; chunk < spec.bitmap_chunks(); ++chunk) {
    const std::uint8_t state = first_state(spec, chunk);
    if (lockless) {
      image[at + bitmap::lockless_states_offset + chunk] = std::byte{state};
    } else if (state != 0) {
      image[at + bitmap::header_bytes + chunk / 8] |= std::byte{1} << (chunk % 8);
    }
  }
}

}  // namespace

std::uint64_t ArraySpec::member_sectors() const {
  if (metadata == Metadata::v1_2) {
    return data_offset() + component;
  }
  return (component + md0_reserved_sectors - 1) / md0_reserved_sectors * md0_reserved_sectors + md0_reserved_sectors;
}

std::uint64_t ArraySpec::superblock_sector() const {
  return metadata == Metadata::v1_2 ? 8 : member_sectors() - md0_reserved_sectors;
}

std::string ArraySpec::name() const {
  std::string text = "raid" + std::to_string(level) + "x" + std::to_string(slots) +
                     (metadata == Metadata::v1_2 ? "-1.2" : "-0.90") +
                     (bitmap == bitmap::Kind::none      ? "-none"
                      : bitmap == bitmap::Kind::classic ? "-classic"
                                                        : "-lockless");
  text += missing ? "-degraded" : "";
  text += interrupted ? "-interrupted" : "";
  return text;
}

std::optional<std::uint64_t> ArraySpec::row_of(std::uint64_t member_sector) const {
  if (member_sector < data_offset() || member_sector >= data_offset() + component) {
    return std::nullopt;
  }
  return member_sector - data_offset();
}

std::uint32_t ArraySpec::p_slot(std::uint64_t row) const {
  return level == 4 ? slots - 1 : static_cast<std::uint32_t>(slots - 1 - row / chunk % slots);
}

std::uint32_t ArraySpec::data_slot(std::uint64_t row, std::uint32_t index) const {
  const std::uint32_t p = p_slot(row);
  if (level == 4) {
    return index;
  }
  if (level == 5 && layout == 0) {
    return index < p ? index : index + 1;
  }
  return (p + parity_disks() + index) % slots;
}

ArraySpec::Place ArraySpec::place(std::uint64_t array_sector) const {
  const std::uint64_t stripe = array_sector / stripe_sectors();
  const std::uint64_t in_stripe = array_sector % stripe_sectors();
  const std::uint64_t row = stripe * chunk + in_stripe % chunk;
  return {data_slot(row, static_cast<std::uint32_t>(in_stripe / chunk)), row};
}

std::optional<std::uint64_t> ArraySpec::array_sector(Place place) const {
  for (std::uint32_t index = 0; index < data_disks(); ++index) {
    if (data_slot(place.row, index) == place.slot) {
      return place.row / chunk * stripe_sectors() + index * chunk + place.row % chunk;
    }
  }
  return std::nullopt;
}

void fill_sector(std::byte* out, std::uint64_t array_sector, std::uint64_t version) {
  std::uint64_t state = mixed(mixed(array_sector) ^ version);
  for (std::size_t i = 0; i < sector_bytes; i += sizeof(state)) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const std::uint64_t word = state ^ (state >> 29);
    std::memcpy(out + i, &word, sizeof(word));
  }
}

std::uint8_t first_state(const ArraySpec& spec, std::uint64_t bitmap_chunk) {
  using bitmap::ChunkState;
  const std::uint64_t random = mixed(spec.seed ^ mixed(0xb17 + bitmap_chunk)) >> 7;
  if (spec.bitmap == bitmap::Kind::classic) {
    return spec.interrupted && random % 2 == 0 ? 1 : 0;
  }
  constexpr std::array quiet{ChunkState::clean, ChunkState::unwritten, ChunkState::clean, ChunkState::clean_unwritten};
  constexpr std::array cut{ChunkState::clean,     ChunkState::unwritten, ChunkState::dirty,
                           ChunkState::need_sync, ChunkState::syncing,   ChunkState::need_sync_unwritten,
                           ChunkState::dirty,     ChunkState::clean};
  return static_cast<std::uint8_t>(spec.interrupted ? cut[random % cut.size()] : quiet[random % quiet.size()]);
}

bool starts_wrong(const ArraySpec& spec, std::uint64_t row) {
  const bool some = mixed(spec.seed ^ mixed(row)) % 3 != 0;
  if (spec.missing) {
    return false;
  }
  if (spec.bitmap == bitmap::Kind::none) {
    return spec.interrupted && some;
  }
  const std::uint8_t state = first_state(spec, row / spec.bitmap_chunk);
  if (spec.bitmap == bitmap::Kind::classic) {
    return state != 0 && some;
  }
  return some && !bitmap::parity_is_promised(state);
}

std::vector<Image> make_members(const ArraySpec& spec) {
  std::vector<Image> images(spec.slots, Image(spec.member_sectors() * sector_bytes, std::byte{0xee}));
  for (std::uint64_t at = 0; at < spec.array_sectors(); ++at) {
    const ArraySpec::Place place = spec.place(at);
    fill_sector(images[place.slot].data() + (spec.data_offset() + place.row) * sector_bytes, at, 0);
  }
  for (std::uint64_t row = 0; row < spec.rows(); ++row) {
    put_parity(spec, images, row);
    if (starts_wrong(spec, row)) {
      images[spec.p_slot(row)][(spec.data_offset() + row) * sector_bytes + row % sector_bytes] ^= std::byte{0x5a};
    }
  }
  for (std::uint32_t slot = 0; slot < spec.slots; ++slot) {
    spec.metadata == ArraySpec::Metadata::v1_2 ? put_md1(spec, slot, images[slot]) : put_md0(spec, slot, images[slot]);
    if (spec.bitmap != bitmap::Kind::none) {
      put_bitmap(spec, images[slot]);
    }
  }
  if (spec.missing) {
    images[*spec.missing].clear();
  }
  return images;
}

}  // namespace mdtool::crash
