// SPDX-License-Identifier: GPL-2.0-or-later
// The version 1.x superblock as it lies on a member, complete to the last field of Linux 7.2, and what it says. Knows
// where bitmap, logs and data are, not what is in them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "libmeta/description.h"
#include "libmeta/field.h"
#include "libmeta/finding.h"
#include "libmeta/format.h"
#include "libmeta/ondisk.h"

namespace mdtool::md1 {

constexpr std::uint32_t magic_number = 0xa92b4efc;  // MD_SB_MAGIC

// feature_map bits: MD_FEATURE_*.
constexpr std::uint32_t feature_bitmap_offset = 0x1;
constexpr std::uint32_t feature_recovery_offset = 0x2;
constexpr std::uint32_t feature_reshape_active = 0x4;
constexpr std::uint32_t feature_bad_blocks = 0x8;
constexpr std::uint32_t feature_replacement = 0x10;
constexpr std::uint32_t feature_reshape_backwards = 0x20;
constexpr std::uint32_t feature_new_offset = 0x40;
constexpr std::uint32_t feature_recovery_bitmap = 0x80;
constexpr std::uint32_t feature_clustered = 0x100;
constexpr std::uint32_t feature_journal = 0x200;
constexpr std::uint32_t feature_ppl = 0x400;
constexpr std::uint32_t feature_multiple_ppls = 0x800;
constexpr std::uint32_t feature_raid0_layout = 0x1000;
constexpr std::uint32_t feature_all = 0x1fff;

constexpr std::uint8_t devflag_write_mostly = 1;
constexpr std::uint8_t devflag_failfast = 2;

// struct mdp_superblock_1 without its dev_roles. Offsets and sizes of areas are in sectors.
struct Superblock {
  le32 magic;
  le32 major_version;
  le32 feature_map;
  le32 pad0;
  std::array<unsigned char, 16> set_uuid;
  std::array<char, 32> set_name;  // may fill all 32 bytes, without a NUL
  le64 ctime;                     // low 40 bits: seconds; high 24: microseconds
  sle32 level;
  le32 layout;
  le64 size;
  le32 chunksize;
  le32 raid_disks;
  sle32 bitmap_offset;  // or a PplPlace, see ppl_place()
  sle32 new_level;
  le64 reshape_position;
  sle32 delta_disks;
  le32 new_layout;
  le32 new_chunk;
  sle32 new_offset;
  le64 data_offset;
  le64 data_size;
  le64 super_offset;
  le64 recovery_offset;  // journal_tail on a journal device
  le32 dev_number;
  le32 cnt_corrected_read;
  std::array<unsigned char, 16> device_uuid;
  u8 devflags;
  u8 bblog_shift;
  le16 bblog_size;
  sle32 bblog_offset;
  le64 utime;  // as ctime
  le64 events;
  le64 resync_offset;
  le32 sb_csum;
  le32 max_dev;
  le32 logical_block_size;  // bytes; 0: never recorded
  std::array<unsigned char, 28> pad3;
};
static_assert(offsetof(Superblock, set_name) == 32 && offsetof(Superblock, ctime) == 64);
static_assert(offsetof(Superblock, bitmap_offset) == 96 && offsetof(Superblock, new_level) == 100);
static_assert(offsetof(Superblock, data_offset) == 128 && offsetof(Superblock, recovery_offset) == 152);
static_assert(offsetof(Superblock, device_uuid) == 168 && offsetof(Superblock, bblog_offset) == 188);
static_assert(offsetof(Superblock, utime) == 192 && offsetof(Superblock, sb_csum) == 216);
static_assert(offsetof(Superblock, logical_block_size) == 224 && offsetof(Superblock, pad3) == 228);
static_assert(sizeof(Superblock) == 256);

// What lies in the bytes of bitmap_offset with feature PPL or MULTIPLE_PPLS.
struct PplPlace {
  sle16 offset;
  le16 size;
};
static_assert(sizeof(PplPlace) == sizeof(Superblock::bitmap_offset));
PplPlace ppl_place(const Superblock&);

constexpr std::uint32_t bad_block_log_sectors = 8;  // that mdadm leaves
constexpr std::uint32_t superblock_limit_bytes = 4096;
constexpr std::uint32_t max_dev_limit = (superblock_limit_bytes - sizeof(Superblock)) / sizeof(le16);

// A superblock as read from a member: the declared part, and whatever of 4096 bytes follows it on that member.
struct Record {
  Superblock fixed;
  std::vector<std::byte> rest;  // up to 4096 bytes in all: dev_roles, then bytes that are not the superblock's
  std::uint32_t minor_version = 0;
  std::uint64_t offset_bytes = 0;
  std::uint64_t member_bytes = 0;

  // As many as were read, at most max_dev.
  std::vector<std::uint16_t> dev_roles() const;
  // `dev_number` is below most_dev_roles(), whatever max_dev says.
  void set_dev_role(std::size_t dev_number, std::uint16_t role);
  // How many entries there is room for: in 4096 bytes and in what was read.
  std::size_t most_dev_roles() const;
  bool has(std::uint32_t features) const { return (fixed.feature_map & features) != 0; }
  // What md writes: max_dev roles, rounded up to sectors, never beyond 4096 bytes or the member.
  std::size_t io_bytes() const;
  std::vector<std::byte> encode() const;
  std::uint32_t expected_checksum() const;
};

// The bitmap is listed among the areas with length 0: how long it is says its own header.
// The data area is as long as `size` says, or data_size where that is 0 (raid0, linear) or means another member
// (journal).
MemberDescription describe(const Record&);
Findings verify(const Record&, std::uint64_t member_bytes);
Fields fields(const Record&);

// The superblock's sector, or none where a member of this size cannot have one.
std::optional<Sectors> superblock_place(std::uint32_t minor_version, Sectors member);
std::unique_ptr<Metadata> metadata(Record);

const Format& version_1_0();
const Format& version_1_1();
const Format& version_1_2();

}  // namespace mdtool::md1
