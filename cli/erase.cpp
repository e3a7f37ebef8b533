// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/erase.h"

#include <algorithm>

#include "cli/edit_command.h"

namespace mdtool::cli {

namespace {

constexpr std::string_view force_last_members = "last-members";

class EraseCommand final : public EditCommand {
 public:
  void set_up(Options& app) override {
    EditCommand::set_up(app);
    app.add_option("--metadata", metadata_, "Only superblocks of this version").one_of({"0.90", "1.0", "1.1", "1.2"});
    add_target_option(app, "Erase only this one of the members given (repeatable)");
  }

 protected:
  std::string_view verb() const override { return "erase"; }
  std::vector<std::string> force_names() const override { return {std::string(force_last_members)}; }

  Result<EditPlan> plan(const MemberSet& members) const override {
    TRY(meant, whose(members));
    EraseWhat what;
    if (!metadata_.empty()) {
      what.format = metadata_;
    }
    what.last_members = forces(force_last_members) ? EraseWhat::LastMembers::erase : EraseWhat::LastMembers::keep;
    const std::vector<Assembly> arrays = arrays_of(members, {}, std::nullopt);
    return plan_erase(meant, arrays, what);
  }

 private:
  enum class Targets { none, some };

  // A disk that was named stands for the members in its partitions, too: that is not what erases them.
  static const Candidate* on_a_shared_disk(const MemberSet& members, std::span<const Candidate* const> meant) {
    for (const Candidate* a : meant) {
      for (const Candidate* b : meant) {
        if (a != b && members.origin(*a).identity == members.origin(*b).identity) {
          return a;
        }
      }
    }
    return nullptr;
  }

  // The targets, or all members; with --uuid those of that array.
  Result<std::vector<const Candidate*>> whose(const MemberSet& members) const {
    TRY(uuid, wanted_uuid());
    TRY(meant, targets(members));
    const Targets targets_given = meant.empty() ? Targets::none : Targets::some;
    if (targets_given == Targets::none) {
      for (const Candidate& candidate : members.candidates()) {
        meant.push_back(&candidate);
      }
    }
    if (uuid) {
      std::erase_if(meant, [&](const Candidate* candidate) {
        return candidate->chosen() == nullptr || candidate->chosen()->description.set_uuid != *uuid;
      });
    }
    if (const Candidate* one = on_a_shared_disk(members, meant); targets_given == Targets::none && one != nullptr) {
      return Error{ErrorKind::usage, one->path + " is one of several members on one disk: say which with --target"};
    }
    if (meant.empty()) {
      return Error{ErrorKind::refused, "none of these members belongs to the array that is meant"};
    }
    return std::move(meant);
  }

  std::string metadata_;
};

}  // namespace

std::unique_ptr<Command> make_erase() {
  return std::make_unique<EraseCommand>();
}

}  // namespace mdtool::cli
