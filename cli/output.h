// SPDX-License-Identifier: GPL-2.0-or-later
// Where an outcome goes: the result to stdout, findings and errors to stderr, or one JSON document to stdout.
#pragma once

#include <string_view>

#include "cli/command.h"

namespace mdtool::cli {

enum class OutputFormat { text, json };

// Prints it and returns the exit status, which says so too if stdout could not be written.
int write_outcome(std::string_view command, const Outcome& outcome, OutputFormat format);

// Text that is no outcome: help and versions.
int write_text(std::string_view text);

}  // namespace mdtool::cli
