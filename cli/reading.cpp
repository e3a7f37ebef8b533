// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/reading.h"

#include <algorithm>
#include <variant>

#include "cli/examine_text.h"
#include "cli/output_json.h"
#include "cli/output_text.h"
#include "cli/with_plans.h"

namespace mdtool::cli {

namespace {

constexpr const char* ignore_journal = "ignore-journal";
constexpr const char* lazy_recovery = "lazy-recovery";
constexpr const char* dirty_degraded = "dirty-degraded";
constexpr std::size_t ranges_shown = 20;  // JSON has them all

}  // namespace

OpenFailure open_failure(const MemberSet& members, std::span<const Assembly> arrays, Error error) {
  Outcome outcome;
  outcome.findings = findings_of(members, arrays);
  outcome.error = std::move(error);
  return {std::move(outcome)};
}

void ReadingOptions::set_up(Options& app, std::vector<std::string> more_forces) {
  app.add_option("MEMBER", arguments_, "Devices, images, file@offset+size, directories").required();
  add_uuid_option(app, uuid_);
  add_with_option(app, with_);
  more_forces.emplace_back(ignore_journal);
  more_forces.emplace_back(lazy_recovery);
  app.add_option("--force", forced_, "Override one named check (repeatable)").one_of(more_forces);
}

bool ReadingOptions::forces(std::string_view name) const {
  return std::find(forced_.begin(), forced_.end(), name) != forced_.end();
}

Forces ReadingOptions::forces() const {
  return {.ignore_journal = forces(ignore_journal),
          .dirty_degraded = forces(dirty_degraded),
          .lazy_recovery = forces(lazy_recovery)};
}

std::variant<OpenedArray, OpenFailure> open_array(const ReadingOptions& options, const Surroundings& around) {
  auto members = std::make_unique<MemberSet>(MemberSet::open(options.arguments()));
  const auto uuid = parse_uuid_option(options.uuid());
  if (!uuid) {
    return open_failure(*members, {}, uuid.error());
  }
  if (auto tried = try_with(*members, options.with()); !tried) {
    return open_failure(*members, {}, std::move(tried).error());
  }
  auto assembly = one_array(*members, {}, *uuid);
  if (!assembly) {
    return open_failure(*members, {}, std::move(assembly).error());
  }
  auto readable = open_for_reading(*assembly, options.forces(), *around.kernels);
  if (!readable) {
    return open_failure(*members, {&*assembly, 1}, std::move(readable).error());
  }
  return OpenedArray{std::move(members), std::move(*assembly), std::move(*readable)};
}

Outcome reading_outcome(const OpenedArray& opened) {
  Outcome outcome;
  outcome.findings = findings_of(*opened.members, {&opened.assembly, 1});
  for (const Finding& finding : opened.readable.findings) {
    outcome.findings.push_back({"", finding});
  }
  const bool attention = opened.readable.degraded || !opened.assembly.clean || !opened.readable.uncertain.empty();
  outcome.exit = attention ? exit_status::attention : exit_status::fine;
  outcome.document["array"] = json_summary(opened.assembly);
  outcome.document["degraded"] = opened.readable.degraded;
  outcome.document["uncertain"] = json_of(opened.readable.uncertain);
  return outcome;
}

std::string reading_text(const OpenedArray& opened) {
  const Assembly& array = opened.assembly;
  std::string text = "array " + array.array().set_uuid.text() + ":\n";
  if (!array.array().set_name.empty()) {
    text += labelled("name", printable(array.array().set_name, terminal_charset()));
  }
  text += labelled("shape", shape_text(array));
  text += labelled("size", human_size(array.array_bytes()) + " (" + std::to_string(array.array_bytes()) + " bytes)");
  text += labelled("state", std::string(array.clean ? "clean" : "dirty") + ", " +
                                std::to_string(array.in_sync_count()) + " of " + std::to_string(array.slots()) +
                                " members in sync" + (opened.readable.degraded ? ", degraded" : ""));
  if (!opened.readable.uncertain.empty()) {
    text +=
        labelled("uncertain", "rebuilt from parity that nothing vouches for:") + ranges_text(opened.readable.uncertain);
  }
  return text;
}

std::string ranges_text(std::span<const SectorRange> ranges) {
  std::string text;
  for (const SectorRange& range : ranges.first(std::min(ranges.size(), ranges_shown))) {
    text += "        bytes " + std::to_string(range.first.bytes()) + " to " + std::to_string(range.end().bytes() - 1) +
            " (" + human_size(range.count.bytes()) + ")\n";
  }
  if (ranges.size() > ranges_shown) {
    text += "        and " + std::to_string(ranges.size() - ranges_shown) + " more (--json lists them all)\n";
  }
  return text;
}

}  // namespace mdtool::cli
