// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/md0/edit.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>

namespace mdtool::md0 {
namespace {

constexpr std::uint32_t clean_recovery_cp = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint32_t disk_flags = disk_write_mostly | disk_failfast;

template <std::endian Order>
void set_resync_offset(Superblock<Order>& sb, Sectors offset) {
  // super_90_sync().
  const std::uint64_t bounded = std::min<std::uint64_t>(offset.count(), clean_recovery_cp);
  sb.state = offset.is_max() ? sb.state | sb_clean : sb.state & ~sb_clean;
  sb.recovery_cp = static_cast<std::uint32_t>(bounded);
  sb.cp_events = offset.is_zero() ? 0 : sb.events.value();
}

template <std::endian Order>
bool used(const Disk<Order>& disk) {
  return disk.number != 0 || disk.major != 0 || disk.minor != 0 || disk.state != 0;
}

// Recounts as super_90_sync() does: a removed slot has failed, a faulty device that is still attached only counts as a
// disk.
template <std::endian Order>
void count_disks(Superblock<Order>& sb) {
  std::uint32_t present = 0;
  std::uint32_t active = 0;
  std::uint32_t failed = 0;
  std::uint32_t spare = 0;
  for (std::size_t i = 0; i < max_disks; ++i) {
    const Disk<Order>& disk = sb.disks[i];
    if ((disk.state & disk_removed) != 0) {
      failed += i < sb.raid_disks ? 1 : 0;
    } else if (used(disk)) {
      ++present;
      const bool faulty = (disk.state & disk_faulty) != 0;
      const bool is_active = !faulty && (disk.state & (disk_active | disk_sync)) != 0;
      active += is_active ? 1 : 0;
      spare += !faulty && !is_active ? 1 : 0;
    }
  }
  sb.nr_disks = present;
  sb.active_disks = active;
  sb.working_disks = active + spare;
  sb.failed_disks = failed;
  sb.spare_disks = spare;
}

// A device that failed but is still attached has a descriptor behind the slots, as super_90_sync() gives it.
template <std::endian Order>
void describe_as_faulty(Superblock<Order>& sb, const Disk<Order>& failed) {
  for (std::size_t i = sb.raid_disks; i < max_disks; ++i) {
    if (!used(sb.disks[i])) {
      sb.disks[i] = failed;
      sb.disks[i].number = static_cast<std::uint32_t>(i);
      sb.disks[i].raid_disk = static_cast<std::uint32_t>(i);
      sb.disks[i].state = disk_faulty;
      return;
    }
  }
}

enum class Lost { missing, faulty };

template <std::endian Order>
void mark_lost(Superblock<Order>& sb, const std::vector<std::uint32_t>& slots, Lost how) {
  bool any = false;
  for (std::size_t i = 0; i < max_disks; ++i) {
    Disk<Order>& disk = sb.disks[i];
    const bool named = std::find(slots.begin(), slots.end(), disk.raid_disk.value()) != slots.end();
    if (!named || i == sb.this_disk.number || (disk.state & (disk_active | disk_sync)) == 0) {
      continue;
    }
    if (how == Lost::faulty) {
      describe_as_faulty(sb, disk);
    }
    disk.number = static_cast<std::uint32_t>(i);
    disk.major = 0;
    disk.minor = 0;
    disk.state = disk_removed | disk_faulty;
    any = true;
  }
  if (any) {
    count_disks(sb);
  }
}

template <std::endian Order>
void mark_removed(Superblock<Order>& sb, std::uint32_t dev_number) {
  Disk<Order>& disk = sb.disks[dev_number];
  disk.number = dev_number;
  disk.major = 0;
  disk.minor = 0;
  disk.raid_disk = dev_number;
  disk.state = disk_removed | disk_faulty;
}

// A device that is there but holds no slot.
template <std::endian Order>
void describe_outside(Superblock<Order>& sb, std::uint32_t dev_number, std::uint32_t state) {
  Disk<Order>& disk = sb.disks[dev_number];
  disk.number = dev_number;
  disk.raid_disk = dev_number;
  disk.state = state | (disk.state & disk_flags);
}

template <std::endian Order>
void describe_in_slot(Superblock<Order>& sb, std::uint32_t dev_number, std::uint16_t slot) {
  Disk<Order>& disk = sb.disks[dev_number];
  disk.number = dev_number;
  disk.raid_disk = slot;
  disk.state = disk_active | disk_sync | (disk.state & disk_flags);
}

template <std::endian Order>
void change_role(Superblock<Order>& sb, std::uint32_t dev_number, std::uint16_t role) {
  const bool is_slot = dev_number < sb.raid_disks;
  const bool own = dev_number == sb.this_disk.number;
  if (role < role_max_regular) {
    describe_in_slot(sb, dev_number, role);
  } else if (role == role_faulty && is_slot && !own) {
    if ((sb.disks[dev_number].state & (disk_active | disk_sync)) != 0) {
      describe_as_faulty(sb, sb.disks[dev_number]);
    }
    mark_removed(sb, dev_number);
  } else if (role == role_faulty || own) {
    describe_outside(sb, dev_number, role == role_faulty ? disk_faulty : 0);
  } else if (is_slot) {
    mark_removed(sb, dev_number);
  } else {
    sb.disks[dev_number] = {};
  }
}

// As its own superblock sees it: a spare, too, has a number.
template <std::endian Order>
void make_spare(Superblock<Order>& sb) {
  if (sb.this_disk.number < max_disks) {
    describe_outside(sb, sb.this_disk.number, 0);
  }
}

template <std::endian Order>
void change_roles(Superblock<Order>& sb, const SuperblockChange& change) {
  using Recovery = SuperblockChange::Recovery;
  const bool recovers = change.recovery == Recovery::from_start || change.recovery == Recovery::by_bitmap;
  bool own = recovers;
  for (const RoleChange& entry : change.roles) {
    if (entry.dev_number < max_disks) {
      change_role(sb, entry.dev_number, entry.role);
      own = own || entry.dev_number == sb.this_disk.number;
    }
  }
  if (recovers) {
    make_spare(sb);
  }
  if (own && sb.this_disk.number < max_disks) {
    sb.this_disk = sb.disks[sb.this_disk.number];
  }
  if (own || !change.roles.empty()) {
    count_disks(sb);
  }
}

}  // namespace

template <std::endian Order>
Record<Order> changed(const Record<Order>& from, const SuperblockChange& change) {
  Record<Order> record = from;
  const Sectors resync_offset = describe(from).resync_offset;
  if (change.events) {
    record.fixed.events = *change.events;
  }
  if (change.utime_seconds) {
    record.fixed.utime = static_cast<std::uint32_t>(*change.utime_seconds);
  }
  if (change.resync_offset || change.events) {
    // Also with new events alone: the checkpoint holds only while cp_events equals them.
    set_resync_offset(record.fixed, change.resync_offset.value_or(resync_offset));
  }
  mark_lost(record.fixed, change.missing_slots, Lost::missing);
  mark_lost(record.fixed, change.faulty_slots, Lost::faulty);
  change_roles(record.fixed, change);
  record.fixed.sb_csum = record.expected_checksum();
  return record;
}

template <std::endian Order>
Result<Record<Order>> for_member(const Record<Order>& from, const NewMember& member) {
  const std::optional<Sectors> place = superblock_place(Sectors::from_bytes(member.member_bytes));
  const MemberDescription d = describe(from);
  if (!place || (d.level > 0 && d.size > *place)) {
    return Error{ErrorKind::refused, "the member of " + std::to_string(member.member_bytes) +
                                         " bytes has no room for this array's data and a 0.90 superblock behind it"};
  }
  if (member.dev_number >= max_disks) {
    return Error{ErrorKind::usage, "a 0.90 superblock numbers devices from 0 to " + std::to_string(max_disks - 1)};
  }
  Record<Order> record = from;
  record.offset_bytes = place->bytes();
  record.member_bytes = member.member_bytes;
  // Nothing is known of how the kernel will number the new device.
  record.fixed.disks[member.dev_number] = {};
  record.fixed.disks[member.dev_number].number = member.dev_number;
  record.fixed.this_disk = record.fixed.disks[member.dev_number];
  SuperblockChange role;
  role.roles = {{member.dev_number, member.role}};
  return changed(record, role);
}

template Record<std::endian::little> changed(const Record<std::endian::little>&, const SuperblockChange&);
template Record<std::endian::big> changed(const Record<std::endian::big>&, const SuperblockChange&);
template Result<Record<std::endian::little>> for_member(const Record<std::endian::little>&, const NewMember&);
template Result<Record<std::endian::big>> for_member(const Record<std::endian::big>&, const NewMember&);

}  // namespace mdtool::md0
