// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/erase.h"

#include <algorithm>
#include <utility>

#include "libraid/edit/array_after.h"

namespace mdtool {

namespace {

std::string name_of(const FoundSuperblock& found) {
  return found.description.metadata + " superblock at byte " + std::to_string(found.metadata->offset_bytes()) +
         " (array " + found.description.set_uuid.text() + ")";
}

std::vector<FieldChange> erased_fields(const FoundSuperblock& found) {
  std::vector<FieldChange> changes;
  for (const Field& field : found.metadata->fields()) {
    if (field.name == "magic" || field.name == "md_magic") {
      changes.push_back({field, {field.name, std::uint64_t{0}, field.unit}});
    }
  }
  return changes;
}

class ErasePlanner {
 public:
  ErasePlanner(std::span<const Candidate* const> targets, std::span<const Assembly> arrays, const EraseWhat& what)
      : targets_(targets), arrays_(arrays), what_(what) {}

  Result<EditPlan> plan() && {
    for (const Candidate* target : targets_) {
      explain_member(*target);
      TRY(bodies, erase_bodies(*target));
    }
    std::size_t ranks = 0;
    for (const Candidate* target : targets_) {
      ranks = std::max(ranks, target->superblocks.size());
    }
    // The magic goes last, so that a run that was cut off finds all of the rest again; the older superblocks go first,
    // so that none of them counts in between.
    for (std::size_t rank = ranks; rank-- > 0;) {
      draft_.next_stage();
      for (const Candidate* target : targets_) {
        TRY(heads, erase_head(*target, rank));
      }
    }
    EditPlan plan = std::move(draft_).take();
    if (!plan.nothing_to_do()) {
      plan.costs.push_back(
          "bitmaps, logs and data stay where they are; only mdtool undo, mdtool restore or mdtool add "
          "--slot makes them a member again");
    }
    for (const Assembly& array : arrays_) {
      TRY(loss, explain_array(array, plan));
    }
    return plan;
  }

 private:
  bool meant(const FoundSuperblock& found) const {
    return !what_.format || found.description.metadata == *what_.format;
  }

  void explain_member(const Candidate& target) {
    bool any = false;
    for (const FoundSuperblock& found : target.superblocks) {
      if (meant(found)) {
        draft_.step(target.path + ": erase the " + name_of(found));
        any = true;
      }
    }
    if (!any) {
      draft_.find({Severity::note, "nothing-to-erase", "",
                   target.path + ": no " + (what_.format ? *what_.format + " " : std::string("md ")) + "superblock",
                   Effect::none});
      return;
    }
    for (const FoundSuperblock& found : target.superblocks) {
      if (!meant(found)) {
        draft_.cost(target.path + ": what counts then is the " + name_of(found) + ", which is under it");
        return;
      }
    }
  }

  // Everything but the sector that has the magic.
  Status erase_bodies(const Candidate& target) {
    for (const FoundSuperblock& found : target.superblocks) {
      const std::size_t length = found.metadata->encode().size();
      if (meant(found) && length > Sectors::bytes_each) {
        TRY(erased, draft_.bytes(target, "superblock", found.metadata->offset_bytes() + Sectors::bytes_each,
                                 std::vector<std::byte>(length - Sectors::bytes_each)));
      }
    }
    return Done{};
  }

  Status erase_head(const Candidate& target, std::size_t rank) {
    if (rank >= target.superblocks.size() || !meant(target.superblocks[rank])) {
      return Done{};
    }
    const FoundSuperblock& found = target.superblocks[rank];
    const std::size_t length = std::min<std::size_t>(found.metadata->encode().size(), Sectors::bytes_each);
    return draft_.bytes(target, "superblock", found.metadata->offset_bytes(), std::vector<std::byte>(length),
                        erased_fields(found));
  }

  Status explain_array(const Assembly& before, EditPlan& plan) const {
    TRY(tried, array_after(plan, before));
    const Assembly* after = tried.same_as(before);
    const std::string had = "array " + before.array().set_uuid.text() + ": ";
    const bool is_left = after != nullptr && after->verdict != Verdict::impossible;
    if (!is_left && before.verdict != Verdict::impossible) {
      if (what_.last_members == EraseWhat::LastMembers::keep) {
        return Error{ErrorKind::refused, had +
                                             "it could not be started any more from what is left of the members given "
                                             "here; --force=last-members erases them all the same"};
      }
      plan.costs.push_back(had + "it can be started no more from what is left of the members given here");
    } else if (after != nullptr && after->in_sync_count() < before.in_sync_count()) {
      plan.costs.push_back(had + std::to_string(after->in_sync_count()) + " of its " + std::to_string(before.slots()) +
                           " slots then have a member in sync here: " + std::string(verdict_name(after->verdict)));
    } else if (after == nullptr) {
      plan.costs.push_back(had + "no member of it is left here; which others it has cannot be seen");
    }
    return Done{};
  }

  std::span<const Candidate* const> targets_;
  std::span<const Assembly> arrays_;
  const EraseWhat& what_;
  EditDraft draft_;
};

}  // namespace

Result<EditPlan> plan_erase(std::span<const Candidate* const> targets, std::span<const Assembly> arrays,
                            const EraseWhat& what) {
  return ErasePlanner(targets, arrays, what).plan();
}

}  // namespace mdtool
