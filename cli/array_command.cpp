// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/array_command.h"

#include <algorithm>
#include <ctime>
#include <map>

#include "cli/member_changes.h"
#include "cli/output_text.h"
#include "cli/watched_run.h"
#include "libraid/edit/try_plan.h"

namespace mdtool::cli {

namespace {

// How many extents are printed as text; JSON has them all.
constexpr std::size_t extents_shown = 20;

mdtool::Clock clock_now() {
  return {static_cast<std::uint64_t>(std::time(nullptr))};
}

// Fields of which the value is known only when the run is over.
void leave_open(MemberChanges& changes) {
  for (ChangedRecord& record : changes.records()) {
    for (FieldChange& change : record.fields) {
      Field& after = change.after;
      if (after.name.starts_with("events")) {
        after = {after.name, field_text(after) + " or more"};
      } else if (after.name == "utime") {
        after = {after.name, "the time of the run"};
      } else if (after.name == "sb_csum") {
        after = {after.name, "to match"};
      }
    }
  }
}

// Of each planned member, what is to become of its superblock and bitmap header.
Result<std::vector<MemberChanges>> changes_by(const Assembly& a, const ArrayJob& job) {
  std::vector<MemberChanges> all;
  if (job.nothing_to_do()) {
    return all;
  }
  for (const PlannedMember& m : job.metadata().members) {
    const Candidate& candidate = *a.members[m.member].candidate;
    TRY(after, PatchedSource::of(*candidate.metadata, job.metadata_after(m, clock_now())).in(candidate.path));
    TRY(changes, MemberChanges::of(*candidate.metadata, *after).in(candidate.path));
    leave_open(changes);
    all.push_back(std::move(changes));
  }
  return all;
}

Json plan_json(const MemberSet& members, const Assembly& a, const ArrayJob& job,
               const std::vector<MemberChanges>& changes) {
  Json list = Json::array();
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const PlannedMember& m = job.metadata().members[i];
    const Candidate& candidate = *a.members[m.member].candidate;
    Json extents = Json::array();
    for (const PlannedExtent& e : m.extents) {
      extents.push_back({{"offset_bytes", e.offset_bytes}, {"length_bytes", e.length_bytes}, {"purpose", e.purpose}});
    }
    list.push_back(member_json(candidate.path, members.origin(candidate), changes[i].device_uuid()));
    list.back().update({{"slot", m.slot}, {"may_write", extents}, {"changes", changes_json(changes[i])}});
  }
  Json plan = {{"steps", job.steps()}};
  plan.update(job.details());
  plan.update({{"missing_slots", job.metadata().missing_slots}, {"members", list}});
  return plan;
}

// Metadata extent by extent; of data and parity only how much.
std::string may_write_text(const PlannedMember& m) {
  std::string text;
  std::map<std::string, std::uint64_t> bulk;
  for (const PlannedExtent& e : m.extents) {
    if (e.purpose == "superblock" || e.purpose == "bitmap") {
      text += std::string(text.empty() ? " " : ", ") + e.purpose + " at byte " + std::to_string(e.offset_bytes) + " (" +
              std::to_string(e.length_bytes) + ")";
    } else {
      bulk[e.purpose] += e.length_bytes;
    }
  }
  for (const auto& [purpose, bytes] : bulk) {
    text += ", " + purpose + " within " + std::to_string(bytes) + " bytes";
  }
  return text;
}

std::string plan_text(const Assembly& a, const ArrayJob& job, const std::vector<MemberChanges>& changes) {
  std::string text = "Array " + a.array().set_uuid.text() + ", events " + std::to_string(a.array().events) + ":\n";
  for (const std::string& step : job.steps()) {
    text += folded(step, 4, "  - ");
  }
  text += "To be written:\n";
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const PlannedMember& m = job.metadata().members[i];
    text += folded(a.members[m.member].candidate->path + ":" + may_write_text(m), 4, "  ") + changes_text(changes[i]);
  }
  return text;
}

Result<bitmap::Kind> suggested_kind(const std::string& word) {
  if (word.empty() || word == "none") {
    return bitmap::Kind::none;
  }
  if (word == "internal") {
    return bitmap::Kind::classic;
  }
  if (word == "lockless") {
    return bitmap::Kind::lockless;
  }
  return Error{ErrorKind::usage, "--bitmap=" + word + ": expected internal, lockless or none"};
}

Outcome failed(Outcome outcome, Error error) {
  outcome.exit = exit_status_of(error);
  outcome.error = std::move(error);
  return outcome;
}

}  // namespace

Json ranges_json(const std::vector<SectorRange>& ranges) {
  Json list = Json::array();
  for (const SectorRange& r : ranges) {
    list.push_back({{"offset_bytes", r.first.bytes()}, {"length_bytes", r.count.bytes()}});
  }
  return list;
}

std::string ranges_text(std::string_view what, const std::vector<SectorRange>& ranges) {
  std::string text;
  for (std::size_t i = 0; i < std::min(ranges.size(), extents_shown); ++i) {
    text += "  " + std::string(what) + " " + std::to_string(ranges[i].first.bytes()) + " + " +
            std::to_string(ranges[i].count.bytes()) + "\n";
  }
  if (ranges.size() > extents_shown) {
    text += "  and " + std::to_string(ranges.size() - extents_shown) + " more (--json lists all)\n";
  }
  return text;
}

Json traffic_json(const Assembly& array, const std::vector<MemberTraffic>& traffic) {
  Json members = Json::array();
  for (const MemberTraffic& t : traffic) {
    members.push_back({{"path", array.in_slot(t.slot)->candidate->path},
                       {"slot", t.slot},
                       {"bytes_read", t.bytes_read},
                       {"bytes_written", t.bytes_written}});
  }
  return members;
}

void ArrayCommand::set_up(Options& app) {
  app.add_option("member", arguments_, "Devices, image files, file@offset+size slices, or a directory").required();
  add_uuid_option(app, uuid_);
  app.add_option("--bitmap", bitmap_, "The format that is expected: internal, lockless (what is on disk decides)");
  app.add_flag("-n,--dry-run", dry_run_, "Print the plan and write nothing");
  app.add_flag("-y,--yes", yes_, "Do not ask");
  undo_.add_to(app);
  if (!force_names().empty()) {
    app.add_option("--force", forced_, "Override one check by its name").one_of(force_names());
  }
}

bool ArrayCommand::forces(std::string_view name) const {
  return std::find(forced_.begin(), forced_.end(), name) != forced_.end();
}

Forces ArrayCommand::forces() const {
  Forces forced;
  forced.dirty_degraded = forces("dirty-degraded");
  forced.lazy_recovery = forces("lazy-recovery");
  return forced;
}

Result<Outcome> ArrayCommand::run(const Surroundings& around) {
  TRY(kind, suggested_kind(bitmap_));
  TRY(uuid, parse_uuid_option(uuid_));
  const MemberSet members = MemberSet::open(arguments_);
  Outcome outcome;
  auto array = one_array(members, {kind}, uuid);
  if (!array) {
    outcome.findings = members.findings();
    return failed(std::move(outcome), std::move(array).error());
  }
  outcome.findings = findings_of(members, std::span(&*array, 1));
  outcome.document["array"] = {{"uuid", array->array().set_uuid.text()}};
  auto job = plan(*array);
  if (!job) {
    return failed(std::move(outcome), std::move(job).error());
  }
  if (auto looked = (*job)->look_at(members); !looked) {
    return failed(std::move(outcome), std::move(looked).error());
  }
  outcome.document["dry_run"] = dry_run_;
  outcome.document["uncertain"] = ranges_json((*job)->uncertain());
  outcome.document["result"] = nullptr;
  outcome.document["undo_file"] = nullptr;
  outcome.exit = (*job)->exit_unwritten();
  auto changes = changes_by(*array, **job);
  if (!changes) {
    return failed(std::move(outcome), std::move(changes).error());
  }
  outcome.document["plan"] = plan_json(members, *array, **job, *changes);
  if ((*job)->nothing_to_do()) {
    outcome.text = std::string(verb()) + ": nothing to do; nothing was written\n";
    return outcome;
  }
  const std::string text = plan_text(*array, **job, *changes);
  if (dry_run_) {
    outcome.text = text;
    return outcome;
  }
  if (auto done = carry_out(members, *array, **job, text, around, outcome); !done) {
    return failed(std::move(outcome), std::move(done).error());
  }
  return outcome;
}

// What was found stays in the outcome, also where it fails.
Status ArrayCommand::carry_out(const MemberSet& members, const Assembly& array, const ArrayJob& job,
                               const std::string& text, const Surroundings& around, Outcome& outcome) const {
  TRY(place, undo_.choose());
  outcome.findings.insert(outcome.findings.end(), place.findings.begin(), place.findings.end());
  if (!yes_) {
    TRY(confirmed, around.confirm(plan_question(outcome.findings, text)));
  }
  WriteAccess access;
  for (const PlannedMember& m : job.metadata().members) {
    const Candidate& candidate = *array.members[m.member].candidate;
    TRY(added, access.add(members.origin(candidate), candidate.path, m.extents));
  }
  if (const auto method = job.zero_method()) {
    TRY(chosen, access.zero_by(*method));
  }
  TRY(undo, open_undo(place, access));
  MetadataStages stages(access.members(), *undo);
  Result<JobReport> report = [&] {
    const WatchedRun watched(around, std::string(verb()), job.due_bytes());
    return job.run(stages, *around.kernels, clock_now(), watched.run());
  }();
  remove_undo_if_empty(*undo);
  outcome.document["undo_file"] = undo_file_json(*undo);
  if (!report) {
    return std::move(report).error();
  }
  outcome.document["result"] = std::move(report->document);
  outcome.text = std::string(verb()) + ": " + report->text;
  if (!report->wrote) {
    return Done{};
  }
  if (!job.uncertain().empty()) {
    outcome.text +=
        "Uncertain, because the array was dirty and degraded:\n" + ranges_text("array bytes", job.uncertain());
    outcome.exit |= exit_status::uncorrected;
  }
  if (!undo->path().empty()) {
    outcome.text +=
        folded(printable(undo->path(), terminal_charset()) + " (mdtool undo puts it back)", 2, "Metadata as it was: ");
  }
  outcome.exit |= report->exit;
  return Done{};
}

}  // namespace mdtool::cli
