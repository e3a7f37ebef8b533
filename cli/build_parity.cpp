// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/maintenance.h"

namespace mdtool::cli {

namespace {

class BuildParityCommand final : public MaintenanceCommand {
 public:
  void set_up(Options& app) override {
    MaintenanceCommand::set_up(app);
    app.add_option("--state", state_, "How a chunk ends that was never written (default: auto)")
        .one_of({"auto", "clean-unwritten", "clean"});
    app.add_flag("--all", all_, "Rebuild all parity from data, whatever the bitmap says, or without one");
  }

 protected:
  std::vector<std::string> force_names() const override { return {}; }
  MaintenanceTask task() const override {
    MaintenanceTask task;
    task.kind = MaintenanceTask::Kind::build_parity;
    task.extent = all_ ? WriteIntent::Extent::everything : WriteIntent::Extent::unwritten;
    task.built = state_ == "clean"             ? BuiltState::clean
                 : state_ == "clean-unwritten" ? BuiltState::clean_unwritten
                                               : BuiltState::automatic;
    return task;
  }
  int exit_when_done() const override { return exit_status::fine; }
  std::string_view verb() const override { return "build-parity"; }

 private:
  std::string state_ = "auto";
  bool all_ = false;
};

}  // namespace

std::unique_ptr<Command> make_build_parity() {
  return std::make_unique<BuildParityCommand>();
}

}  // namespace mdtool::cli
