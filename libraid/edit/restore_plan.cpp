// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/restore_plan.h"

#include <algorithm>
#include <utility>

#include "libraid/edit/bundle.h"

namespace mdtool {

namespace {

// Of a large log only what differs is written, and kept for undo.
constexpr std::size_t piece_bytes = 64U << 10;

std::string bytes_text(std::uint64_t bytes) {
  return std::to_string(bytes) + " bytes";
}

std::string name_of(const FoundSuperblock& found) {
  return found.description.metadata + " superblock at byte " + std::to_string(found.metadata->offset_bytes()) +
         " (array " + found.description.set_uuid.text() + ")";
}

// Which member of which array a superblock says that it is; none where its words are not to be believed.
std::optional<std::string> said_identity(const Candidate& candidate) {
  const FoundSuperblock* found = candidate.chosen();
  if (found == nullptr || worst_effect(found->findings) >= Effect::refuses_member) {
    return std::nullopt;
  }
  const MemberDescription& d = found->description;
  return d.metadata + " " + d.set_uuid.text() + " " +
         (d.device_uuid ? d.device_uuid->text() : std::to_string(d.dev_number));
}

Status same_size(const BundleMember& recorded, const Candidate& candidate) {
  const std::uint64_t size = candidate.metadata->size_bytes();
  if (recorded.size_bytes == size) {
    return Done{};
  }
  return Error{ErrorKind::refused, candidate.path + " has " + bytes_text(size) + ", " + recorded.path + " had " +
                                       bytes_text(recorded.size_bytes) +
                                       ": where superblocks are and how far data goes depends on the size, so that "
                                       "this metadata is right for no other"};
}

class Pairing {
 public:
  Pairing(const Bundle& bundle, std::span<const RestoreTarget> targets)
      : bundle_(bundle), targets_(targets), recorded_taken_(bundle.members.size()), target_taken_(targets.size()) {}

  Result<std::vector<RestorePair>> pairs(std::span<const RestorePair> said) && {
    TRY(told, take_told(said));
    TRY(identities, recorded_identities());
    const std::vector<std::optional<std::string>> there = identities_there();
    TRY(by_superblock, take("by its superblock", [&](std::size_t recorded, std::size_t target) {
          return there[target] && there[target] == identities[recorded];
        }));
    TRY(by_serial, take("by its serial number", [&](std::size_t recorded, std::size_t index) {
          const BundleMember& member = bundle_.members[recorded];
          const RestoreTarget& target = targets_[index];
          return target.serial && target.serial == member.serial && target.offset_bytes == member.offset_bytes;
        }));
    TRY(by_place, take("by its place", [&](std::size_t recorded, std::size_t index) {
          const BundleMember& member = bundle_.members[recorded];
          const RestoreTarget& target = targets_[index];
          const bool other_disk = target.serial && member.serial && target.serial != member.serial;
          return !other_disk && target.file == member.file && target.offset_bytes == member.offset_bytes;
        }));
    TRY(by_size, take("as the only one of its size", [&](std::size_t recorded, std::size_t target) {
          return !there[target] &&
                 targets_[target].candidate->metadata->size_bytes() == bundle_.members[recorded].size_bytes;
        }));
    TRY(complete, nobody_left());
    return std::move(pairs_);
  }

 private:
  Status take_told(std::span<const RestorePair> said) {
    for (const RestorePair& pair : said) {
      const auto target = std::find_if(targets_.begin(), targets_.end(),
                                       [&](const RestoreTarget& t) { return t.candidate == pair.candidate; });
      const auto index = static_cast<std::size_t>(target - targets_.begin());
      if (target == targets_.end() || recorded_taken_[pair.recorded] || target_taken_[index]) {
        return Error{ErrorKind::usage, pair.candidate->path + " and " + bundle_.members[pair.recorded].path +
                                           ": --map says two things about one of them"};
      }
      TRY(added, add(pair.recorded, index, "as told"));
    }
    return Done{};
  }

  Result<std::vector<std::optional<std::string>>> recorded_identities() const {
    std::vector<std::optional<std::string>> identities;
    for (const BundleMember& member : bundle_.members) {
      TRY(recorded, recorded_member(member));
      identities.push_back(said_identity(recorded.candidate));
    }
    return identities;
  }

  std::vector<std::optional<std::string>> identities_there() const {
    std::vector<std::optional<std::string>> identities;
    for (const RestoreTarget& target : targets_) {
      identities.push_back(said_identity(*target.candidate));
    }
    return identities;
  }

  // Of those that are left, each pair of which neither fits anybody else.
  template <typename Fits>
  Status take(std::string_view how, const Fits& fits) {
    std::vector<std::vector<std::size_t>> targets_of(bundle_.members.size());
    std::vector<std::size_t> fitting(targets_.size());
    for (std::size_t recorded = 0; recorded < bundle_.members.size(); ++recorded) {
      for (std::size_t target = 0; target < targets_.size() && !recorded_taken_[recorded]; ++target) {
        if (!target_taken_[target] && fits(recorded, target)) {
          targets_of[recorded].push_back(target);
          ++fitting[target];
        }
      }
    }
    for (std::size_t recorded = 0; recorded < bundle_.members.size(); ++recorded) {
      if (targets_of[recorded].size() == 1 && fitting[targets_of[recorded].front()] == 1) {
        TRY(added, add(recorded, targets_of[recorded].front(), how));
      }
    }
    return Done{};
  }

  Status add(std::size_t recorded, std::size_t target, std::string_view how) {
    TRY(fitting, same_size(bundle_.members[recorded], *targets_[target].candidate));
    recorded_taken_[recorded] = true;
    target_taken_[target] = true;
    pairs_.push_back({recorded, targets_[target].candidate, std::string(how)});
    return Done{};
  }

  Status nobody_left() const {
    for (std::size_t target = 0; target < targets_.size(); ++target) {
      if (!target_taken_[target]) {
        return unknown(*targets_[target].candidate);
      }
    }
    return Done{};
  }

  Error unknown(const Candidate& candidate) const {
    constexpr std::size_t most_named = 8;
    std::string choices;
    std::size_t named = 0;
    for (std::size_t recorded = 0; recorded < bundle_.members.size() && named < most_named; ++recorded) {
      const BundleMember& member = bundle_.members[recorded];
      if (!recorded_taken_[recorded] && member.size_bytes == candidate.metadata->size_bytes()) {
        choices += (named++ == 0 ? "" : " or ") + std::string("--map ") + member.path + "=" + candidate.path;
      }
    }
    return {ErrorKind::refused,
            candidate.path + (choices.empty()
                                  ? ": the dump has no member of its " + bytes_text(candidate.metadata->size_bytes()) +
                                        " that is not on another one: leave it out"
                                  : ": which member of the dump it is cannot be told: say so with " + choices)};
  }

  const Bundle& bundle_;
  std::span<const RestoreTarget> targets_;
  std::vector<bool> recorded_taken_, target_taken_;
  std::vector<RestorePair> pairs_;
};

const FoundSuperblock* superblock_at(const Candidate& candidate, std::uint64_t offset_bytes) {
  for (const FoundSuperblock& found : candidate.superblocks) {
    if (found.metadata->offset_bytes() == offset_bytes) {
      return &found;
    }
  }
  return nullptr;
}

bool overlaps(const BundleArea& area, std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  return area.offset_bytes < offset_bytes + length_bytes && offset_bytes < area.offset_bytes + area.bytes.size();
}

// Within what is data for the superblock that counts. What an older one has there may have been overwritten since.
bool within_data(const Candidate& recorded, std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  const FoundSuperblock* chosen = recorded.chosen();
  if (chosen == nullptr || chosen->metadata->offset_bytes() == offset_bytes) {
    return false;
  }
  return std::any_of(chosen->description.areas.begin(), chosen->description.areas.end(), [&](const Area& area) {
    const bool apart = area.offset_bytes >= offset_bytes + length_bytes ||
                       (area.offset_bytes <= offset_bytes && offset_bytes - area.offset_bytes >= area.length_bytes);
    return area.name == "data" && !apart;
  });
}

class RestorePlanner {
 public:
  explicit RestorePlanner(const Bundle& bundle) : bundle_(bundle) {}

  Result<EditPlan> plan(std::span<const RestorePair> pairs) && {
    for (const RestorePair& pair : pairs) {
      const BundleMember& member = bundle_.members[pair.recorded];
      TRY(fitting, same_size(member, *pair.candidate));
      TRY(recorded, recorded_member(member));
      TRY(accounted, accounted_for(recorded.candidate, member));
      wanted_.push_back(wanted_areas(pair, recorded.candidate, member));
      recorded_.push_back(std::move(recorded));
    }
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      TRY(others, others_put_back(pairs[i], wanted_[i]));
    }
    draft_.next_stage();
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      TRY(superblocks, superblocks_put_back(pairs[i], recorded_[i].candidate, wanted_[i]));
    }
    draft_.next_stage();
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      TRY(ended, other_superblocks_ended(*pairs[i].candidate, recorded_[i].candidate, wanted_[i]));
      explain_age(*pairs[i].candidate, recorded_[i].candidate);
    }
    EditPlan plan = std::move(draft_).take();
    explain(plan, pairs);
    return plan;
  }

 private:
  // A dump may come from anywhere: nothing is written where its own superblocks have no metadata.
  static Status accounted_for(const Candidate& recorded, const BundleMember& member) {
    const std::vector<MetadataRange> own = metadata_ranges(recorded);
    for (const BundleArea& area : member.areas) {
      const MetadataRange range{area.kind, area.offset_bytes, area.offset_bytes + area.bytes.size()};
      const bool known = std::find(own.begin(), own.end(), range) != own.end();
      if (!known) {
        return Error{ErrorKind::refused, member.path + ": the dump has a " + std::string(bundle_area_name(area.kind)) +
                                             " at byte " + std::to_string(area.offset_bytes) +
                                             " where none of its superblocks puts one"};
      }
    }
    return Done{};
  }

  // Without those that would be written over data.
  std::vector<const BundleArea*> wanted_areas(const RestorePair& pair, const Candidate& recorded,
                                              const BundleMember& member) {
    std::vector<const BundleArea*> wanted;
    for (const BundleArea& area : member.areas) {
      if (within_data(recorded, area.offset_bytes, area.bytes.size())) {
        draft_.find({Severity::note, "area-within-data", "",
                     pair.candidate->path + ": the " + std::string(bundle_area_name(area.kind)) + " at byte " +
                         std::to_string(area.offset_bytes) +
                         " is left as it is: it belongs to another superblock than the one that counts, and lies "
                         "within the data of that one",
                     Effect::none});
      } else {
        wanted.push_back(&area);
      }
    }
    return wanted;
  }

  Status others_put_back(const RestorePair& pair, const std::vector<const BundleArea*>& areas) {
    for (const BundleArea* area : areas) {
      for (std::size_t at = 0; at < area->bytes.size() && area->kind != BundleAreaKind::superblock; at += piece_bytes) {
        const auto piece = std::span(area->bytes).subspan(at, std::min(piece_bytes, area->bytes.size() - at));
        TRY(added, draft_.bytes(*pair.candidate, std::string(bundle_area_name(area->kind)), area->offset_bytes + at,
                                {piece.begin(), piece.end()}));
      }
    }
    return Done{};
  }

  Status superblocks_put_back(const RestorePair& pair, const Candidate& recorded,
                              const std::vector<const BundleArea*>& areas) {
    for (const BundleArea* area : areas) {
      if (area->kind != BundleAreaKind::superblock) {
        continue;
      }
      const FoundSuperblock* old = superblock_at(*pair.candidate, area->offset_bytes);
      const FoundSuperblock* put = superblock_at(recorded, area->offset_bytes);
      TRY(added,
          draft_.bytes(*pair.candidate, std::string(bundle_area_name(area->kind)), area->offset_bytes, area->bytes,
                       changes_between(old == nullptr ? Fields() : old->metadata->fields(),
                                       put == nullptr ? Fields() : put->metadata->fields())));
    }
    return Done{};
  }

  // One that was made since would count before what is put back.
  Status other_superblocks_ended(const Candidate& candidate, const Candidate& recorded,
                                 const std::vector<const BundleArea*>& areas) {
    for (const FoundSuperblock& found : candidate.superblocks) {
      const std::uint64_t offset = found.metadata->offset_bytes();
      const std::size_t length = found.metadata->encode().size();
      const bool replaced = std::any_of(areas.begin(), areas.end(),
                                        [&](const BundleArea* area) { return overlaps(*area, offset, length); });
      if (replaced || superblock_at(recorded, offset) != nullptr) {
        continue;
      }
      if (within_data(recorded, offset, length)) {
        draft_.cost(candidate.path + ": the " + name_of(found) +
                    ", which the dump does not have, stays where it is, within the data of what is put back; while "
                    "it is there and newer it is the one that counts");
        draft_.next("mdtool erase --metadata=" + found.description.metadata + " " + candidate.path +
                    ", if that superblock was made by accident");
        continue;
      }
      draft_.step(candidate.path + ": erase the " + name_of(found) + ", which the dump does not have");
      TRY(ended, draft_.bytes(candidate, "superblock", offset, std::vector<std::byte>(length)));
    }
    return Done{};
  }

  void explain_age(const Candidate& candidate, const Candidate& recorded) {
    const FoundSuperblock* now = candidate.chosen();
    const FoundSuperblock* then = recorded.chosen();
    if (now == nullptr || then == nullptr) {
      return;
    }
    if (now->description.set_uuid != then->description.set_uuid) {
      draft_.cost(candidate.path + ": the " + name_of(*now) + " that is there now is gone then");
    } else if (now->description.events > then->description.events) {
      draft_.cost(candidate.path + ": the array went on since, from " + std::to_string(then->description.events) +
                  " to " + std::to_string(now->description.events) +
                  " events: what it wrote since is not in what is put back");
    }
  }

  void explain(EditPlan& plan, std::span<const RestorePair> pairs) const {
    std::vector<std::string> steps;
    for (const RestorePair& pair : pairs) {
      const BundleMember& member = bundle_.members[pair.recorded];
      steps.push_back(pair.candidate->path + ": put back the metadata of " + member.path + " (recognised " + pair.how +
                      ")");
    }
    plan.steps.insert(plan.steps.begin(), steps.begin(), steps.end());
    if (plan.nothing_to_do()) {
      plan.costs.clear();
      return;
    }
    plan.costs.push_back(
        "data stays as it is: if the array was started since the dump, its bitmaps and logs do not know what was "
        "written since, and parity may be wrong where they say it is right");
    plan.next.push_back(
        "mdtool examine the members; if the array was in use since the dump, mdtool build-parity --all");
  }

  const Bundle& bundle_;
  // By pair.
  std::vector<RecordedMember> recorded_;
  std::vector<std::vector<const BundleArea*>> wanted_;
  EditDraft draft_;
};

}  // namespace

Result<std::vector<RestorePair>> pair_members(const Bundle& bundle, std::span<const RestoreTarget> targets,
                                              std::span<const RestorePair> said) {
  return Pairing(bundle, targets).pairs(said);
}

Result<EditPlan> plan_restore(const Bundle& bundle, std::span<const RestorePair> pairs) {
  return RestorePlanner(bundle).plan(pairs);
}

}  // namespace mdtool
