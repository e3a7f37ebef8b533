// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/maintenance.h"

namespace mdtool::cli {

namespace {

class ResyncCommand final : public MaintenanceCommand {
 protected:
  std::vector<std::string> force_names() const override { return {"dirty-degraded", "lazy-recovery"}; }
  MaintenanceTask task() const override {
    MaintenanceTask task;
    task.kind = MaintenanceTask::Kind::resync;
    task.forces = forces();
    return task;
  }
  int exit_when_done() const override { return exit_status::corrected; }
  std::string_view verb() const override { return "resync"; }
};

}  // namespace

std::unique_ptr<Command> make_resync() {
  return std::make_unique<ResyncCommand>();
}

}  // namespace mdtool::cli
