// SPDX-License-Identifier: GPL-2.0-or-later
// A plan to change metadata: which bytes of which members, why, and what it means. Made without a write, shown, tried
// in memory, applied, taken back. Knows bytes and their meaning; opens nothing.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libraid/assemble/candidate.h"

namespace mdtool {

// One field before and after, both as people read it: Field names are the kernel's.
struct FieldChange {
  Field before;
  Field after;
};

// Bytes that change, and what they are. Old and new are of one length.
struct EditPatch {
  std::size_t member = 0;  // index into EditPlan::members
  std::string purpose;     // "superblock", "bitmap", "bad-block log"
  std::uint64_t offset_bytes = 0;
  std::vector<std::byte> before;
  std::vector<std::byte> after;
  std::vector<FieldChange> fields;  // empty where nothing has names
};

// Written in order, each verified on the member before the next.
using EditStage = std::vector<EditPatch>;

// Bytes of a member that become zero before the first stage. No undo brings them back.
struct ZeroedRange {
  std::size_t member = 0;  // index into EditPlan::members
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
};

// A file that is no member: an external bitmap. Written whole and made durable before the first stage.
struct PlannedFile {
  std::string path;
  std::vector<std::byte> content;
};

struct EditPlan {
  std::vector<const Candidate*> members;
  std::vector<ZeroedRange> zeroed;
  std::optional<PlannedFile> file;
  std::vector<EditStage> stages;   // flushed between; superblocks come last
  std::vector<std::string> steps;  // what happens, for people, in order
  std::vector<std::string> costs;  // what is lost or taken for granted by it
  std::vector<std::string> next;   // what to do afterwards, or before: commands
  Findings findings;

  bool nothing_to_do() const;
};

// Refused, naming the place, unless the plan's member of this index holds all bytes that the plan was made from.
Status still_as_planned(const EditPlan& plan, std::size_t member, const Source& there);

// Puts a plan together. Patches that change nothing are left out, so that a plan made again from the middle of its own
// writing holds the rest of it.
class EditDraft {
 public:
  // A new stage: what is added from now on is written after everything before is durable.
  void next_stage();
  // The superblock that `before` is of `member` becomes `after`, field by field. Fails if it cannot be read.
  Status superblock(const Candidate& member, const Metadata& before, const Metadata& after);
  // A superblock where there is none, or bytes of another.
  Status new_superblock(const Candidate& member, const Metadata& after);
  Status bytes(const Candidate& member, std::string purpose, std::uint64_t offset_bytes, std::vector<std::byte> after,
               std::vector<FieldChange> fields = {});

  void step(std::string text) { plan_.steps.push_back(std::move(text)); }
  void cost(std::string text) { plan_.costs.push_back(std::move(text)); }
  void next(std::string text) { plan_.next.push_back(std::move(text)); }
  void zero(const Candidate& member, std::uint64_t offset_bytes, std::uint64_t length_bytes);
  void write_file(PlannedFile file) { plan_.file = std::move(file); }
  void find(Finding finding) { plan_.findings.push_back(std::move(finding)); }
  EditPlan take() &&;

 private:
  std::size_t index_of(const Candidate& member);
  // The member's bytes as the plan leaves them up to here.
  Result<std::vector<std::byte>> so_far(const Candidate& member, std::uint64_t offset_bytes,
                                        std::size_t length_bytes) const;

  EditPlan plan_;
  bool new_stage_ = true;
};

// Fields of which the values differ, in the order of `after`; one that only one of both has is paired with an empty
// text.
std::vector<FieldChange> changes_between(const Fields& before, const Fields& after);

}  // namespace mdtool
