// SPDX-License-Identifier: GPL-2.0-or-later
// What one superblock says about its array and its member, the same for every format: md's terms, units converted.
// Holds no judgement: members are compared in libraid/assemble.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libmeta/sectors.h"
#include "libmeta/uuid.h"

namespace mdtool {

enum class Role { active, spare, faulty, journal };

// An area of a member, in bytes from its start.
struct Area {
  std::string name;  // "superblock", "data", "bitmap", "bad-block log", "ppl"
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
};

struct Reshape {
  std::int32_t new_level = 0;
  std::uint32_t new_layout = 0;
  Sectors new_chunk;
  std::int32_t delta_disks = 0;  // raid_disks after, minus before
  Sectors position;              // array sectors
  bool backwards = false;
  std::int64_t new_offset_sectors = 0;  // added to data_offset for the geometry after
};

// Where bad blocks of this member are listed (1.x only). Sector units are 512 << shift bytes.
struct BadBlockLogPlace {
  std::uint64_t offset_bytes = 0;
  std::uint32_t sectors = 0;
  std::uint8_t shift = 0;
  bool not_empty = false;  // feature BAD_BLOCKS
};

struct MemberDescription {
  std::string metadata;  // "0.90", "1.0", "1.1", "1.2"
  Uuid set_uuid;
  std::optional<Uuid> device_uuid;  // 1.x only
  Uuid bitmap_uuid;                 // the bytes that a bitmap of this array must carry
  std::string set_name;             // raw bytes up to the first NUL; may hold control bytes
  std::uint64_t ctime_seconds = 0;
  std::uint64_t utime_seconds = 0;

  std::int32_t level = 0;
  std::uint32_t layout = 0;
  Sectors chunk;
  std::uint32_t raid_disks = 0;  // during a reshape: after it
  Sectors size;                  // used per member; 0 for raid0 and linear

  Sectors super_offset;
  Sectors data_offset;
  Sectors data_size;  // room for data on this member

  std::uint64_t events = 0;
  Sectors resync_offset;  // max(): clean

  std::uint32_t dev_number = 0;
  Role role = Role::spare;
  std::optional<std::uint32_t> slot;  // only with Role::active
  bool replacement = false;
  bool recovery = false;            // feature RECOVERY_OFFSET: not in sync beyond recovery_offset
  bool recovery_by_bitmap = false;  // feature RECOVERY_BITMAP
  Sectors recovery_offset = Sectors::max();
  // Every member's role as this superblock sees it, by dev_number, in 1.x coding:
  // a slot, 0xfffd journal, 0xfffe faulty, 0xffff spare or none. 0.90 is translated.
  std::vector<std::uint16_t> dev_roles;

  std::optional<std::uint64_t> bitmap_offset_bytes;  // present: an internal bitmap starts there
  std::uint64_t bitmap_room_bytes = 0;               // bytes up to whatever comes next on this member
  std::optional<BadBlockLogPlace> bad_block_log;
  std::optional<Area> ppl;
  std::optional<Sectors> journal_tail;  // only with Role::journal
  bool has_journal = false;             // feature JOURNAL: the array needs its journal device
  bool clustered = false;
  std::optional<Reshape> reshape;
  std::uint32_t unknown_features = 0;    // feature bits that Linux 7.2 does not know
  std::uint32_t logical_block_size = 0;  // bytes; 0: never recorded

  // Everything on this member that belongs to the format. Bounds are not promised: verify() judges them.
  std::vector<Area> areas;

  bool clean() const { return resync_offset.is_max(); }
  // Feature RECOVERY_OFFSET, but nothing left to recover: a lockless lazy recovery that was cut off.
  bool recovery_is_all_ones() const { return recovery && recovery_offset.is_max(); }
  bool in_sync() const { return role == Role::active && !replacement && (!recovery || recovery_is_all_ones()); }
};

constexpr std::uint16_t role_journal = 0xfffd;
constexpr std::uint16_t role_faulty = 0xfffe;
constexpr std::uint16_t role_spare = 0xffff;
constexpr std::uint16_t role_max_regular = 0xff00;  // slots are below

}  // namespace mdtool
