// SPDX-License-Identifier: GPL-2.0-or-later
// The version 0.90 superblock, in the byte order of the machine that wrote it, and what it says. One declaration serves
// both orders.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "libmeta/description.h"
#include "libmeta/field.h"
#include "libmeta/finding.h"
#include "libmeta/format.h"
#include "libmeta/ondisk.h"

namespace mdtool::md0 {

constexpr std::uint32_t magic_number = 0xa92b4efc;  // MD_SB_MAGIC
constexpr std::uint32_t minor_version_normal = 90;
constexpr std::uint32_t minor_version_reshape = 91;
constexpr std::size_t max_disks = 27;  // MD_SB_DISKS

// Bits of `state`.
constexpr std::uint32_t sb_clean = 1U << 0;           // MD_SB_CLEAN
constexpr std::uint32_t sb_bitmap_present = 1U << 8;  // MD_SB_BITMAP_PRESENT

// Bits of a descriptor's `state`.
constexpr std::uint32_t disk_faulty = 1U << 0;        // MD_DISK_FAULTY
constexpr std::uint32_t disk_active = 1U << 1;        // MD_DISK_ACTIVE
constexpr std::uint32_t disk_sync = 1U << 2;          // MD_DISK_SYNC
constexpr std::uint32_t disk_removed = 1U << 3;       // MD_DISK_REMOVED
constexpr std::uint32_t disk_write_mostly = 1U << 9;  // MD_DISK_WRITEMOSTLY
constexpr std::uint32_t disk_failfast = 1U << 10;     // MD_DISK_FAILFAST

// mdp_disk_t.
template <std::endian Order>
struct Disk {
  using u32 = OnDisk<std::uint32_t, Order>;
  u32 number;
  u32 major;
  u32 minor;
  u32 raid_disk;
  u32 state;
  std::array<u32, 27> reserved;
};

// mdp_super_t. The 64-bit values are native integers: their two words lie in the writer's order, as the kernel's
// events_hi and events_lo do.
template <std::endian Order>
struct Superblock {
  using u32 = OnDisk<std::uint32_t, Order>;
  using s32 = OnDisk<std::int32_t, Order>;
  using u64 = OnDisk<std::uint64_t, Order>;
  u32 md_magic;
  u32 major_version;
  u32 minor_version;
  u32 patch_version;
  u32 gvalid_words;
  u32 set_uuid0;
  u32 ctime;
  s32 level;
  u32 size;  // KiB
  u32 nr_disks;
  u32 raid_disks;
  u32 md_minor;
  u32 not_persistent;
  u32 set_uuid1;
  u32 set_uuid2;
  u32 set_uuid3;
  std::array<u32, 16> gstate_creserved;
  u32 utime;
  u32 state;
  u32 active_disks;
  u32 working_disks;
  u32 failed_disks;
  u32 spare_disks;
  u32 sb_csum;
  u64 events;
  u64 cp_events;
  u32 recovery_cp;       // sectors; all ones when clean
  u64 reshape_position;  // array sectors; this and the next four only with minor_version 91
  s32 new_level;
  s32 delta_disks;
  u32 new_layout;
  u32 new_chunk;  // bytes
  std::array<u32, 14> gstate_sreserved;
  u32 layout;
  u32 chunk_size;  // bytes
  u32 root_pv;
  u32 root_block;
  std::array<u32, 60> pstate_creserved;
  std::array<Disk<Order>, max_disks> disks;
  Disk<Order> this_disk;
};

using LittleSuperblock = Superblock<std::endian::little>;
static_assert(sizeof(Disk<std::endian::little>) == 128 && sizeof(LittleSuperblock) == 4096);
static_assert(offsetof(LittleSuperblock, set_uuid1) == 52 && offsetof(LittleSuperblock, utime) == 128);
static_assert(offsetof(LittleSuperblock, sb_csum) == 152 && offsetof(LittleSuperblock, events) == 156);
static_assert(offsetof(LittleSuperblock, recovery_cp) == 172 && offsetof(LittleSuperblock, reshape_position) == 176);
static_assert(offsetof(LittleSuperblock, new_chunk) == 196 && offsetof(LittleSuperblock, layout) == 256);
static_assert(offsetof(LittleSuperblock, disks) == 512 && offsetof(LittleSuperblock, this_disk) == 3968);

template <std::endian Order>
struct Record {
  Superblock<Order> fixed;
  std::uint64_t offset_bytes = 0;
  std::uint64_t member_bytes = 0;

  bool reshaping() const { return fixed.minor_version == minor_version_reshape; }
  std::uint32_t expected_checksum() const;
};

// As for 1.x: the bitmap is listed among the areas with length 0, the data area is as long as `size` says.
template <std::endian Order>
MemberDescription describe(const Record<Order>&);
template <std::endian Order>
Findings verify(const Record<Order>&, std::uint64_t member_bytes);
template <std::endian Order>
Fields fields(const Record<Order>&);

// The superblock's sector; none where that would leave no data before it.
std::optional<Sectors> superblock_place(Sectors member);
template <std::endian Order>
std::unique_ptr<Metadata> metadata(const Record<Order>&);

// "0.90" and "0.90-big-endian"; a description says "0.90" for both.
const Format& little_endian();
const Format& big_endian();

}  // namespace mdtool::md0
