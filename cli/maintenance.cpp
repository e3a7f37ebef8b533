// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/maintenance.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "cli/write_access.h"

namespace mdtool::cli {

namespace {

// How many extents are printed as text; JSON has them all.
constexpr std::size_t extents_shown = 20;

Json extents_json(const std::vector<SectorRange>& ranges) {
  Json list = Json::array();
  for (const SectorRange& r : ranges) {
    list.push_back({{"offset_bytes", r.first.bytes()}, {"length_bytes", r.count.bytes()}});
  }
  return list;
}

Json plan_json(const Assembly& a, const MaintenancePlan& plan) {
  Json members = Json::array();
  for (const PlannedMember& m : plan.members) {
    Json extents = Json::array();
    for (const PlannedExtent& e : m.extents) {
      extents.push_back({{"offset_bytes", e.offset_bytes}, {"length_bytes", e.length_bytes}, {"purpose", e.purpose}});
    }
    members.push_back({{"path", a.members[m.member].candidate->path}, {"slot", m.slot}, {"may_write", extents}});
  }
  return {{"steps", plan.steps},
          {"chunks_due", plan.nothing_to_do() ? 0 : plan.intent.due().size()},
          {"bytes_due_per_member", plan.nothing_to_do() ? 0 : plan.due_bytes()},
          {"missing_slots", plan.missing_slots},
          {"members", members}};
}

std::string plan_text(const Assembly& a, const MaintenancePlan& plan) {
  std::string text = "Array " + a.array().set_uuid.text() + ", events " + std::to_string(a.array().events) + ":\n";
  for (const std::string& step : plan.steps) {
    text += "  - " + step + "\n";
  }
  text += "To be written:\n";
  for (const PlannedMember& m : plan.members) {
    std::uint64_t parity = 0;
    text += "  " + a.members[m.member].candidate->path + ":";
    for (const PlannedExtent& e : m.extents) {
      if (e.purpose == "parity") {
        parity += e.length_bytes;
      } else {
        text += " " + e.purpose + " at byte " + std::to_string(e.offset_bytes) + " (" + std::to_string(e.length_bytes) +
                "),";
      }
    }
    text += " parity within " + std::to_string(parity) + " bytes\n";
  }
  return text;
}

std::string extents_text(const std::vector<SectorRange>& ranges) {
  std::string text;
  for (std::size_t i = 0; i < std::min(ranges.size(), extents_shown); ++i) {
    text += "  array bytes " + std::to_string(ranges[i].first.bytes()) + " + " +
            std::to_string(ranges[i].count.bytes()) + "\n";
  }
  if (ranges.size() > extents_shown) {
    text += "  and " + std::to_string(ranges.size() - extents_shown) + " more (--json lists all)\n";
  }
  return text;
}

Json report_json(const Assembly& a, const MaintenanceReport& report) {
  Json members = Json::array();
  for (const MemberTraffic& t : report.traffic) {
    members.push_back({{"path", a.in_slot(t.slot)->candidate->path},
                       {"slot", t.slot},
                       {"bytes_read", t.bytes_read},
                       {"bytes_written", t.bytes_written}});
  }
  return {{"chunks_due", report.chunks_due},
          {"chunks_synchronised", report.chunks_synchronised},
          {"parity_bytes_rewritten", report.parity_bytes_wrong},
          {"bytes_left_per_member", report.rows_left.bytes()},
          {"interrupted", report.interrupted},
          {"members", members}};
}

std::string report_text(std::string_view verb, const MaintenanceReport& report) {
  std::string text = std::string(verb) + ": " + std::to_string(report.chunks_synchronised) + " of " +
                     std::to_string(report.chunks_due) + " chunks synchronised, " +
                     std::to_string(report.parity_bytes_wrong) + " bytes of parity were wrong and were rewritten\n";
  if (!report.rows_left.is_zero()) {
    text += "Left alone: " + std::to_string(report.rows_left.bytes()) +
            " bytes of each member, in rows of which too much is missing or listed as bad\n";
  }
  if (report.interrupted) {
    text += "Interrupted at a checkpoint: the same command goes on from there\n";
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

}  // namespace

void MaintenanceCommand::set_up(CLI::App& app) {
  app.add_option("member", arguments_, "Devices, image files, file@offset+size slices, or a directory")->required();
  add_uuid_option(app, uuid_);
  app.add_option("--bitmap", bitmap_, "The format that is expected: internal, lockless (what is on disk decides)");
  app.add_flag("-n,--dry-run", dry_run_, "Print the plan and write nothing");
  app.add_flag("-y,--yes", yes_, "Do not ask");
  app.add_option("--undo", undo_, "Where the undo file goes (default: $XDG_STATE_HOME/mdtool/undo)");
  if (!force_names().empty()) {
    app.add_option("--force", forced_, "Override one check by its name")->check(CLI::IsMember(force_names()));
  }
}

Forces MaintenanceCommand::forces() const {
  Forces forces;
  forces.dirty_degraded = std::find(forced_.begin(), forced_.end(), "dirty-degraded") != forced_.end();
  forces.lazy_recovery = std::find(forced_.begin(), forced_.end(), "lazy-recovery") != forced_.end();
  return forces;
}

Result<Outcome> MaintenanceCommand::run(const Surroundings& around) {
  TRY(wanted, task());
  TRY(kind, suggested_kind(bitmap_));
  TRY(uuid, parse_uuid_option(uuid_));
  const MemberSet members = MemberSet::open(arguments_);
  Outcome outcome;
  auto array = one_array(members, {kind}, uuid);
  if (!array) {
    outcome.findings = members.findings();
    outcome.exit = exit_status_of(array.error());
    outcome.error = std::move(array).error();
    return outcome;
  }
  outcome.findings = findings_of(members, std::span(&*array, 1));
  outcome.document["array"] = {{"uuid", array->array().set_uuid.text()}};
  auto plan = plan_maintenance(*array, wanted);
  if (!plan) {
    outcome.exit = exit_status_of(plan.error());
    outcome.error = std::move(plan).error();
    return outcome;
  }
  const int attention = array->complete || wanted.forces.lazy_recovery ? exit_status::fine : exit_status::attention;
  outcome.document["dry_run"] = dry_run_;
  outcome.document["plan"] = plan_json(*array, *plan);
  outcome.document["uncertain"] = extents_json(plan->uncertain);
  outcome.exit = attention;
  if (plan->nothing_to_do()) {
    outcome.text = std::string(verb()) + ": nothing to do; nothing was written\n";
    outcome.document["result"] = nullptr;
    outcome.document["undo_file"] = nullptr;
    return outcome;
  }
  if (dry_run_) {
    outcome.text = plan_text(*array, *plan);
    outcome.document["result"] = nullptr;
    outcome.document["undo_file"] = nullptr;
    return outcome;
  }
  return carry_out(members, *array, *plan, around, std::move(outcome));
}

Result<Outcome> MaintenanceCommand::carry_out(const MemberSet& members, const Assembly& array,
                                              const MaintenancePlan& plan, const Surroundings& around,
                                              Outcome outcome) const {
  if (!yes_) {
    auto confirmed = around.confirm(plan_text(array, plan) + "Go on?");
    if (!confirmed) {
      outcome.error = std::move(confirmed).error();
      outcome.document["result"] = nullptr;
      outcome.document["undo_file"] = nullptr;
      return outcome;
    }
  }
  WriteAccess access;
  for (const PlannedMember& m : plan.members) {
    const Candidate& candidate = *array.members[m.member].candidate;
    TRY(added, access.add(members.origin(candidate), candidate.path, m.extents));
  }
  TRY(path, undo_path(undo_));
  TRY(undo, UndoFile::create(path, command_line(), access.undo_members()));
  MetadataStages stages(access.members(), undo);
  std::stop_source stop;
  Run run;
  run.stop = stop.get_token();
  run.progress = [&](const mdtool::Progress& p) {
    around.progress->update(p.done_bytes);
    if (around.interrupted()) {
      stop.request_stop();
    }
  };
  around.progress->begin(std::string(verb()), plan.due_bytes());
  auto report =
      run_maintenance(array, plan, stages, *around.kernels, {static_cast<std::uint64_t>(std::time(nullptr))}, run);
  around.progress->end();
  outcome.document["undo_file"] = undo.path();
  if (!report) {
    outcome.exit = exit_status_of(report.error());
    outcome.error = std::move(report).error();
    outcome.document["result"] = nullptr;
    return outcome;
  }
  outcome.document["result"] = report_json(array, *report);
  if (!report->wrote) {
    std::remove(undo.path().c_str());
    outcome.document["undo_file"] = nullptr;
    outcome.text = std::string(verb()) + ": all parity that was due is right; nothing was written\n";
    return outcome;
  }
  outcome.text = report_text(verb(), *report);
  const bool left = !plan.uncertain.empty() || !report->rows_left.is_zero();
  if (!plan.uncertain.empty()) {
    outcome.text += "Uncertain, because the array was dirty and degraded:\n" + extents_text(plan.uncertain);
  }
  outcome.text += "Metadata as it was: " + undo.path() + " (mdtool undo puts it back)\n";
  outcome.exit |= left ? exit_status::uncorrected : exit_status::fine;
  outcome.exit |= report->interrupted ? exit_status::interrupted : exit_when_done(*report);
  return outcome;
}

}  // namespace mdtool::cli
