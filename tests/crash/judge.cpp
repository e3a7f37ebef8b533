// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/judge.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "tests/crash/live_machine.h"
#include "tests/crash/mutant.h"
#include "tests/crash/rows.h"

namespace mdtool::crash {

namespace {

std::string of(const Error& error) {
  return error.text;
}

bool contains(const std::vector<SectorRange>& ranges, std::uint64_t sector) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const SectorRange& r) { return r.first.count() <= sector && sector < r.end().count(); });
}

void add_row(const ArraySpec& spec, std::uint64_t row, std::vector<std::uint64_t>& sectors) {
  for (std::uint32_t index = 0; index < spec.data_disks(); ++index) {
    sectors.push_back(*spec.array_sector({spec.data_slot(row, index), row}));
  }
}

std::uint32_t lost_slots(const Machine& machine) {
  return machine.array().slots() - machine.array().in_sync_count();
}

}  // namespace

Judge::Judge(const ArraySpec& spec, const std::vector<Image>& first, const Oracle& oracle, const Mutant* mutant)
    : spec_(spec), first_(first), oracle_(oracle), mutant_(mutant), has_changes_(spec.rows()) {
  for (const std::uint64_t sector : oracle.changed_sectors()) {
    std::uint8_t& known = has_changes_[spec.place(sector).row];
    if (known == 0) {
      known = 1;
      add_row(spec, spec.place(sector).row, sectors_);
    }
  }
  seek(0, 0, std::nullopt);
}

void Judge::seek(std::size_t position, std::uint64_t dead, std::optional<std::size_t> degraded_since) {
  position_ = position;
  dead_ = dead;
  lacking_ = degraded_since ? oracle_.acknowledged_since(*degraded_since, position) : std::vector<std::uint64_t>();
  allowed_.clear();
  for (const std::uint64_t sector : sectors_) {
    allowed_.push_back(oracle_.allowed(sector, position));
  }
}

Complaint Judge::out_of_bounds(const Log& log) const {
  for (const Event& e : log.events()) {
    if (e.kind != EventKind::write) {
      continue;
    }
    const auto within = [&](std::uint64_t first, std::uint64_t count) {
      return e.sector >= first && e.sector + e.sectors <= first + count;
    };
    const std::uint64_t bitmap_sectors = (bitmap::lockless_states_offset + spec_.bitmap_chunks()) / sector_bytes + 1;
    if (!within(spec_.superblock_sector(), spec_.superblock_sectors()) &&
        !within(spec_.data_offset(), spec_.component) &&
        !(spec_.bitmap != bitmap::Kind::none && within(spec_.bitmap_sector(), bitmap_sectors))) {
      return "I4: a write of " + std::to_string(e.sectors) + " sectors at sector " + std::to_string(e.sector) +
             " of slot " + std::to_string(e.member) + " lies outside of everything";
    }
  }
  return std::nullopt;
}

ArrayMark Judge::mark_of(const Machine& machine) const {
  const Assembly& a = machine.array();
  ArrayMark mark{a.array().events, a.clean, a.array().resync_offset.count(), {}};
  for (const Member& m : a.members) {
    if (m.state == MemberState::in_sync) {
      mark.in_sync.push_back(machine.slot_of(m));
    }
  }
  return mark;
}

// I1.
Complaint Judge::check_start(const Machine& machine, std::uint64_t absent, std::uint32_t torn) const {
  const Assembly& a = machine.array();
  const std::uint64_t gone = absent | dead_ | (spec_.missing ? std::uint64_t{1} << *spec_.missing : 0);
  // A 0.90 superblock is eight sectors under one checksum: a cut in it costs the member, with the kernel, too.
  const std::uint32_t failures =
      static_cast<std::uint32_t>(std::popcount(gone)) + (spec_.metadata == ArraySpec::Metadata::v0_90 ? torn : 0);
  const std::uint32_t missing = lost_slots(machine);
  if (missing > failures) {
    return "I1: " + std::to_string(missing) + " slots have no member in sync, but only " + std::to_string(failures) +
           " failed: " + (a.reasons.empty() ? "" : a.reasons.front());
  }
  if (missing > spec_.parity_disks()) {
    return std::nullopt;
  }
  const bool right = missing == 0 ? a.verdict == Verdict::assembles
                     : a.clean    ? a.verdict == Verdict::degraded
                                  : a.verdict == Verdict::needs_force;
  if (!right) {
    return "I1: the verdict is " + std::string(verdict_name(a.verdict)) + " with " + std::to_string(missing) +
           " missing and " + (a.clean ? "clean" : "dirty") + (a.reasons.empty() ? "" : ": " + a.reasons.front());
  }
  return std::nullopt;
}

Complaint Judge::check_sector(const Oracle::Allowed& allowed, const std::byte* bytes) const {
  const bool known = std::any_of(allowed.contents.begin(), allowed.contents.end(), [&](const std::byte* content) {
    return std::memcmp(content, bytes, sector_bytes) == 0;
  });
  if (known) {
    return std::nullopt;
  }
  const std::string sector = "array sector " + std::to_string(allowed.sector);
  if (!allowed.has_first) {
    return "I2: " + sector + " reads neither what was acknowledged and flushed nor anything later";
  }
  return (allowed.contents.size() > 1 ? "I3: " : "I4: ") + sector + " reads what nobody wrote";
}

// Everything that may have been written, and these rows.
template <typename Look>
Complaint Judge::look_at_all(const std::vector<std::uint64_t>& more_rows, Look look) const {
  for (const Oracle::Allowed& allowed : allowed_) {
    if (Complaint c = look(allowed)) {
      return c;
    }
  }
  std::vector<std::uint64_t> more;
  for (const std::uint64_t row : more_rows) {
    add_row(spec_, row, more);
  }
  for (const std::uint64_t sector : more) {
    if (Complaint c = look(oracle_.allowed(sector, position_))) {
      return c;
    }
  }
  return std::nullopt;
}

// The data as it lies on the members.
Complaint Judge::check_members(const std::vector<Image>& images, const std::vector<std::uint64_t>& more_rows) const {
  const auto look = [&](const Oracle::Allowed& allowed) {
    const ArraySpec::Place place = spec_.place(allowed.sector);
    return check_sector(allowed, images[place.slot].data() + (spec_.data_offset() + place.row) * sector_bytes);
  };
  return look_at_all(more_rows, look);
}

// The data as the engine reads it.
Complaint Judge::check_reads(Machine& machine, const Forces& forces, const std::vector<std::uint64_t>& more_rows,
                             std::vector<SectorRange>& uncertain) const {
  const Assembly& a = machine.array();
  auto readable = open_for_reading(a, forces, machine.kernels());
  if (!readable) {
    return "cannot be read: " + of(readable.error());
  }
  uncertain.insert(uncertain.end(), readable->uncertain.begin(), readable->uncertain.end());
  const auto look = [&](const Oracle::Allowed& allowed) -> Complaint {
    const ArraySpec::Place place = spec_.place(allowed.sector);
    const Member* member = a.in_slot(place.slot);
    const bool lost = member == nullptr || member->state != MemberState::in_sync;
    if (lost && (contains(uncertain, allowed.sector) || allowed.anything ||
                 (allowed.has_first && starts_wrong(spec_, place.row)))) {
      return std::nullopt;
    }
    std::array<std::byte, sector_bytes> bytes;
    if (auto done = readable->array.read(allowed.sector * sector_bytes, bytes); !done) {
      return "array sector " + std::to_string(allowed.sector) + " cannot be read: " + of(done.error());
    }
    Complaint c = check_sector(allowed, bytes.data());
    return c && lost ? *c + " (reconstructed)" : c;
  };
  return look_at_all(more_rows, look);
}

std::vector<std::uint64_t> Judge::other_rows(const Log& recovery) const {
  std::vector<std::uint64_t> rows;
  for (const Event& e : recovery.events()) {
    for (std::uint64_t i = 0; e.kind == EventKind::write && i < e.sectors; ++i) {
      const auto row = spec_.row_of(e.sector + i);
      if (row && has_changes_[*row] == 0 && std::find(rows.begin(), rows.end(), *row) == rows.end()) {
        rows.push_back(*row);
      }
    }
  }
  return rows;
}

Complaint Judge::recover(Machine& machine, const std::vector<Image>& images, const Situation& how, const Forces& forces,
                         Recovery& recovery) const {
  if (how.path == RecoveryPath::live) {
    return recover_live(machine, forces);
  }
  if (how.path == RecoveryPath::undo) {
    if (auto done = machine.undo(how.undo->contents(position_), how.undo->slots); !done) {
      return "undo: " + of(done.error());
    }
    recovery.undone = recovery.log.events().size();
    for (const std::uint32_t slot : how.undo->slots) {
      const std::size_t at = spec_.superblock_sector() * sector_bytes;
      const std::size_t length = std::min(images[slot].size(), (spec_.superblock_sector() + 24) * sector_bytes) - at;
      if (std::memcmp(images[slot].data() + at, first_[slot].data() + at, length) != 0) {
        return "P5: after undo the metadata of slot " + std::to_string(slot) + " is not what it was";
      }
    }
    if (auto looked = machine.look(); !looked) {
      return "after undo: " + of(looked.error());
    }
  }
  MaintenanceTask task;
  if (forces.dirty_degraded && plan_maintenance(machine.array(), task)) {
    return "I10: a dirty, degraded array is resynchronised without force";
  }
  task.forces = forces;
  if (auto done = machine.maintain(task, nullptr); !done) {
    return "resync: " + of(done.error());
  }
  return std::nullopt;
}

// What the cut left, before anything is done about it.
Complaint Judge::check_cut(Machine& machine, const std::vector<Image>& images, const WrongRows& wrong,
                           const Situation& how, const Forces& forces, std::vector<SectorRange>& uncertain) const {
  const std::uint32_t torn = torn_superblocks(spec_, images, how.absent);
  if (torn > how.cuts) {
    return "I7: " + std::to_string(torn) + " superblocks are torn";
  }
  if (Complaint c = check_start(machine, how.absent, torn)) {
    return c;
  }
  if (lost_slots(machine) > spec_.parity_disks()) {
    return std::nullopt;
  }
  const ArrayMark mark = mark_of(machine);
  if (mark.events < first_events) {
    return "I7: events stepped back to " + std::to_string(mark.events);
  }
  if (Complaint c = check_written(spec_, images, mark, allowed_)) {
    return c;
  }
  if (machine.array().complete) {
    return check_marked(spec_, images, mark, wrong);
  }
  if (Complaint c = check_kept(spec_, images, mark, lacking_)) {
    return c;
  }
  return check_reads(machine, forces, {}, uncertain);
}

Complaint Judge::judge(std::vector<Image>& images, WrongRows wrong, const Situation& how, Recovery& recovery) const {
  recovery.log.clear();
  recovery.undone = 0;
  FaultScript no_faults;
  Machine machine(spec_, images, recovery.log, no_faults, how.absent, mutant_);
  if (auto looked = machine.look(); !looked) {
    return "I1: " + of(looked.error());
  }
  const bool complete = machine.array().complete || how.undoing;
  const std::uint64_t events = machine.array().array().events;
  Forces forces;
  forces.dirty_degraded = !complete && !machine.array().clean;
  std::vector<SectorRange>& uncertain = recovery.uncertain;
  uncertain = how.uncertain;
  if (!how.undoing) {
    if (Complaint c = check_cut(machine, images, wrong, how, forces, uncertain)) {
      return c;
    }
    if (lost_slots(machine) > spec_.parity_disks()) {
      return std::nullopt;
    }
  }
  if (!recovery.log.events().empty()) {
    return "I9: something was written by looking";
  }
  if (Complaint c = recover(machine, images, how, forces, recovery)) {
    return c;
  }
  if (Complaint c = out_of_bounds(recovery.log)) {
    return c;
  }
  if (auto looked = machine.look(); !looked) {
    return "after recovery: " + of(looked.error());
  }
  if (complete && !machine.array().complete) {
    return "recovery left a complete array degraded";
  }
  const std::vector<std::uint64_t> more = other_rows(recovery.log);
  const ArrayMark after = mark_of(machine);
  if (after.events < events && how.path != RecoveryPath::undo) {
    return "I7: events stepped back from " + std::to_string(events) + " to " + std::to_string(after.events);
  }
  if (!complete) {
    if (Complaint c = check_kept(spec_, images, after, lacking_)) {
      return "after recovery: " + *c;
    }
    // In use, a dirty and degraded array stays dirty until it is whole again.
    return check_reads(machine, how.path == RecoveryPath::live ? forces : Forces{}, more, uncertain);
  }
  for (const Event& e : recovery.log.events()) {
    for (std::uint64_t i = 0; e.kind == EventKind::write && i < e.sectors; ++i) {
      if (const auto row = spec_.row_of(e.sector + i)) {
        wrong[*row] = row_is_right(spec_, images, *row) ? 0 : 1;
      }
    }
  }
  if (Complaint c = check_synchronised(spec_, images, after, wrong)) {
    return c;
  }
  return check_members(images, more);
}

}  // namespace mdtool::crash
