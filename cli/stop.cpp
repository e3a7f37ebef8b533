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
    app.add_option("--force", forced_, "Override one check by its name")->check(CLI::IsMember({in_use}));
  }

  Result<Outcome> run(const Surroundings&) override {
    TRY(stopped, stop_fuse(at_, forced_.empty() ? Force::no : Force::yes));
    Outcome outcome;
    outcome.document["at"] = at_;
    outcome.document["detached"] = stopped.loops;
    for (const std::string& loop : stopped.loops) {
      outcome.text += loop + ": detached\n";
    }
    outcome.text += at_ + ": no longer served\n";
    return outcome;
  }

 private:
  static constexpr const char* in_use = "in-use";
  std::string at_;
  std::vector<std::string> forced_;
};

}  // namespace

std::unique_ptr<Command> make_stop() {
  return std::make_unique<StopCommand>();
}

}  // namespace mdtool::cli
