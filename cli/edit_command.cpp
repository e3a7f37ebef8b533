// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/edit_command.h"

#include <algorithm>
#include <filesystem>

#include "cli/output_json.h"
#include "cli/output_text.h"
#include "cli/plan_text.h"
#include "cli/watched_run.h"
#include "cli/with_plans.h"
#include "libraid/assemble/shell_word.h"
#include "libraid/edit/apply_plan.h"
#include "libraid/engine/zero.h"

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

// An interruption is seen, and progress told, this often.
constexpr Sectors zeroed_at_once = Sectors::from_bytes(std::uint64_t{64} << 20);

std::uint64_t bytes_of(std::span<const ZeroedRange> ranges) {
  std::uint64_t bytes = 0;
  for (const ZeroedRange& range : ranges) {
    bytes += range.length_bytes;
  }
  return bytes;
}

// Step by step; afterwards samples past the cache tell whether the device kept its word.
Status zero(const WritableMember& member, const ZeroedRange& range, const Run& run, mdtool::Progress& progress) {
  Zeroing zeroing({{member.path, member.device, member.past_cache, range.offset_bytes}});
  const SectorRange all{Sectors(0), Sectors::from_bytes(range.length_bytes)};
  for (Sectors at; at < all.count; at += zeroed_at_once) {
    if (run.stop.stop_requested()) {
      return Error{ErrorKind::interrupted, "interrupted while zeroing"};
    }
    const SectorRange step{at, std::min(zeroed_at_once, all.count - at)};
    TRY(zeroed, zeroing.zero(step));
    progress.done_bytes += step.count.bytes();
    run.progress(progress);
  }
  TRY(flushed, zeroing.flush());
  return zeroing.verify_samples(std::span(&all, 1), Sampling::thorough);
}

bool same_place(const std::string& a, const std::string& b) {
  const auto place = [](const std::string& path) {
    std::error_code failed;
    const auto real = std::filesystem::weakly_canonical(std::filesystem::absolute(path, failed), failed);
    return failed ? std::filesystem::path(path) : real;
  };
  return place(a) == place(b);
}

// "done, 3 members and the file ./bits written"
std::string done_text(const EditPlan& plan) {
  const std::size_t count = plan.members.size();
  std::string text = count == 0 ? "" : std::to_string(count) + (count == 1 ? " member" : " members");
  if (plan.file) {
    text += (text.empty() ? "the file " : " and the file ") + printable(plan.file->path, terminal_charset());
  }
  return "done, " + text + " written";
}

// What the plan replaced, as it was. True where all of it is on the members again.
bool put_back(const EditPlan& plan, std::span<const WritableMember> members) {
  bool all_back = true;
  for (auto stage = plan.stages.rbegin(); stage != plan.stages.rend(); ++stage) {
    for (auto patch = stage->rbegin(); patch != stage->rend(); ++patch) {
      const WritableMember& member = members[patch->member];
      const auto there = read_bytes(*member.past_cache, patch->offset_bytes, patch->before.size());
      const bool untouched = there && *there == patch->before;
      all_back &= untouched ||
                  member.device->write_verified(patch->offset_bytes, patch->before, *member.past_cache).has_value();
    }
  }
  return all_back;
}

}  // namespace

void EditCommand::add_arguments(Options& app) {
  app.add_option("MEMBER", arguments_, "Devices, images, file@offset+size, directories").required();
}

void EditCommand::add_uuid(Options& app) {
  add_uuid_option(app, uuid_);
}

void EditCommand::set_up(Options& app) {
  add_arguments(app);
  add_uuid(app);
  app.add_flag(dry_run_names(), dry_run_, "Print the plan and write nothing");
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
  MemberSet members = MemberSet::open(member_arguments(), partitions());
  const auto tried = try_with(members, with_);
  LocatedFindings findings = findings_of(members, arrays_of(members, {}, uuid));
  std::erase_if(findings, [this](const LocatedFinding& f) { return !worth_telling(f); });
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
    outcome.text = text_of(*made);
  } else if (auto done = carry_out(members, *made, around, outcome); !done) {
    outcome.error = std::move(done).error();
    const Json only_when_done = details(made->plan, made->outlook);
    for (const auto& [key, value] : only_when_done.items()) {
      outcome.document.erase(key);
    }
  }
  return outcome;
}

Result<EditCommand::Planned> EditCommand::planned(const MemberSet& members) const {
  if (members.first_failure()) {
    return Error(*members.first_failure())
        .in("a member that was named cannot be used (" + without_member() + " to go on without)");
  }
  TRY(plan, this->plan(members));
  TRY(outlook, PlanOutlook::of(members.candidates(), plan));
  std::vector<PlanMember> of_plan;
  for (const Candidate* candidate : plan.members) {
    of_plan.push_back(plan_member(members, *candidate));
  }
  TRY(zeroing, look_at_zeroing(members, plan));
  if (plan.file) {
    TRY(checked, WholeFile::check(plan.file->path, plan.file->content, existing_file(), members));
    std::error_code failed;
    if (std::filesystem::exists(plan.file->path, failed)) {
      plan.costs.push_back(plan.file->path + " is replaced: what it holds now is lost, no undo file has it");
    }
  }
  const std::vector<std::string> how = zeroing_steps(zeroing);
  plan.steps.insert(plan.steps.end(), how.begin(), how.end());
  return Planned{std::move(plan), std::move(of_plan), std::move(outlook), std::move(zeroing)};
}

Result<std::vector<MemberZeroing>> EditCommand::look_at_zeroing(const MemberSet& members, const EditPlan& plan) const {
  const Zeroes how = zeroes();
  std::vector<MemberZeroing> all;
  for (const ZeroedRange& range : plan.zeroed) {
    const Candidate& candidate = *plan.members[range.member];
    TRY(one, cli::look_at_zeroing(candidate.path, members.origin(candidate), how.method));
    all.push_back(std::move(one));
  }
  if (how.slow == Zeroes::Slow::refused) {
    TRY(fast, refuse_slow(all, how.slow_allowed_by));
  }
  return all;
}

std::string EditCommand::text_of(const Planned& planned) const {
  return plan_text(planned.plan, planned.members, planned.outlook) + try_text(member_arguments());
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
  outcome.document["plan"]["zeroing"] = zeroing_json(planned.zeroing);
  outcome.document["written"] = false;
  outcome.document["undo_file"] = nullptr;
  outcome.document.update(details(planned.plan, planned.outlook));
  return outcome;
}

Result<UndoChoice> EditCommand::choose_undo(const EditPlan& plan) const {
  if (plan.members.empty()) {
    return UndoChoice{};  // nothing that it could put back
  }
  TRY(place, undo_.choose());
  if (plan.file && !place.path.empty() && same_place(place.path, plan.file->path)) {
    return Error{ErrorKind::refused, place.path + ": both the undo file and the bitmap's; nothing was written"};
  }
  return std::move(place);
}

Status EditCommand::carry_out(const MemberSet& members, const Planned& planned, const Surroundings& around,
                              Outcome& outcome) const {
  TRY(place, choose_undo(planned.plan));
  outcome.findings.insert(outcome.findings.end(), place.findings.begin(), place.findings.end());
  if (!yes_) {
    TRY(confirmed, around.confirm(plan_question(outcome.findings, text_of(planned))));
  }
  WriteAccess access;
  for (std::size_t i = 0; i < planned.plan.members.size(); ++i) {
    const Candidate& candidate = *planned.plan.members[i];
    TRY(added, access.add(members.origin(candidate), candidate.path, planned_extents(planned.plan, i)));
  }
  TRY(undo, open_undo(place, access));
  std::optional<WholeFile> file;
  if (auto prepared = prepare(members, planned.plan, access, file, around, outcome); !prepared) {
    remove_undo_if_empty(*undo);
    return prepared;
  }
  TRY(applied, apply(planned.plan, access, file, *undo, outcome));
  outcome.text = folded(std::string(verb()) + ": " + done_text(planned.plan), 2, "") + outlook_text(planned.outlook);
  if (!undo->path().empty()) {
    outcome.text +=
        folded(printable(undo->path(), terminal_charset()) + " (mdtool undo puts it back)", 2, "Metadata as it was: ");
  }
  outcome.text += next_text(planned.plan);
  return Done{};
}

// What comes before the first stage: the file, made before anything is zeroed and put in its place after, and zeroes.
Status EditCommand::prepare(const MemberSet& members, const EditPlan& plan, WriteAccess& access,
                            std::optional<WholeFile>& file, const Surroundings& around, Outcome& outcome) const {
  for (std::size_t i = 0; i < plan.members.size(); ++i) {
    const WritableMember& member = access.members()[i];
    TRY(same, still_as_planned(plan, i, *member.past_cache).in(member.path));
  }
  if (plan.file) {
    TRY(made, WholeFile::write(plan.file->path, plan.file->content, existing_file(), members));
    file.emplace(std::move(made));
  }
  if (!plan.zeroed.empty()) {
    TRY(zeroed,
        zero_all(plan, access, around, outcome).in("members may be partly zeroed, and nothing else was written"));
  }
  if (file) {
    TRY(placed,
        file->put_in_place().in(plan.zeroed.empty() ? "no member was written"
                                                    : "members are zeroed, and nothing else of them was written"));
    outcome.document["written"] = true;
  }
  return Done{};
}

Status EditCommand::zero_all(const EditPlan& plan, WriteAccess& access, const Surroundings& around,
                             Outcome& outcome) const {
  TRY(chosen, access.zero_by(zeroes().method));
  mdtool::Progress progress{0, bytes_of(plan.zeroed)};
  const WatchedRun watched(around, std::string(verb()), progress.total_bytes);
  outcome.document["written"] = true;
  for (const ZeroedRange& range : plan.zeroed) {
    TRY(zeroed, zero(access.members()[range.member], range, watched.run(), progress));
  }
  return Done{};
}

Status EditCommand::apply(const EditPlan& plan, WriteAccess& access, std::optional<WholeFile>& file, UndoSink& undo,
                          Outcome& outcome) const {
  MetadataStages stages(access.members(), undo);
  auto applied = apply_plan(plan, stages);
  if (!applied) {
    remove_undo_if_empty(undo);
  }
  outcome.document["undo_file"] = undo_file_json(undo);
  const bool nothing_before = !plan.file && plan.zeroed.empty();
  if (!applied && applied.error().kind == ErrorKind::refused && outcome.document["undo_file"].is_null() &&
      nothing_before) {
    return std::move(applied).in("nothing was written");
  }
  outcome.document["written"] = true;
  if (!applied && after_failure() == AfterFailure::put_back && put_back(plan, access.members())) {
    remove_undo(undo);
    const bool file_stays = file && !file->take_back();
    outcome.document["undo_file"] = nullptr;
    outcome.document["written"] = file_stays || !plan.zeroed.empty();
    return std::move(applied).in("all metadata that was written is as it was before" +
                                 (file_stays ? ", but " + plan.file->path + " is replaced" : std::string()));
  }
  if (!applied) {
    return std::move(applied).in(
        "members may be partly written; the same command again" +
        std::string(plan.file && existing_file() == OutputFile::Existing::refuse ? " with --force=overwrite" : "") +
        " finishes it" +
        (undo.path().empty() ? "" : ", and \"mdtool undo " + quoted(undo.path()) + "\" takes it back"));
  }
  return Done{};
}

}  // namespace mdtool::cli
