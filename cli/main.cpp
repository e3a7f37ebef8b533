// SPDX-License-Identifier: GPL-2.0-or-later
// argv to one verb's outcome. Knows the table of verbs and the options that all of them share.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/output_text.h"
#include "cli/version.h"

namespace mdtool::cli {

int exit_status_of(const Error& error) {
  switch (error.kind) {
    case ErrorKind::refused:
      return exit_status::refused;
    case ErrorKind::usage:
      return exit_status::usage;
    case ErrorKind::interrupted:
      return exit_status::interrupted;
    case ErrorKind::io:
    case ErrorKind::format:
    case ErrorKind::out_of_range:
      break;
  }
  return exit_status::operational;
}

namespace {

struct SharedOptions {
  bool json = false;
  std::string progress = "auto";
};

Outcome failed(Error error) {
  Outcome outcome;
  outcome.exit = exit_status_of(error);
  outcome.error = std::move(error);
  return outcome;
}

std::string help_text() {
  std::string text = "Usage: mdtool VERB [OPTIONS] MEMBER...\n\nVerbs:\n";
  std::vector<std::vector<std::string>> rows;
  for (const CommandRow& row : commands()) {
    rows.push_back({std::string(row.name), std::string(row.summary)});
  }
  return text + table(rows, 2) +
         "\nOptions:\n  --help     This text; after a verb: its options\n  --version  Print the version\n\n"
         "A MEMBER is a block device, an image file, file@offset+size (bytes), or a\n"
         "directory of them. See mdtool(8) and mdtool-VERB(8).\n";
}

const CommandRow* find_command(std::string_view name) {
  const auto rows = commands();
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const CommandRow& row) { return row.name == name; });
  return found == rows.end() ? nullptr : &*found;
}

Status not_interrupted() {
  return interrupted() ? Status(Error{ErrorKind::interrupted, "interrupted: nothing was written"}) : Status(Done{});
}

// A read goes on after a signal (SA_RESTART), poll() never does.
Status wait_for_answer() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&input, 1, -1);
  } while (ready < 0 && errno == EINTR && !interrupted());
  return not_interrupted();
}

Status ask(std::string_view question) {
  if (isatty(STDIN_FILENO) == 0 || isatty(STDERR_FILENO) == 0) {
    return Error{ErrorKind::refused, "no terminal to ask on: give --yes to go ahead, --dry-run to see the plan"};
  }
  std::cerr << printable_lines(question, terminal_charset()) << " [y/N] " << std::flush;
  TRY(waited, wait_for_answer());
  std::string answer;
  std::getline(std::cin, answer);
  TRY(still, not_interrupted());
  if (answer == "y" || answer == "Y" || answer == "yes") {
    return Done{};
  }
  return Error{ErrorKind::refused, "not confirmed: nothing was written"};
}

void add_shared_options(Options& app, SharedOptions& shared) {
  app.add_flag("--json", shared.json, "Print one JSON document instead of text");
  app.add_option("--progress", shared.progress, "Progress on stderr: auto, json or none")
      .one_of({"auto", "json", "none"});
}

Progress::Style progress_style(const std::string& name) {
  return name == "json" ? Progress::Style::json : name == "none" ? Progress::Style::none : Progress::Style::automatic;
}

Result<Outcome> run_with_kernels(Command& command, Surroundings& surroundings) {
  const char* forced = std::getenv("MDTOOL_PARITY");
  TRY(kernels, parity::choose_kernels(forced == nullptr ? "" : forced).in("MDTOOL_PARITY"));
  surroundings.kernels = kernels;
  return command.run(surroundings);
}

int run_command(const CommandRow& row, Command& command, const SharedOptions& shared) {
  const OutputFormat format = shared.json ? OutputFormat::json : OutputFormat::text;
  Progress progress(progress_style(shared.progress));
  bool published = false;
  Surroundings surroundings;
  surroundings.progress = &progress;
  surroundings.interrupted = interrupted;
  surroundings.confirm = ask;
  surroundings.publish = [&](const Outcome& outcome) {
    published = true;
    write_outcome(row.name, outcome, format);
  };
  auto result = run_with_kernels(command, surroundings);
  Outcome outcome = result ? std::move(*result) : failed(std::move(result).error());
  if (outcome.error) {
    outcome.exit |= exit_status_of(*outcome.error);
  }
  if (!published) {
    return write_outcome(row.name, outcome, format);
  }
  // The one document is out: an error after it goes to stderr only.
  outcome.text.clear();
  outcome.findings.clear();
  return outcome.error ? write_outcome(row.name, outcome, OutputFormat::text) : outcome.exit;
}

bool asks_for_json(const std::vector<std::string>& arguments) {
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  return std::find(arguments.begin(), end, "--json") != end;
}

int usage_error(std::string_view command, const std::vector<std::string>& arguments, const std::string& text) {
  const OutputFormat format = asks_for_json(arguments) ? OutputFormat::json : OutputFormat::text;
  const std::string verb = command.empty() ? "" : " " + std::string(command);
  return write_outcome(command, failed({ErrorKind::usage, text + " (see mdtool" + verb + " --help)"}), format);
}

// `arguments` are those behind the verb.
int parse_and_run(const CommandRow& row, const std::vector<std::string>& arguments) {
  Options options(std::string(row.summary), "mdtool " + std::string(row.name));
  SharedOptions shared;
  const std::unique_ptr<Command> command = row.make();
  command->set_up(options);
  add_shared_options(options, shared);
  const auto parsed = options.parse(arguments);
  if (!parsed) {
    return usage_error(row.name, arguments, parsed.error().text);
  }
  return *parsed == Options::Parsed::help_wanted ? write_text(options.help()) : run_command(row, *command, shared);
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") {
    return write_text(help_text());
  }
  if (arguments[0] == "--version") {
    return write_text("mdtool " + std::string(version) + "\n");
  }
  const CommandRow* row = find_command(arguments[0]);
  if (row == nullptr) {
    return usage_error("", arguments, "unknown verb \"" + arguments[0] + "\"");
  }
  return parse_and_run(*row, {arguments.begin() + 1, arguments.end()});
}

}  // namespace
}  // namespace mdtool::cli

int main(int argc, char** argv) {
  mdtool::cli::watch_signals();
  return mdtool::cli::run(std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
}
