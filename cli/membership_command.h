// SPDX-License-Identifier: GPL-2.0-or-later
// What the verbs share that change who belongs to an array: --target, the array, the clock, the named forces.
#pragma once

#include "cli/edit_command.h"
#include "libraid/edit/membership.h"

namespace mdtool::cli {

class MembershipCommand : public EditCommand {
 public:
  void set_up(Options& app) override;

 protected:
  using Targets = std::vector<const Candidate*>;

  // Whether the verb means nothing without a --target.
  enum class Target { required, optional };
  virtual Target target() const { return Target::required; }
  virtual std::string target_description() const = 0;
  virtual Result<EditPlan> edit_plan(const MemberSet& members, const Assembly& array, const Targets& targets,
                                     const EditClock& clock) const = 0;
  MembershipForces forced() const;

 private:
  Result<EditPlan> plan(const MemberSet& members) const final;
};

}  // namespace mdtool::cli
