// SPDX-License-Identifier: GPL-2.0-or-later
// What the verbs share that read an array's content: members, the one array meant, and what has to be said about it.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "cli/members.h"
#include "libraid/assemble/open_array.h"

namespace mdtool::cli {

class ReadingOptions {
 public:
  // `more_forces` are names that --force takes beside ignore-journal.
  void set_up(Options& app, std::vector<std::string> more_forces = {});
  const std::vector<std::string>& arguments() const { return arguments_; }
  const std::string& uuid() const { return uuid_; }
  const std::vector<std::string>& with() const { return with_; }
  bool forces(std::string_view name) const;
  Forces forces() const;

 private:
  std::vector<std::string> arguments_;
  std::string uuid_;
  std::vector<std::string> with_;
  std::vector<std::string> forced_;
};

// An array opened for reading, with all that it reads from.
struct OpenedArray {
  std::unique_ptr<MemberSet> members;
  Assembly assembly;
  ReadableArray readable;
};

// `outcome` of a failure carries the findings that explain it: it is returned in place of an error.
struct OpenFailure {
  Outcome outcome;
};
OpenFailure open_failure(const MemberSet& members, std::span<const Assembly> arrays, Error error);
std::variant<OpenedArray, OpenFailure> open_array(const ReadingOptions& options, const Surroundings& around);

// Exit status, findings, and the JSON keys "array", "degraded" and "uncertain".
Outcome reading_outcome(const OpenedArray& opened);
// The same as text: what is read, and how far it can be believed.
std::string reading_text(const OpenedArray& opened);
// "    bytes 1048576 to 1114111 (64 KiB)" for each range, the first twenty of them.
std::string ranges_text(std::span<const SectorRange> ranges);

}  // namespace mdtool::cli
