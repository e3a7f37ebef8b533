// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/array_metadata.h"

#include <algorithm>

#include "libraid/assemble/write_checks.h"

namespace mdtool {

namespace {

// An absent member is this many events behind after it was left there, too many to be taken back.
constexpr std::uint64_t steps_that_leave_behind = 2;

SuperblockChange own_change(const ArrayMetadataPlan& plan, const PlannedMember& planned, SuperblockChange change) {
  if (change.recovery == SuperblockChange::Recovery::clear) {
    change.recovery = planned.marks;
  }
  change.missing_slots = plan.missing_slots;
  change.departed = plan.departed;
  return change;
}

Result<std::vector<PlannedExtent>> metadata_extents(const Member& m, const std::optional<std::uint64_t>& bitmap_bytes) {
  const MemberDescription& d = m.description();
  const Metadata& superblock = *m.candidate->chosen()->metadata;
  std::vector<PlannedExtent> extents{{superblock.offset_bytes(), superblock.encode().size(), "superblock"}};
  if (bitmap_bytes && d.bitmap_offset_bytes) {
    if (*bitmap_bytes > d.bitmap_room_bytes) {
      return Error{ErrorKind::refused, m.candidate->path + ": the bitmap of " + std::to_string(*bitmap_bytes) +
                                           " bytes does not fit there"};
    }
    extents.push_back({*d.bitmap_offset_bytes, *bitmap_bytes, "bitmap"});
  }
  return extents;
}

}  // namespace

Result<ArrayMetadataPlan> plan_array_metadata(const Assembly& a, const WriteIntent& intent) {
  ArrayMetadataPlan plan;
  std::optional<std::uint64_t> bitmap_bytes;
  if (WriteIntent probe = intent; const auto bytes = probe.encode(a.array().events)) {
    bitmap_bytes = bytes->size();
  }
  std::vector<std::size_t> written;
  for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
    if (a.in_slot(slot) == nullptr) {
      plan.missing_slots.push_back(slot);
      continue;
    }
    TRY(extents, metadata_extents(a.members[slot], bitmap_bytes));
    plan.members.push_back({slot, slot, std::move(extents)});
    written.push_back(slot);
  }
  for (const Member& m : a.members) {
    if (m.state == MemberState::replacement) {
      plan.departed.push_back(m.description().dev_number);
    }
  }
  TRY(events, highest_events(a, written));
  plan.events = events;
  return plan;
}

std::string leaving_behind_text(const ArrayMetadataPlan& plan) {
  return "raise the events by 2 and mark missing slots missing, so that no member that is not written is taken back" +
         std::string(plan.departed.empty() ? "" : "; a replacement under way is given up and starts anew");
}

Sectors resync_offset_of(const Assembly& a) {
  if (a.clean) {
    return Sectors::max();
  }
  return a.array().clean() ? Sectors() : a.array().resync_offset;
}

ArrayMetadata::ArrayMetadata(const Assembly& a, ArrayMetadataPlan plan, MetadataStages& stages, const Clock& clock)
    : a_(a), plan_(std::move(plan)), stages_(stages), clock_(clock), events_(plan_.events) {}

Status ArrayMetadata::check_identity() const {
  for (std::size_t i = 0; i < plan_.members.size(); ++i) {
    const std::vector<std::byte> judged = superblock(i).encode();
    const WritableMember& m = writable(i);
    TRY(now, read_bytes(*m.past_cache, superblock(i).offset_bytes(), judged.size()).in(m.path));
    if (now != judged) {
      return Error{ErrorKind::refused,
                   m.path + ": the superblock has changed since it was examined; nothing was written"};
    }
  }
  return Done{};
}

// After a cut members may be one event apart, and the bitmap one ahead of them. Who is behind catches up first: the
// next event, on its way from member to member, would put him two behind, and out of the array.
Status ArrayMetadata::begin(WriteIntent& intent) {
  std::uint64_t highest = 0;
  for (std::size_t i = 0; i < plan_.members.size(); ++i) {
    highest = std::max(highest, member(i).description().events);
  }
  TRY(level, raise_to(highest));
  if (events_ != highest) {
    TRY(bitmap, write_bitmap(intent));
    TRY(ahead, raise_to(events_));
  }
  // In two steps of one: a cut between two members' updates leaves them one event apart, which every reader accepts;
  // after both an absent member is too far behind to be taken back.
  for (std::uint64_t step = 0; plan_.leaves_members_behind() && step < steps_that_leave_behind; ++step) {
    TRY(written, write({}, intent));
  }
  return Done{};
}

Status ArrayMetadata::raise_to(std::uint64_t events) {
  SuperblockChange change;
  change.events = events;
  change.resync_offset = resync_offset_of(a_);
  std::vector<MemberPatch> stage;
  for (std::size_t i = 0; i < plan_.members.size(); ++i) {
    if (member(i).description().events < events) {
      stage.push_back(patch(i, change));
    }
  }
  return stages_.write(stage);
}

MemberPatch ArrayMetadata::patch(std::size_t planned, const SuperblockChange& change) const {
  SuperblockChange own = own_change(plan_, plan_.members[planned], change);
  own.utime_seconds = clock_.now_seconds;
  return {planned, {superblock(planned).offset_bytes(), superblock(planned).changed(own)->encode()}};
}

Status ArrayMetadata::write(const SuperblockChange& change, WriteIntent& intent) {
  SuperblockChange next = change;
  next.events = ++events_;
  TRY(bitmap, write_bitmap(intent, events_));
  std::vector<MemberPatch> stage;
  for (const auto marks : {SuperblockChange::Recovery::keep, SuperblockChange::Recovery::clear}) {
    for (std::size_t i = 0; i < plan_.members.size(); ++i) {
      if (plan_.members[i].marks == marks) {
        stage.push_back(patch(i, next));
      }
    }
  }
  return stages_.write(stage);
}

Status ArrayMetadata::write_bitmap(WriteIntent& intent) {
  return write_bitmap(intent, events_);
}

Status ArrayMetadata::write_bitmap(WriteIntent& intent, std::uint64_t events) {
  const auto bytes = intent.encode(events);
  // Before the header says that they count the states are durable: after a cut it may stand above mdadm's filler.
  if (bytes && a_.bitmap.trust == Trust::first_use) {
    std::vector<MemberPatch> states;
    for (std::size_t i = 0; i < plan_.members.size(); ++i) {
      if (const auto& offset = member(i).description().bitmap_offset_bytes) {
        states.push_back({i,
                          {*offset + bitmap::lockless_states_offset,
                           {bytes->begin() + bitmap::lockless_states_offset, bytes->end()}}});
      }
    }
    TRY(durable, stages_.write(states));
  }
  std::vector<MemberPatch> stage;
  for (std::size_t i = 0; bytes && i < plan_.members.size(); ++i) {
    if (const auto& offset = member(i).description().bitmap_offset_bytes) {
      stage.push_back({i, {*offset, *bytes}});
    }
  }
  return stages_.write(stage);
}

Status ArrayMetadata::write_recovery_offset(std::size_t planned, Sectors mark) {
  SuperblockChange change;
  change.events = events_;
  change.utime_seconds = clock_.now_seconds;
  change.resync_offset = resync_offset_of(a_);
  const auto level = superblock(planned).changed(own_change(plan_, plan_.members[planned], change));
  TRY(marked, level->with_field("recovery_offset", std::to_string(mark.count())));
  const std::vector<MemberPatch> stage{{planned, {marked->offset_bytes(), marked->encode()}}};
  return stages_.write(stage);
}

std::uint64_t ArrayMetadataPlan::events_after(std::uint64_t writes) const {
  return events + (leaves_members_behind() ? steps_that_leave_behind : 0) + writes;
}

std::vector<Patch> metadata_after(const Assembly& a, const ArrayMetadataPlan& plan, const PlannedMember& planned,
                                  WriteIntent intent, const SuperblockChange& last) {
  const Member& m = a.members[planned.member];
  const Metadata& superblock = *m.candidate->chosen()->metadata;
  std::vector<Patch> patches = {
      {superblock.offset_bytes(), superblock.changed(own_change(plan, planned, last))->encode()}};
  const auto bitmap = intent.encode(last.events.value_or(plan.events));
  if (const auto& offset = m.description().bitmap_offset_bytes; offset && bitmap) {
    patches.push_back({*offset, *bitmap});
  }
  return patches;
}

}  // namespace mdtool
