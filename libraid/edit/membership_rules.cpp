// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/membership_rules.h"

#include <algorithm>

#include "libraid/assemble/write_checks.h"

namespace mdtool {

namespace {

constexpr std::string_view separator = "; ";

bool contains(std::span<const Candidate* const> list, const Candidate* candidate) {
  return std::find(list.begin(), list.end(), candidate) != list.end();
}

std::vector<Patch> patches_on(const Candidate* candidate, const EditPlan& plan) {
  std::vector<Patch> patches;
  for (const EditStage& stage : plan.stages) {
    for (const EditPatch& patch : stage) {
      if (plan.members[patch.member] == candidate) {
        patches.push_back({patch.offset_bytes, patch.after});
      }
    }
  }
  return patches;
}

std::vector<const Candidate*> involved(const Assembly& a, const EditPlan& plan) {
  std::vector<const Candidate*> all;
  for (const Member& m : a.members) {
    if (m.candidate != nullptr) {
      all.push_back(m.candidate);
    }
  }
  for (const Candidate* candidate : plan.members) {
    if (!contains(all, candidate)) {
      all.push_back(candidate);
    }
  }
  return all;
}

}  // namespace

Error refused_edit(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

Status check_membership(const Assembly& a) {
  const MemberDescription& d = a.array();
  if (d.unknown_features != 0) {
    return refused_edit("the array uses features that are not known here: it is not written");
  }
  if (d.clustered) {
    return refused_edit("the array belongs to a cluster, of which other nodes may have it in use");
  }
  if (d.reshape) {
    return refused_edit("a reshape is under way: let the kernel finish it first");
  }
  if (a.members[a.freshest].state == MemberState::unusable) {
    return refused_edit("no member has a superblock that the kernel would accept");
  }
  TRY(logs, check_no_logs(a));
  if (a.bitmap.trust == Trust::rejected) {
    return refused_edit(
        "the bitmap cannot be used, and its event count has to follow the array's: take it off first "
        "(mdtool set --update no-bitmap)");
  }
  return check_writable(a);
}

const Member* member_of(const Assembly& a, const Candidate& candidate) {
  const auto at =
      std::find_if(a.members.begin(), a.members.end(), [&](const Member& m) { return m.candidate == &candidate; });
  return at == a.members.end() ? nullptr : &*at;
}

bool number_in_use(const Assembly& a, std::uint32_t dev_number, const Candidate& candidate) {
  NewView nobody;
  const std::vector<const Member*> staying = staying_members(a, nobody);
  return std::any_of(staying.begin(), staying.end(), [&](const Member* m) {
    return m->candidate != &candidate && m->description().dev_number == dev_number;
  });
}

std::uint32_t free_number(const Assembly& a, const Candidate& candidate) {
  const std::vector<std::uint16_t>& roles = a.array().dev_roles;
  std::uint32_t number = a.slots();
  while ((number < roles.size() && roles[number] != role_spare) || number_in_use(a, number, candidate)) {
    ++number;
  }
  return number;
}

std::uint64_t due_chunks(const BitmapView& view) {
  if (view.classic) {
    return view.classic->set_count();
  }
  const bitmap::StateCounts counts = view.lockless->counts();
  using enum bitmap::ChunkState;
  std::uint64_t due = counts.invalid;
  for (const bitmap::ChunkState state : {dirty, need_sync, syncing}) {
    due += counts.by_state[static_cast<std::size_t>(state)];
  }
  return due;
}

std::string Outlook::reasons() const {
  if (array == nullptr) {
    return "no member is left";
  }
  std::string text;
  for (const std::string& reason : array->reasons) {
    text += (text.empty() ? "" : std::string(separator)) + reason;
  }
  return text;
}

Result<Outlook> look_ahead(const Assembly& a, const EditPlan& plan, std::span<const Candidate* const> without) {
  Outlook outlook;
  for (const Candidate* candidate : involved(a, plan)) {
    if (contains(without, candidate)) {
      continue;
    }
    std::vector<Patch> patches = patches_on(candidate, plan);
    TRY(metadata, PatchedSource::of(*candidate->metadata, patches).in(candidate->path));
    TRY(data, PatchedSource::of(*candidate->data, std::move(patches)).in(candidate->path));
    TRY(again, inspect(candidate->path, candidate->identity, *metadata, *data).in(candidate->path));
    outlook.sources.push_back(std::move(metadata));
    outlook.sources.push_back(std::move(data));
    outlook.candidates.push_back(std::move(again));
  }
  outlook.arrays = assemble(outlook.candidates);
  for (const Assembly& after : outlook.arrays) {
    if (after.array().set_uuid == a.array().set_uuid && after.array().metadata == a.array().metadata) {
      outlook.array = &after;
    }
  }
  return outlook;
}

}  // namespace mdtool
