// SPDX-License-Identifier: GPL-2.0-or-later
// What a verb is to the program: a row of the one table (commands.cpp), options, and a run that gives one outcome,
// which is printed as text or as one JSON document. Knows nothing of what any verb does.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/options.h"
#include "cli/progress.h"
#include "libmeta/finding.h"
#include "libmeta/result.h"
#include "libraid/parity/kernels.h"

namespace mdtool::cli {

using Json = nlohmann::ordered_json;

// Exit status: fsck's bits, which may be combined.
namespace exit_status {
constexpr int fine = 0;
constexpr int corrected = 1;    // problems found and corrected
constexpr int attention = 2;    // usable, but degraded, dirty or with warnings
constexpr int uncorrected = 4;  // problems found and left
constexpr int operational = 8;
constexpr int usage = 16;
constexpr int interrupted = 32;  // at a checkpoint
constexpr int refused = 64;      // by a safety check, or too few members: nothing written
}  // namespace exit_status

int exit_status_of(const Error&);

struct LocatedFinding {
  std::string path;  // the member, or empty: the array or the whole command line
  Finding finding;
};
using LocatedFindings = std::vector<LocatedFinding>;

struct Outcome {
  int exit = exit_status::fine;
  std::string text;                // for stdout, unless --json
  Json document = Json::object();  // the command's own keys; the envelope is added by write_outcome()
  LocatedFindings findings;
  LocatedFindings only_in_document;  // findings that would alarm people for nothing
  std::optional<Error> error;        // the command failed, with findings worth showing; sets `exit`
  enum class Findings { to_stderr, in_text } show_findings = Findings::to_stderr;
};

// What the program gives to a running verb.
struct Surroundings {
  const parity::Kernels* kernels = nullptr;
  Progress* progress = nullptr;
  // True once SIGINT or SIGTERM came: stop at the next checkpoint with ErrorKind::interrupted.
  std::function<bool()> interrupted;
  // Asks on the terminal; fails (refused) where there is none or the answer is no.
  std::function<Status(std::string_view question)> confirm;
  // Prints an outcome before the verb returns, for one that stays in the foreground; the returned one is then not
  // printed.
  std::function<void(const Outcome&)> publish;
};

class Command {
 public:
  virtual ~Command() = default;
  // Adds the verb's options and positionals, bound to fields of this object.
  virtual void set_up(Options&) = 0;
  virtual Result<Outcome> run(const Surroundings&) = 0;
};

struct CommandRow {
  std::string_view name;
  std::string_view summary;
  std::unique_ptr<Command> (*make)();
};

std::span<const CommandRow> commands();

// Every verb's maker, each defined in the file of its name.
std::unique_ptr<Command> make_examine();
std::unique_ptr<Command> make_assemble();
std::unique_ptr<Command> make_copy();
std::unique_ptr<Command> make_stop();
std::unique_ptr<Command> make_resync();
std::unique_ptr<Command> make_build_parity();
std::unique_ptr<Command> make_recover();
std::unique_ptr<Command> make_create();
std::unique_ptr<Command> make_zero_init();
std::unique_ptr<Command> make_bitmap();
std::unique_ptr<Command> make_set();
std::unique_ptr<Command> make_add();
std::unique_ptr<Command> make_remove();
std::unique_ptr<Command> make_fail();
std::unique_ptr<Command> make_re_add();
std::unique_ptr<Command> make_force();
std::unique_ptr<Command> make_erase();
std::unique_ptr<Command> make_overlay();
std::unique_ptr<Command> make_dump();
std::unique_ptr<Command> make_restore();
std::unique_ptr<Command> make_undo();

}  // namespace mdtool::cli
