// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/edit_plan.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace mdtool {

namespace {

constexpr std::string_view superblock_purpose = "superblock";

// Copies the part of `from` that lies over `onto`; both start at the offsets given.
void lay_over(std::vector<std::byte>& onto, std::uint64_t onto_offset, const std::vector<std::byte>& from,
              std::uint64_t from_offset) {
  const std::uint64_t begin = std::max(onto_offset, from_offset);
  const std::uint64_t end = std::min(onto_offset + onto.size(), from_offset + from.size());
  if (begin < end) {
    std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(begin - from_offset),
                static_cast<std::ptrdiff_t>(end - begin),
                onto.begin() + static_cast<std::ptrdiff_t>(begin - onto_offset));
  }
}

std::vector<const EditPatch*> patches_of(const EditPlan& plan, std::size_t member) {
  std::vector<const EditPatch*> patches;
  for (const EditStage& stage : plan.stages) {
    for (const EditPatch& patch : stage) {
      if (patch.member == member) {
        patches.push_back(&patch);
      }
    }
  }
  return patches;
}

// What a member holds that is not written yet, where `patch` is to go: of bytes that several patches replace, what the
// first of them does.
std::vector<std::byte> first_version(std::span<const EditPatch* const> earlier, const EditPatch& patch) {
  std::vector<std::byte> bytes = patch.before;
  for (auto at = earlier.rbegin(); at != earlier.rend(); ++at) {
    lay_over(bytes, patch.offset_bytes, (*at)->before, (*at)->offset_bytes);
  }
  return bytes;
}

const FoundSuperblock* superblock_at(const Candidate& member, std::uint64_t offset_bytes) {
  const auto at = std::find_if(member.superblocks.begin(), member.superblocks.end(), [&](const FoundSuperblock& found) {
    return found.metadata->offset_bytes() == offset_bytes;
  });
  return at == member.superblocks.end() ? nullptr : &*at;
}

Field without_value(const Field& field) {
  return {field.name, std::string(), field.unit};
}

}  // namespace

bool EditPlan::nothing_to_do() const {
  return zeroed.empty() && !file &&
         std::all_of(stages.begin(), stages.end(), [](const EditStage& stage) { return stage.empty(); });
}

Status still_as_planned(const EditPlan& plan, std::size_t member, const Source& there) {
  const std::vector<const EditPatch*> patches = patches_of(plan, member);
  for (std::size_t i = 0; i < patches.size(); ++i) {
    const EditPatch& patch = *patches[i];
    TRY(found, read_bytes(there, patch.offset_bytes, patch.before.size()));
    const std::vector<std::byte> expected = first_version(std::span(patches).first(i), patch);
    const auto [differs, end] = std::mismatch(found.begin(), found.end(), expected.begin());
    if (differs != found.end()) {
      const std::uint64_t offset = patch.offset_bytes + static_cast<std::uint64_t>(differs - found.begin());
      return Error{ErrorKind::refused,
                   "the plan was made from other bytes than are there: the first that differs, of the " +
                       patch.purpose + ", is at byte " + std::to_string(offset)};
    }
  }
  return Done{};
}

void EditDraft::next_stage() {
  new_stage_ = true;
}

Result<std::vector<std::byte>> EditDraft::so_far(const Candidate& member, std::uint64_t offset_bytes,
                                                 std::size_t length_bytes) const {
  TRY(bytes, read_bytes(*member.metadata, offset_bytes, length_bytes).in(member.path));
  const auto at = std::find(plan_.members.begin(), plan_.members.end(), &member);
  if (at != plan_.members.end()) {
    for (const EditPatch* patch : patches_of(plan_, static_cast<std::size_t>(at - plan_.members.begin()))) {
      lay_over(bytes, offset_bytes, patch->after, patch->offset_bytes);
    }
  }
  return std::move(bytes);
}

Status EditDraft::superblock(const Candidate& member, const Metadata& before, const Metadata& after) {
  const std::vector<std::byte> old = before.encode();
  TRY(there, so_far(member, before.offset_bytes(), old.size()));
  if (there != old) {
    return Error{ErrorKind::refused,
                 member.path + ": its superblock changed while it was looked at; nothing was written"};
  }
  return bytes(member, std::string(superblock_purpose), after.offset_bytes(), after.encode(),
               changes_between(before.fields(), after.fields()));
}

Status EditDraft::new_superblock(const Candidate& member, const Metadata& after) {
  const FoundSuperblock* old = superblock_at(member, after.offset_bytes());
  return bytes(member, std::string(superblock_purpose), after.offset_bytes(), after.encode(),
               changes_between(old == nullptr ? Fields() : old->metadata->fields(), after.fields()));
}

Status EditDraft::bytes(const Candidate& member, std::string purpose, std::uint64_t offset_bytes,
                        std::vector<std::byte> after, std::vector<FieldChange> fields) {
  TRY(before, so_far(member, offset_bytes, after.size()));
  if (before == after) {
    return Done{};
  }
  if (std::exchange(new_stage_, false)) {
    plan_.stages.emplace_back();
  }
  plan_.stages.back().push_back(
      {index_of(member), std::move(purpose), offset_bytes, std::move(before), std::move(after), std::move(fields)});
  return Done{};
}

void EditDraft::zero(const Candidate& member, std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  plan_.zeroed.push_back({index_of(member), offset_bytes, length_bytes});
}

EditPlan EditDraft::take() && {
  return std::move(plan_);
}

std::size_t EditDraft::index_of(const Candidate& member) {
  const auto at = std::find(plan_.members.begin(), plan_.members.end(), &member);
  const auto index = static_cast<std::size_t>(at - plan_.members.begin());
  if (at == plan_.members.end()) {
    plan_.members.push_back(&member);
  }
  return index;
}

std::vector<FieldChange> changes_between(const Fields& before, const Fields& after) {
  std::unordered_map<std::string_view, const Field*> old;
  for (const Field& field : before) {
    old.emplace(field.name, &field);
  }
  std::unordered_set<std::string_view> in_after;
  std::vector<FieldChange> changes;
  for (const Field& field : after) {
    in_after.insert(field.name);
    const auto at = old.find(field.name);
    if (at == old.end()) {
      changes.push_back({without_value(field), field});
    } else if (at->second->value != field.value) {
      changes.push_back({*at->second, field});
    }
  }
  for (const Field& field : before) {
    if (!in_after.contains(field.name)) {
      changes.push_back({field, without_value(field)});
    }
  }
  return changes;
}

}  // namespace mdtool
