// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool assemble: the array as one file, through FUSE, read-only.
#include <variant>

#include "cli/command.h"
#include "cli/output_text.h"
#include "cli/reading.h"
#include "libraid/serve/background.h"
#include "libraid/serve/fuse.h"

namespace mdtool::cli {

namespace {

class AssembleCommand final : public Command {
 public:
  void set_up(CLI::App& app) override {
    reading_.set_up(app);
    app.add_option("--at", at_, "The file that the array appears as; made where nothing is")->required();
    app.add_flag("--foreground", foreground_, "Serve until the file is unmounted, or a signal comes");
  }

  Result<Outcome> run(const Surroundings& around) override {
    auto opened = open_array(reading_, around);
    if (auto* failed = std::get_if<OpenFailure>(&opened)) {
      return std::move(failed->outcome);
    }
    const auto& array = std::get<OpenedArray>(opened);
    Outcome outcome = reading_outcome(array);
    outcome.document["at"] = at_;
    outcome.document["foreground"] = foreground_;
    outcome.text = reading_text(array) + labelled("served at", printable(at_, terminal_charset()) + ", read-only") +
                   labelled("next", "mdtool stop " + printable(at_, terminal_charset()) + " ends it");
    const Status served = foreground_ ? serve_here(array, around, outcome) : serve_behind(array);
    if (!served) {
      outcome.text.clear();
      outcome.error = served.error();
    }
    return outcome;
  }

 private:
  ServeOptions serve_options(const OpenedArray& array) const {
    return {.at = at_, .name = array.assembly.array().set_uuid.text()};
  }

  Status serve_here(const OpenedArray& array, const Surroundings& around, const Outcome& outcome) const {
    return serve_fuse(array.readable.array, serve_options(array), [&] { around.publish(outcome); });
  }

  Status serve_behind(const OpenedArray& array) const {
    return serve_in_background([&](const std::function<void()>& ready) {
      return serve_fuse(array.readable.array, serve_options(array), ready);
    });
  }

  ReadingOptions reading_;
  std::string at_;
  bool foreground_ = false;
};

}  // namespace

std::unique_ptr<Command> make_assemble() {
  return std::make_unique<AssembleCommand>();
}

}  // namespace mdtool::cli
