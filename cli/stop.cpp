// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool stop: the end of what `assemble` serves.
#include "cli/command.h"
#include "libraid/serve/fuse.h"

namespace mdtool::cli {

namespace {

class StopCommand final : public Command {
 public:
  void set_up(Options& app) override {
    app.add_option("FILE", at_, "The file at which an array is served").required();
    app.add_option("--force", forced_, "Override one check by its name").one_of({in_use});
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
    outcome.document["end"] = stopped.end ? Json(stopped.end->text) : Json(nullptr);
    if (stopped.was_dead) {
      find(outcome, {Severity::warning, "server-was-gone", "",
                     "the server had ended before, without closing the array: where that was served for writing, see "
                     "mdtool examine, and bring it in order with mdtool resync",
                     Effect::none});
    } else if (stopped.end) {
      judge(outcome, *stopped.end);
    }
    return outcome;
  }

 private:
  void judge(Outcome& outcome, const ServerEnd& end) const {
    if (end.left == Left::with_losses) {
      outcome.exit = exit_status::attention;
      find(outcome, {Severity::warning, "member-failed", "", end.text + ". See mdtool examine", Effect::none});
    } else if (end.left == Left::not_in_order) {
      outcome.error = Error{ErrorKind::io, at_ + ": no longer served, but not closed in order: " + end.text +
                                               ". The last writes may be lost; see mdtool examine"};
    }
  }

  void find(Outcome& outcome, Finding finding) const { outcome.findings.push_back({at_, std::move(finding)}); }

  static constexpr const char* in_use = "in-use";
  std::string at_;
  std::vector<std::string> forced_;
};

}  // namespace

std::unique_ptr<Command> make_stop() {
  return std::make_unique<StopCommand>();
}

}  // namespace mdtool::cli
