// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/output.h"

#include <cerrno>
#include <cstdio>
#include <string>

#include "cli/output_json.h"
#include "cli/output_text.h"

namespace mdtool::cli {

namespace {

void write_error(std::string_view text) {
  const std::string line = "mdtool: " + printable(text, terminal_charset()) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void write_findings(const LocatedFindings& findings) {
  for (const LocatedFinding& finding : findings) {
    write_error(finding_text(finding));
  }
}

}  // namespace

int write_text(std::string_view text) {
  const std::size_t written = std::fwrite(text.data(), 1, text.size(), stdout);
  if (written == text.size() && std::fflush(stdout) == 0) {
    return exit_status::fine;
  }
  write_error(io_error("writing to standard output", errno).text);
  return exit_status::operational;
}

int write_outcome(std::string_view command, const Outcome& outcome, OutputFormat format) {
  if (format == OutputFormat::json) {
    return outcome.exit | write_text(json_document(command, outcome));
  }
  if (outcome.show_findings == Outcome::Findings::to_stderr) {
    write_findings(outcome.findings);
  }
  if (outcome.error) {
    write_error(outcome.error->text);
  }
  return outcome.exit | write_text(printable_lines(outcome.text, terminal_charset()));
}

}  // namespace mdtool::cli
