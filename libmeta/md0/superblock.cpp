// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/md0/superblock.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "libmeta/checksum.h"

namespace mdtool::md0 {
namespace {

constexpr Sectors reserved{128};  // MD_RESERVED_SECTORS
constexpr std::uint32_t clean_recovery_cp = std::numeric_limits<std::uint32_t>::max();

// The superblock's sector; none where that would leave no data before it.
std::optional<Sectors> place(Sectors member) {
  if (member < reserved * 2) {
    return std::nullopt;
  }
  return Sectors(member.count() & ~(reserved.count() - 1)) - reserved;
}

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
class Metadata0 final : public Metadata {
 public:
  Metadata0(const Format& format, const Record<Order>& record) : format_(format), record_(record) {}

  const Format& format() const override { return format_; }
  std::uint64_t offset_bytes() const override { return record_.offset_bytes; }
  MemberDescription describe() const override { return md0::describe(record_); }
  Findings verify(std::uint64_t member_bytes) const override { return md0::verify(record_, member_bytes); }
  Fields fields() const override { return md0::fields(record_); }

  std::vector<std::byte> encode() const override {
    std::vector<std::byte> bytes(sizeof(record_.fixed));
    std::memcpy(bytes.data(), &record_.fixed, bytes.size());
    return bytes;
  }

  std::unique_ptr<Metadata> changed(const SuperblockChange& change) const override {
    Record<Order> record = record_;
    const Sectors resync_offset = describe().resync_offset;
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
    record.fixed.sb_csum = record.expected_checksum();
    return std::make_unique<Metadata0>(format_, record);
  }

 private:
  const Format& format_;
  Record<Order> record_;
};

template <std::endian Order>
class Format0 final : public Format {
 public:
  explicit Format0(std::string_view name) : name_(name) {}

  std::string_view name() const override { return name_; }

  Result<std::vector<std::uint64_t>> probe(const Source& source) const override {
    const std::optional<Sectors> sector = place(Sectors::from_bytes(source.size_bytes()));
    if (!sector) {
      return std::vector<std::uint64_t>{};
    }
    TRY(bytes, read_bytes(source, sector->bytes(), sizeof(Word)));
    TRY(magic, load<Word>(bytes, 0));
    return magic == magic_number ? std::vector<std::uint64_t>{sector->bytes()} : std::vector<std::uint64_t>{};
  }

  Result<std::unique_ptr<Metadata>> read(const Source& source, std::uint64_t offset_bytes) const override {
    TRY(bytes, read_bytes(source, offset_bytes, sizeof(Superblock<Order>)).in("superblock 0.90"));
    Record<Order> record;
    TRY(fixed, load<Superblock<Order>>(bytes, 0));
    if (fixed.md_magic != magic_number) {
      return Error{ErrorKind::format, "no 0.90 superblock of this byte order at byte " + std::to_string(offset_bytes)};
    }
    record.fixed = fixed;
    record.offset_bytes = offset_bytes;
    record.member_bytes = source.size_bytes();
    return std::unique_ptr<Metadata>(std::make_unique<Metadata0<Order>>(*this, record));
  }

 private:
  using Word = OnDisk<std::uint32_t, Order>;
  std::string_view name_;
};

}  // namespace

template <std::endian Order>
std::uint32_t Record<Order>::expected_checksum() const {
  return superblock_sum<Order>(std::as_bytes(std::span(&fixed, 1)), offsetof(Superblock<Order>, sb_csum));
}

template std::uint32_t Record<std::endian::little>::expected_checksum() const;
template std::uint32_t Record<std::endian::big>::expected_checksum() const;

const Format& little_endian() {
  static const Format0<std::endian::little> format("0.90");
  return format;
}

const Format& big_endian() {
  static const Format0<std::endian::big> format("0.90-big-endian");
  return format;
}

}  // namespace mdtool::md0
