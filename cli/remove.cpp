// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/membership_command.h"

namespace mdtool::cli {

namespace {

class RemoveCommand final : public MembershipCommand {
 protected:
  std::string_view verb() const override { return "remove"; }
  std::string target_description() const override {
    return "The spare, faulty or stale member whose entry ends (repeatable)";
  }
  Result<EditPlan> edit_plan(const MemberSet&, const Assembly& array, const Targets& targets,
                             const EditClock& clock) const override {
    return plan_remove(array, targets, clock);
  }
};

}  // namespace

std::unique_ptr<Command> make_remove() {
  return std::make_unique<RemoveCommand>();
}

}  // namespace mdtool::cli
