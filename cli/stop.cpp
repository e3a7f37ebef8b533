// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool stop: the end of what `assemble` serves.
#include "cli/command.h"
#include "libraid/serve/fuse.h"

namespace mdtool::cli {

namespace {

class StopCommand final : public Command {
 public:
  void set_up(CLI::App& app) override {
    app.add_option("FILE", at_, "The file at which an array is served")->required();
  }

  Result<Outcome> run(const Surroundings&) override {
    TRY(stopped, stop_fuse(at_));
    Outcome outcome;
    outcome.document["at"] = at_;
    outcome.text = at_ + ": no longer served\n";
    return outcome;
  }

 private:
  std::string at_;
};

}  // namespace

std::unique_ptr<Command> make_stop() {
  return std::make_unique<StopCommand>();
}

}  // namespace mdtool::cli
