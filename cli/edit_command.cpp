// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/edit_command.h"

#include <algorithm>

#include "cli/output_json.h"
#include "cli/output_text.h"
#include "cli/plan_text.h"
#include "cli/with_plans.h"
#include "libraid/assemble/shell_word.h"
#include "libraid/edit/apply_plan.h"

namespace mdtool::cli {

namespace {

Json arrays_json(const PlanOutlook& outlook) {
  const auto summary = [](const Assembly* array) { return array == nullptr ? Json(nullptr) : json_summary(*array); };
  Json all = Json::array();
  for (const ArrayChange& change : outlook.arrays()) {
    all.push_back({{"before", summary(change.before)}, {"after", summary(change.after)}});
  }
  return all;
}

}  // namespace

void EditCommand::add_arguments(Options& app) {
  app.add_option("MEMBER", arguments_, "Devices, images, file@offset+size, directories").required();
}

void EditCommand::set_up(Options& app) {
  add_arguments(app);
  add_uuid_option(app, uuid_);
  app.add_flag("-n,--dry-run", dry_run_, "Print the plan and write nothing");
  app.add_flag("-y,--yes", yes_, "Do not ask");
  add_with_option(app, with_);
  undo_.add_to(app);
  if (!force_names().empty()) {
    app.add_option("--force", forced_, "Override one named check (repeatable)").one_of(force_names());
  }
}

void EditCommand::add_target_option(Options& app, const std::string& description) {
  app.add_option("--target", targets_, description).type_name("MEMBER");
}

bool EditCommand::forces(std::string_view name) const {
  return std::find(forced_.begin(), forced_.end(), name) != forced_.end();
}

Result<Assembly> EditCommand::array(const MemberSet& members) const {
  TRY(uuid, parse_uuid_option(uuid_));
  return one_array(members, {}, uuid);
}

Result<const Candidate*> EditCommand::member_named(const MemberSet& members, const std::string& path) {
  std::vector<const Candidate*> same_file;
  const auto identity = identify(path);
  for (const Candidate& candidate : members.candidates()) {
    if (candidate.path == path) {
      return &candidate;
    }
    if (identity && members.origin(candidate).identity == *identity) {
      same_file.push_back(&candidate);
    }
  }
  if (same_file.size() == 1) {
    return same_file.front();
  }
  return Error{ErrorKind::usage,
               path + (same_file.empty() ? ": not among the members given: name it as a MEMBER too"
                                         : ": several members are on it: name one as " + same_file.front()->path)};
}

Result<std::vector<const Candidate*>> EditCommand::targets(const MemberSet& members) const {
  std::vector<const Candidate*> all;
  for (const std::string& path : targets_) {
    TRY(candidate, member_named(members, path));
    if (std::find(all.begin(), all.end(), candidate) == all.end()) {
      all.push_back(candidate);
    }
  }
  return all;
}

Result<Outcome> EditCommand::run(const Surroundings& around) {
  TRY(uuid, parse_uuid_option(uuid_));
  if (!with_.empty() && !dry_run_) {
    return Error{ErrorKind::usage, "--with is for --dry-run: a plan made above another cannot be written before it"};
  }
  MemberSet members = MemberSet::open(arguments_);
  const auto tried = try_with(members, with_);
  LocatedFindings findings = findings_of(members, arrays_of(members, {}, uuid));
  auto made = tried ? planned(members) : Result<Planned>(tried.error());
  if (!made) {
    Outcome outcome;
    outcome.findings = std::move(findings);
    outcome.error = std::move(made).error();
    return outcome;
  }
  Outcome outcome = first_outcome(std::move(findings), *made);
  if (made->plan.nothing_to_do()) {
    outcome.text = std::string(verb()) + ": nothing to do; nothing was written\n" + next_text(made->plan);
  } else if (dry_run_) {
    outcome.text = plan_text(made->plan, made->members, made->outlook) + try_text(arguments_);
  } else if (auto done = carry_out(members, *made, around, outcome); !done) {
    outcome.error = std::move(done).error();
  }
  return outcome;
}

Result<EditCommand::Planned> EditCommand::planned(const MemberSet& members) const {
  if (members.first_failure()) {
    return Error(*members.first_failure()).in("a member that was named cannot be used (leave it out to go on without)");
  }
  TRY(plan, this->plan(members));
  TRY(outlook, PlanOutlook::of(members.candidates(), plan));
  std::vector<PlanMember> of_plan;
  for (const Candidate* candidate : plan.members) {
    of_plan.push_back(plan_member(members, *candidate));
  }
  return Planned{std::move(plan), std::move(of_plan), std::move(outlook)};
}

Outcome EditCommand::first_outcome(LocatedFindings findings, const Planned& planned) const {
  Outcome outcome;
  outcome.findings = std::move(findings);
  for (const Finding& finding : planned.plan.findings) {
    outcome.findings.push_back({"", finding});
  }
  outcome.document["arrays"] = arrays_json(planned.outlook);
  outcome.document["dry_run"] = dry_run_;
  outcome.document["plan"] = plan_json(planned.plan, planned.members);
  outcome.document["written"] = false;
  outcome.document["undo_file"] = nullptr;
  return outcome;
}

Status EditCommand::carry_out(const MemberSet& members, const Planned& planned, const Surroundings& around,
                              Outcome& outcome) const {
  TRY(place, undo_.choose());
  outcome.findings.insert(outcome.findings.end(), place.findings.begin(), place.findings.end());
  if (!yes_) {
    TRY(confirmed,
        around.confirm(plan_question(
            outcome.findings, plan_text(planned.plan, planned.members, planned.outlook) + try_text(arguments_))));
  }
  WriteAccess access;
  for (std::size_t i = 0; i < planned.plan.members.size(); ++i) {
    const Candidate& candidate = *planned.plan.members[i];
    TRY(added, access.add(members.origin(candidate), candidate.path, planned_extents(planned.plan, i)));
  }
  TRY(undo, open_undo(place, access));
  TRY(applied, apply(planned.plan, access, *undo, outcome));
  outcome.text = std::string(verb()) + ": done, " + std::to_string(planned.members.size()) +
                 (planned.members.size() == 1 ? " member" : " members") + " written\n" + outlook_text(planned.outlook);
  if (!undo->path().empty()) {
    outcome.text +=
        folded(printable(undo->path(), terminal_charset()) + " (mdtool undo puts it back)", 2, "Metadata as it was: ");
  }
  outcome.text += next_text(planned.plan);
  return Done{};
}

Status EditCommand::apply(const EditPlan& plan, WriteAccess& access, UndoSink& undo, Outcome& outcome) const {
  MetadataStages stages(access.members(), undo);
  auto applied = apply_plan(plan, stages);
  if (!applied) {
    remove_undo_if_empty(undo);
  }
  outcome.document["undo_file"] = undo_file_json(undo);
  if (!applied && applied.error().kind == ErrorKind::refused && outcome.document["undo_file"].is_null()) {
    return std::move(applied).in("nothing was written");
  }
  outcome.document["written"] = true;
  if (!applied) {
    return std::move(applied).in(
        "members may be partly written; the same command again finishes it" +
        (undo.path().empty() ? "" : ", and \"mdtool undo " + quoted(undo.path()) + "\" takes it back"));
  }
  return Done{};
}

}  // namespace mdtool::cli
