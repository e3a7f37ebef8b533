// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool assemble: the array as one file, through FUSE, and as a loop device.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <variant>

#include "cli/command.h"
#include "cli/output_json.h"
#include "cli/output_text.h"
#include "cli/reading.h"
#include "cli/serve_live.h"
#include "cli/writable_array.h"
#include "libraid/serve/background.h"
#include "libraid/serve/fuse.h"
#include "libraid/serve/run_command.h"

namespace mdtool::cli {

namespace {

// A flag's value where it was given without one; no path that anybody means.
constexpr const char* usual_place = "-";
constexpr unsigned most_threads = 256;

// A folder of this user's own for files that nobody named.
Result<std::string> runtime_folder() {
  const char* of_user = std::getenv("XDG_RUNTIME_DIR");
  if (of_user != nullptr && *of_user == '/') {
    return std::string(of_user);
  }
  if (::geteuid() != 0) {
    return Error{ErrorKind::usage, "--at is needed: there is no XDG_RUNTIME_DIR to put the file in"};
  }
  const std::string folder = "/run/mdtool";
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return io_error(folder, errno);
  }
  return folder;
}

std::string file_name(const Uuid& uuid) {
  std::string name = uuid.text();
  std::replace(name.begin(), name.end(), ':', '-');
  return name;
}

Json plan_json(const WritableArray& array) {
  Json members = Json::array();
  const LivePlan& plan = array.live_plan();
  for (const LiveMember& m : plan.members) {
    Json extents = Json::array();
    for (const PlannedExtent& e : m.extents) {
      extents.push_back({{"offset_bytes", e.offset_bytes}, {"length_bytes", e.length_bytes}, {"purpose", e.purpose}});
    }
    members.push_back({{"path", array.opened().assembly.members[m.member].candidate->path},
                       {"slot", m.slot ? Json(*m.slot) : Json(nullptr)},
                       {"may_write", extents}});
  }
  return {{"steps", plan.steps}, {"missing_slots", plan.left.missing_slots}, {"members", members}};
}

std::string plan_text(const WritableArray& array) {
  const Assembly& a = array.opened().assembly;
  std::string text = "Array " + a.array().set_uuid.text() + ", events " + std::to_string(a.array().events) + ":\n";
  for (const std::string& step : array.live_plan().steps) {
    text += folded(step, 4, "  - ");
  }
  text += array.overlay() ? "To be written: nothing but the overlay " + *array.overlay() + "\n" : "To be written:\n";
  for (const LiveMember& m : array.live_plan().members) {
    if (array.overlay()) {
      break;
    }
    text += "  " + a.members[m.member].candidate->path + ":";
    for (const PlannedExtent& e : m.extents) {
      text += " " + e.purpose + " at byte " + std::to_string(e.offset_bytes) + " (" + std::to_string(e.length_bytes) +
              ")" + (&e == &m.extents.back() ? "\n" : ",");
    }
  }
  return text;
}

// What the serving process tells the one that started it, through a pipe.
std::string message_of(const Usable& usable) {
  return Json({{"loop", usable.loop ? Json(*usable.loop) : Json(nullptr)},
               {"partitions", usable.partitions},
               {"warnings", usable.warnings}})
      .dump(-1, ' ', true, Json::error_handler_t::replace);
}

class AssembleCommand final : public Command {
 public:
  void set_up(Options& app) override {
    reading_.set_up(app, {"dirty-degraded"});
    app.add_option("--at", at_, "The file that the array appears as; made where nothing is");
    app.add_flag("-w,--read-write", read_write_, "The array can be written, and its members are");
    app.add_flag(std::string("--overlay{") + usual_place + "}", overlay_,
                 "Writes go to this file, and the members stay as they are (--overlay=FILE)");
    app.add_option("--bitmap", bitmap_, "A bitmap file; or the format that is expected: internal, lockless, none");
    app.add_flag("--loop", loop_, "Also as /dev/loopN, with its partitions");
    app.add_option("--run", run_, "Run this shell command with the path in $MDTOOL_ARRAY, then stop");
    app.add_flag("--foreground", foreground_, "Serve until the file is unmounted, or a signal comes");
    app.add_option("--log", log_, "Where what becomes of the members is written while the array is served");
    app.add_option("--threads", threads_, "How many requests are worked on at once").in_range(1, most_threads);
    app.add_flag("-n,--dry-run", dry_run_, "Print the plan and write nothing");
    app.add_flag("-y,--yes", yes_, "Do not ask");
  }

  Result<Outcome> run(const Surroundings& around) override {
    const bool writable = read_write_ || !overlay_.empty();
    if (writable && !reading_.with().empty()) {
      return Error{ErrorKind::refused,
                   "a plan that is tried in memory is for reading: apply it first (\"mdtool undo\" takes it back)"};
    }
    return writable ? run_writable(around) : run_readable(around);
  }

 private:
  // ---- read-only

  Result<Outcome> run_readable(const Surroundings& around) {
    if (!bitmap_.empty()) {
      return Error{ErrorKind::usage, "--bitmap is for --read-write"};
    }
    auto opened = open_array(reading_, around);
    if (auto* failed = std::get_if<OpenFailure>(&opened)) {
      return std::move(failed->outcome);
    }
    const auto& array = std::get<OpenedArray>(opened);
    TRY(options, serve_options(array.assembly, Access::read_only));
    Outcome outcome = first_outcome(array, options, "read-only");
    if (dry_run_) {
      return outcome;
    }
    return serve(around, std::move(outcome), [&](const Ready& ready) {
      return serve_fuse(Served::read_only(array.readable.array), options, ready);
    });
  }

  // ---- read-write

  Result<Outcome> run_writable(const Surroundings& around) {
    WritingOptions writing;
    writing.bitmap = bitmap_;
    if (!overlay_.empty()) {
      writing.overlay = overlay_ == usual_place ? "" : overlay_;
    }
    auto planned = WritableArray::plan(reading_, writing, *around.kernels);
    if (auto* failed = std::get_if<OpenFailure>(&planned)) {
      return std::move(failed->outcome);
    }
    WritableArray& array = *std::get<0>(planned);
    TRY(options, serve_options(array.opened().assembly, Access::read_write));
    Outcome outcome = first_outcome(array.opened(), options, array.overlay() ? "above the members" : "read-write");
    outcome.document["plan"] = plan_json(array);
    outcome.document["overlay"] = array.overlay() ? Json(*array.overlay()) : Json(nullptr);
    if (dry_run_) {
      outcome.text = plan_text(array);
      return outcome;
    }
    if (!yes_ && !array.overlay()) {
      if (auto confirmed = around.confirm(plan_question(outcome.findings, plan_text(array))); !confirmed) {
        return failed(std::move(outcome), std::move(confirmed).error());
      }
    }
    auto log = open_log();
    if (!log) {
      return failed(std::move(outcome), std::move(log).error());
    }
    auto live = array.open(*around.kernels);
    if (!live) {
      return failed(std::move(outcome), std::move(live).error());
    }
    options.still_used = [&log](const std::string& holder) { log->say("still in use, serving on: " + holder); };
    return serve(around, std::move(outcome),
                 [&](const Ready& ready) { return serve_live(**live, options, ready, *log); });
  }

  Result<Log> open_log() const {
    if (!log_.empty()) {
      return Log::to_file(log_);
    }
    return foreground_ || !run_.empty() ? Log::to_stderr() : Result<Log>(Log::none());
  }

  // ---- both

  Result<ServeOptions> serve_options(const Assembly& array, Access access) {
    if (at_.empty()) {
      if (!loop_ && run_.empty()) {
        return Error{ErrorKind::usage, "--at is required, unless --loop or --run is given"};
      }
      TRY(folder, runtime_folder());
      at_ = folder + "/mdtool-" + file_name(array.array().set_uuid);
    }
    ServeOptions options{.at = at_, .name = array.array().set_uuid.text()};
    if (loop_) {
      options.loop = LoopOptions{.access = access, .block_bytes = std::max(512U, array.array().logical_block_size)};
    }
    options.workers = threads_;
    return options;
  }

  Outcome first_outcome(const OpenedArray& array, const ServeOptions& options, const std::string& how) const {
    Outcome outcome = reading_outcome(array);
    outcome.document["at"] = options.at;
    outcome.document["foreground"] = foreground_;
    outcome.document["read_write"] = read_write_ || !overlay_.empty();
    outcome.document["dry_run"] = dry_run_;
    outcome.document["loop"] = nullptr;
    outcome.text = reading_text(array);
    if (!dry_run_) {
      const std::string at = printable(options.at, terminal_charset());
      outcome.text += labelled("served at", at + ", " + how) + labelled("next", "mdtool stop " + at + " ends it");
    }
    return outcome;
  }

  static Outcome failed(Outcome outcome, Error error) {
    outcome.text.clear();
    outcome.error = std::move(error);
    return outcome;
  }

  static void add_usable(Outcome& outcome, const Json& usable) {
    outcome.document["loop"] = usable["loop"];
    outcome.document["partitions"] = usable["partitions"];
    if (!usable["loop"].is_null()) {
      outcome.text += labelled("loop device", usable["loop"].get<std::string>());
    }
    for (const auto& partition : usable["partitions"]) {
      outcome.text += labelled("partition", partition.get<std::string>());
    }
    // Without a loop device no file system of the kernel's waits for the server.
    LocatedFindings& findings = usable["loop"].is_null() ? outcome.only_in_document : outcome.findings;
    for (const auto& warning : usable["warnings"]) {
      findings.push_back({"", {Severity::note, "memory-pressure", "", warning.get<std::string>(), Effect::none}});
    }
  }

  using Serve = std::function<Status(const Ready&)>;

  Outcome serve(const Surroundings& around, Outcome outcome, const Serve& serve) const {
    const Status served = !run_.empty() ? serve_a_command(outcome, serve)
                          : foreground_ ? serve_here(around, outcome, serve)
                                        : serve_behind(outcome, serve);
    return served ? std::move(outcome) : failed(std::move(outcome), served.error());
  }

  Status serve_a_command(Outcome& outcome, const Serve& serve) const {
    std::optional<int> exit;
    const Status served = serve([&](const Usable& usable) -> Result<Then> {
      add_usable(outcome, Json::parse(message_of(usable)));
      TRY(status, run_command(run_, usable.loop.value_or(usable.path)));
      exit = status;
      return Then::stop;
    });
    outcome.text.clear();
    outcome.document["command_exit"] = exit ? Json(*exit) : Json(nullptr);
    if (exit.value_or(0) != 0) {
      outcome.exit |= exit_status::operational;
      outcome.findings.push_back({"",
                                  {Severity::problem, "command-failed", "",
                                   "the command ended with status " + std::to_string(*exit), Effect::none}});
    }
    return served;
  }

  static Status serve_here(const Surroundings& around, Outcome& outcome, const Serve& serve) {
    return serve([&](const Usable& usable) -> Result<Then> {
      add_usable(outcome, Json::parse(message_of(usable)));
      around.publish(outcome);
      return Then::serve_on;
    });
  }

  static Status serve_behind(Outcome& outcome, const Serve& serve) {
    TRY(message, serve_in_background([&](const std::function<void(const std::string&)>& tell) {
          return serve([&](const Usable& usable) -> Result<Then> {
            tell(message_of(usable));
            return Then::serve_on;
          });
        }));
    add_usable(outcome, Json::parse(message));
    return Done{};
  }

  ReadingOptions reading_;
  std::string at_;
  std::string overlay_;
  std::string bitmap_;
  std::string run_;
  std::string log_;
  unsigned threads_ = ServeOptions{}.workers;
  bool read_write_ = false;
  bool loop_ = false;
  bool foreground_ = false;
  bool dry_run_ = false;
  bool yes_ = false;
};

}  // namespace

std::unique_ptr<Command> make_assemble() {
  return std::make_unique<AssembleCommand>();
}

}  // namespace mdtool::cli
