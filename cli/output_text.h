// SPDX-License-Identifier: GPL-2.0-or-later
// Text for people: what may reach a terminal, 80 columns, aligned labels, sizes and times. Knows no command.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "libmeta/field.h"

namespace mdtool::cli {

enum class Charset { ascii, utf8 };

// What the environment's locale says.
Charset terminal_charset();

// Control bytes, invalid UTF-8 and, with ascii, everything beyond as \xNN; newlines too. Applying it twice changes
// nothing.
std::string printable(std::string_view text, Charset charset);
// The same for text of many lines: newlines stay.
std::string printable_lines(std::string_view text, Charset charset);

// "64 KiB", "1.50 GiB"; exact byte counts below 1 KiB.
std::string human_size(std::uint64_t bytes);
// "2026-01-31T23:59:59Z"; beyond the year 9999: the seconds as "@N".
std::string utc_time(std::uint64_t seconds);

// Text folded to 80 columns; every line but the first starts with `indent` blanks, and the first with `first`.
std::string folded(std::string_view text, std::size_t indent, std::string_view first);
// "    label        value", folded.
std::string labelled(std::string_view label, std::string_view value);
// A command folded so that it can still be typed: a backslash ends every line but the last.
std::string command_text(const std::string& command, std::size_t indent, std::string_view first);
// Columns as wide as their widest cell, two blanks apart, each line behind `indent` blanks.
std::string table(std::span<const std::vector<std::string>> rows, std::size_t indent);

std::string field_text(const Field& field);
std::string finding_text(const LocatedFinding& finding);
// What has to be known before the question: warnings and problems, then the plan.
std::string plan_question(const LocatedFindings& findings, const std::string& plan);
std::string_view severity_name(Severity severity);

}  // namespace mdtool::cli
