// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/membership_command.h"

namespace mdtool::cli {

namespace {

class ForceCommand final : public MembershipCommand {
 protected:
  std::string_view verb() const override { return "force"; }
  std::vector<std::string> force_names() const override { return {"split-brain", "stale-content"}; }
  Target target() const override { return Target::optional; }
  std::string target_description() const override {
    return "Take exactly these stale members along; of a split array, the half that is kept (repeatable)";
  }
  Result<EditPlan> edit_plan(const MemberSet&, const Assembly& array, const Targets& targets,
                             const EditClock& clock) const override {
    return plan_force(array, targets, clock, forced());
  }
};

}  // namespace

std::unique_ptr<Command> make_force() {
  return std::make_unique<ForceCommand>();
}

}  // namespace mdtool::cli
