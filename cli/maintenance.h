// SPDX-License-Identifier: GPL-2.0-or-later
// What resync and build-parity have in common as verbs: members, plan, question, undo file, run, report.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/members.h"
#include "libraid/assemble/maintenance.h"

namespace mdtool::cli {

class MaintenanceCommand : public Command {
 public:
  void set_up(CLI::App& app) override;
  Result<Outcome> run(const Surroundings& around) override;

 protected:
  // The names that --force takes for this verb.
  virtual std::vector<std::string> force_names() const = 0;
  virtual Result<MaintenanceTask> task() const = 0;
  // The exit status of a run that did all that was due.
  virtual int exit_when_done(const MaintenanceReport& report) const = 0;
  virtual std::string_view verb() const = 0;

  Forces forces() const;

 private:
  Result<Outcome> carry_out(const MemberSet& members, const Assembly& array, const MaintenancePlan& plan,
                            const Surroundings& around, Outcome outcome) const;

  std::vector<std::string> arguments_;
  std::string uuid_;
  std::string bitmap_;
  std::string undo_;
  std::vector<std::string> forced_;
  bool dry_run_ = false;
  bool yes_ = false;
};

}  // namespace mdtool::cli
