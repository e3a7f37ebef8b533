// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/membership_command.h"

namespace mdtool::cli {

namespace {

class FailCommand final : public MembershipCommand {
 protected:
  std::string_view verb() const override { return "fail"; }
  std::vector<std::string> force_names() const override { return {"too-few"}; }
  std::string target_description() const override {
    return "The member that the others are to call faulty (repeatable)";
  }
  Result<EditPlan> edit_plan(const MemberSet&, const Assembly& array, const Targets& targets,
                             const EditClock& clock) const override {
    return plan_fail(array, targets, clock, forced());
  }
};

}  // namespace

std::unique_ptr<Command> make_fail() {
  return std::make_unique<FailCommand>();
}

}  // namespace mdtool::cli
