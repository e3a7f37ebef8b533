// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/membership_command.h"

namespace mdtool::cli {

namespace {

class ReAddCommand final : public MembershipCommand {
 protected:
  std::string_view verb() const override { return "re-add"; }
  std::vector<std::string> force_names() const override { return {"slot-history", "bitmap"}; }
  std::string target_description() const override { return "The member that comes back (repeatable)"; }
  Result<EditPlan> edit_plan(const MemberSet&, const Assembly& array, const Targets& targets,
                             const EditClock& clock) const override {
    return plan_re_add(array, targets, clock, forced());
  }
};

}  // namespace

std::unique_ptr<Command> make_re_add() {
  return std::make_unique<ReAddCommand>();
}

}  // namespace mdtool::cli
