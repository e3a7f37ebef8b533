// SPDX-License-Identifier: GPL-2.0-or-later
// The superblocks and bitmap copies of an array that a run works on: who is written, in which order and with which
// events, so that a cut at any moment leaves members that still belong together. Knows nothing of data and parity.
#pragma once

#include <vector>

#include "libraid/array/write_intent.h"
#include "libraid/assemble/metadata_stages.h"
#include "libraid/assemble/open_array.h"

namespace mdtool {

struct PlannedMember {
  std::size_t member = 0;  // index into Assembly::members
  std::uint32_t slot = 0;
  std::vector<PlannedExtent> extents;  // what may be written; the fence holds it to that
  // What becomes of its recovery marks where a change says that they are to be cleared.
  SuperblockChange::Recovery marks = SuperblockChange::Recovery::keep;
};

struct MemberTraffic {
  std::uint32_t slot = 0;
  std::uint64_t bytes_read = 0;  // data and parity, without metadata
  std::uint64_t bytes_written = 0;
};

// Every member that holds a slot is written, in sync or not.
struct ArrayMetadataPlan {
  std::vector<PlannedMember> members;
  std::vector<std::uint32_t> missing_slots;  // not written: the others will call them missing
  std::vector<std::uint32_t> departed;       // dev_numbers of replacements, which are not written either
  std::uint64_t events = 0;                  // the highest on any member now

  // Members of this array that are not written must not be taken back.
  bool leaves_members_behind() const { return !missing_slots.empty() || !departed.empty(); }
  // At least: after a run that writes superblocks this many times once begun.
  std::uint64_t events_after(std::uint64_t writes) const;
};

// With the extents of superblocks, and of the bitmap that the intent would write.
Result<ArrayMetadataPlan> plan_array_metadata(const Assembly&, const WriteIntent&);

// A person's sentence about leaves_members_behind().
std::string leaving_behind_text(const ArrayMetadataPlan&);

// The array's, also where a cut left it on some members only: dirty wins.
Sectors resync_offset_of(const Assembly&);

struct Clock {
  std::uint64_t now_seconds = 0;  // since 1970: what superblocks get as update time
};

class ArrayMetadata {
 public:
  // `stages` holds the plan's members, in its order, opened for writing.
  ArrayMetadata(const Assembly&, ArrayMetadataPlan, MetadataStages& stages, const Clock&);

  const ArrayMetadataPlan& plan() const { return plan_; }
  const WritableMember& writable(std::size_t planned) const { return stages_.members()[planned]; }

  // Refused unless the members that were opened for writing are those that were judged, byte for byte.
  Status check_identity() const;
  // Members that a cut left one event apart are levelled; those that are not written are left too far behind to be
  // taken back.
  Status begin(WriteIntent&);
  // The bitmap first, then the superblocks with the next event; of those, whose marks are cleared comes last.
  Status write(const SuperblockChange&, WriteIntent&);
  Status write_bitmap(WriteIntent&);
  // This member alone, at the events that are: its sync mark.
  Status write_recovery_offset(std::size_t planned, Sectors);
  // From now on a change that clears marks clears this member's.
  void in_sync_next(std::size_t planned) { plan_.members[planned].marks = SuperblockChange::Recovery::clear; }

 private:
  const Member& member(std::size_t planned) const { return a_.members[plan_.members[planned].member]; }
  const Metadata& superblock(std::size_t planned) const { return *member(planned).candidate->chosen()->metadata; }
  MemberPatch patch(std::size_t planned, const SuperblockChange&) const;
  Status write_bitmap(WriteIntent&, std::uint64_t events);
  Status raise_to(std::uint64_t events);

  const Assembly& a_;
  ArrayMetadataPlan plan_;
  MetadataStages& stages_;
  Clock clock_;
  std::uint64_t events_;
};

// What a run leaves of this planned member's superblock and, where there is one, bitmap, if this is its last change.
std::vector<Patch> metadata_after(const Assembly&, const ArrayMetadataPlan&, const PlannedMember&, WriteIntent,
                                  const SuperblockChange& last);

}  // namespace mdtool
