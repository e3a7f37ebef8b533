// SPDX-License-Identifier: GPL-2.0-or-later
#include <bit>
#include <ctime>

#include "cli/command.h"
#include "cli/member_changes.h"
#include "cli/output_text.h"
#include "cli/watched_run.h"
#include "cli/write_access.h"
#include "libraid/assemble/overlay_base.h"
#include "libraid/assemble/overlay_commit.h"
#include "libraid/edit/try_plan.h"

namespace mdtool::cli {

namespace {

constexpr const char* unfinished_commit = "unfinished-commit";
constexpr std::size_t extents_shown = 65536;  // of a member; more are only counted

struct MemberUse {
  std::uint64_t written_bytes = 0;
  std::uint64_t zeroed_bytes = 0;
  std::uint64_t extents = 0;
  std::vector<Extent> listed;
  std::uint64_t end_bytes = 0;  // of the last extent

  void add(Extent next) {
    const bool goes_on = extents != 0 && end_bytes == next.offset_bytes;
    end_bytes = next.offset_bytes + next.length_bytes;
    extents += goes_on ? 0 : 1;
    if (extents > extents_shown) {
      return;
    }
    if (goes_on) {
      listed.back().length_bytes += next.length_bytes;
    } else {
      listed.push_back(next);
    }
  }
};

std::vector<MemberUse> uses_of(const OverlayContents& contents) {
  std::vector<OverlayBlock> blocks;
  for (std::size_t i = 0; i < contents.index.size(); ++i) {
    blocks.push_back(contents.index[i]);
  }
  std::sort(blocks.begin(), blocks.end(),
            [](const OverlayBlock& a, const OverlayBlock& b) { return a.block < b.block; });
  std::vector<MemberUse> uses(contents.members.size());
  for (const OverlayBlock& block : blocks) {
    if (block.valid == 0) {
      continue;
    }
    MemberUse& use = uses[block.member];
    use.written_bytes += Sectors(static_cast<std::uint64_t>(std::popcount(block.written()))).bytes();
    use.zeroed_bytes += Sectors(static_cast<std::uint64_t>(std::popcount(block.zeroed))).bytes();
    for (unsigned sector = 0; sector < overlay_block_sectors; ++sector) {
      if ((block.valid >> sector & 1) != 0) {
        use.add({block.block * overlay_block_bytes + Sectors(sector).bytes(), Sectors::bytes_each});
      }
    }
  }
  return uses;
}

Json extents_json(const std::vector<Extent>& extents) {
  Json list = Json::array();
  for (const Extent& e : extents) {
    list.push_back({{"offset_bytes", e.offset_bytes}, {"length_bytes", e.length_bytes}});
  }
  return list;
}

// What commit works on: the array's members below the overlay, and the overlay over them.
struct Opened {
  MemberSet members;
  Assembly below;
  std::vector<const Candidate*> candidates;  // by base
  OverlayFile overlay;
};

// Of each planned member, what is to become of its superblock and bitmap header.
Result<std::vector<MemberChanges>> changes_by(const OverlayFile& overlay, const OverlayCommitPlan& plan,
                                              const std::vector<const Candidate*>& candidates) {
  std::vector<MemberChanges> all;
  for (const OverlayCommitMember& m : plan.members) {
    const Candidate& candidate = *candidates[m.base];
    std::vector<Patch> patches;
    for (const OverlayPatch& patch : plan.record.patches) {
      if (patch.member == overlay.member_of(m.base)) {
        patches.push_back({patch.offset_bytes, patch.bytes});
      }
    }
    TRY(after, PatchedSource::of(*candidate.metadata, std::move(patches)).in(candidate.path));
    TRY(changes, MemberChanges::of(*candidate.metadata, *after).in(candidate.path));
    all.push_back(std::move(changes));
  }
  return all;
}

Json plan_json(const Opened& opened, const OverlayCommitPlan& plan, const std::vector<MemberChanges>& changes) {
  Json members = Json::array();
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const OverlayCommitMember& m = plan.members[i];
    const Candidate& candidate = *opened.candidates[m.base];
    Json extents = Json::array();
    for (const PlannedExtent& e : m.extents) {
      extents.push_back({{"offset_bytes", e.offset_bytes}, {"length_bytes", e.length_bytes}, {"purpose", e.purpose}});
    }
    members.push_back(member_json(candidate.path, opened.members.origin(candidate), changes[i].device_uuid()));
    members.back().update({{"identity", opened.overlay.members()[opened.overlay.member_of(m.base)].identity},
                           {"data_bytes", m.data_bytes},
                           {"may_write", extents},
                           {"changes", changes_json(changes[i])}});
  }
  return {{"steps", plan.steps}, {"resumed", plan.resumed}, {"data_bytes", plan.data_bytes()}, {"members", members}};
}

std::string plan_text(const Opened& opened, const OverlayCommitPlan& plan, const std::vector<MemberChanges>& changes) {
  std::string text = "To be done:\n";
  for (const std::string& step : plan.steps) {
    text += "  - " + step + "\n";
  }
  text += "To be written:\n";
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const OverlayCommitMember& m = plan.members[i];
    text += "  " + opened.candidates[m.base]->path + ": " + std::to_string(m.data_bytes) + " bytes of data and parity,";
    for (const PlannedExtent& e : m.extents) {
      if (e.purpose == "metadata") {
        text += " metadata at byte " + std::to_string(e.offset_bytes) + " (" + std::to_string(e.length_bytes) + ")";
      }
    }
    text += "\n" + changes_text(changes[i]);
  }
  return text;
}

std::string undo_step(const OverlayCommitPlan& plan, UndoOption::Kept kept) {
  if (kept == UndoOption::Kept::nowhere) {
    return "no undo file is kept";
  }
  return plan.data_undoable ? "the undo file takes back all of it"
                            : "there is no undo once data is written: the undo file, which holds metadata only, is "
                              "removed before; the overlay file stays until all is durable, and the same command "
                              "finishes what was cut off";
}

class OverlayCommand final : public Command {
 public:
  void set_up(Options& app) override {
    app.add_option("action", arguments_, "show FILE [MEMBER...], discard FILE, or commit FILE MEMBER...").required();
    add_uuid_option(app, uuid_);
    app.add_flag("-n,--dry-run", dry_run_, "commit, discard: print the plan and write nothing");
    app.add_flag("-y,--yes", yes_, "Do not ask");
    undo_.add_to(app);
    app.add_flag("--keep", keep_, "commit: leave the overlay file when all is on the members");
    app.add_option("--force", forced_, "Override one check by its name").one_of({unfinished_commit});
  }

  Result<Outcome> run(const Surroundings& around) override {
    TRY(understood, take_arguments());
    Outcome outcome;
    outcome.document["overlay_file"] = file_;
    outcome.document["action"] = action_;
    return action_ == "show"      ? show(std::move(outcome))
           : action_ == "discard" ? discard(around, std::move(outcome))
                                  : commit(around, std::move(outcome));
  }

 private:
  // What to do, the overlay file, and the members of which only they may be many.
  Status take_arguments() {
    action_ = arguments_[0];
    if (action_ != "show" && action_ != "discard" && action_ != "commit") {
      return Error{ErrorKind::usage, "overlay " + action_ + ": expected show, discard or commit"};
    }
    if (arguments_.size() < 2) {
      return Error{ErrorKind::usage, "overlay " + action_ + ": which overlay file?"};
    }
    file_ = arguments_[1];
    arguments_.erase(arguments_.begin(), arguments_.begin() + 2);
    if (action_ == "discard" && !arguments_.empty()) {
      return Error{ErrorKind::usage, "overlay discard: takes one file"};
    }
    return Done{};
  }

  Result<Outcome> show(Outcome outcome) const {
    TRY(contents, read_overlay_file(file_));
    const std::vector<MemberUse> uses = uses_of(contents);
    std::vector<std::string> found(contents.members.size());
    if (!arguments_.empty()) {
      TRY(compared, compare(contents, found, outcome));
    }
    outcome.document["commit_begun"] = contents.commit.has_value();
    outcome.document["members"] = Json::array();
    outcome.text = file_ + ":" + (contents.commit ? " a commit of it has begun and is to be finished" : "") + "\n";
    for (std::size_t i = 0; i < contents.members.size(); ++i) {
      const OverlayMember& m = contents.members[i];
      outcome.document["members"].push_back({{"path", m.path},
                                             {"identity", m.identity},
                                             {"size_bytes", m.size_bytes},
                                             {"fits", found[i].empty() ? Json(nullptr) : Json(found[i])},
                                             {"written_bytes", uses[i].written_bytes},
                                             {"zeroed_bytes", uses[i].zeroed_bytes},
                                             {"extents", extents_json(uses[i].listed)},
                                             {"extents_left_out", uses[i].extents - uses[i].listed.size()}});
      outcome.text += "  " + printable(m.path, terminal_charset()) + " (" + printable(m.identity, terminal_charset()) +
                      "): " + human_size(uses[i].written_bytes) + " written, " + human_size(uses[i].zeroed_bytes) +
                      " zeroed, in " + std::to_string(uses[i].extents) + " extents" +
                      (found[i].empty() ? "" : "; fits " + printable(found[i], terminal_charset())) + "\n";
    }
    return outcome;
  }

  // Which of the members that were given belongs to which of the overlay's.
  Status compare(const OverlayContents& contents, std::vector<std::string>& found, Outcome& outcome) const {
    const MemberSet members = MemberSet::open(arguments_);
    outcome.findings = members.findings();
    if (members.first_failure()) {
      outcome.exit |= exit_status::operational;
    }
    for (const Candidate& candidate : members.candidates()) {
      auto base = overlay_base(candidate);
      auto matched = base ? match_overlay({contents.members, contents.commit}, {&*base, 1})
                          : Result<std::vector<std::uint32_t>>(base.error());
      if (matched) {
        found[matched->front()] = candidate.path;
        continue;
      }
      outcome.exit |= exit_status::uncorrected;
      outcome.findings.push_back(
          {candidate.path,
           {Severity::problem, "overlay-does-not-fit", "", matched.error().text, Effect::stops_writing}});
    }
    return Done{};
  }

  Result<Outcome> discard(const Surroundings& around, Outcome outcome) const {
    TRY(overlay, OverlayFile::open(file_, {}, OverlayUse::commit));
    if (overlay.commit() && forced_.empty()) {
      return Error{ErrorKind::refused, file_ +
                                           ": a commit of it has begun: without this file it cannot be finished, "
                                           "and the members stay as the cut left them. mdtool overlay commit goes "
                                           "on; --force=unfinished-commit discards it all the same"};
    }
    std::uint64_t bytes = 0;
    for (std::uint32_t member = 0; member < overlay.members().size(); ++member) {
      for (const OverlayBlock& block : overlay.blocks_of(member)) {
        bytes += Sectors(static_cast<std::uint64_t>(std::popcount(block.valid))).bytes();
      }
    }
    const std::string plan = file_ + ": " + human_size(bytes) + " written to it are lost";
    outcome.document["dry_run"] = dry_run_;
    outcome.document["discarded_bytes"] = bytes;
    outcome.document["removed"] = false;
    if (dry_run_) {
      outcome.text = plan + "\n";
      return outcome;
    }
    if (!yes_) {
      TRY(confirmed, around.confirm(plan + ". Go on?"));
    }
    TRY(removed, overlay.remove());
    outcome.document["removed"] = true;
    outcome.text = file_ + ": removed\n";
    return outcome;
  }

  Result<Opened> open(Outcome& outcome) const {
    if (arguments_.empty()) {
      return Error{ErrorKind::usage, "overlay commit: which members?"};
    }
    TRY(uuid, parse_uuid_option(uuid_));
    MemberSet members = MemberSet::open(arguments_);
    auto below = one_array(members, {}, uuid);
    outcome.findings = below ? findings_of(members, std::span(&*below, 1)) : members.findings();
    if (!below) {
      return std::move(below).error();
    }
    std::vector<const Candidate*> candidates;
    std::vector<OverlayBase> bases;
    for (const Member& m : below->members) {
      if (m.candidate != nullptr) {
        TRY(base, overlay_base(*m.candidate));
        bases.push_back(std::move(base));
        candidates.push_back(m.candidate);
      }
    }
    TRY(overlay, OverlayFile::open(file_, bases, OverlayUse::commit));
    return Opened{std::move(members), std::move(*below), std::move(candidates), std::move(overlay)};
  }

  static Result<OverlayCommitPlan> plan(const Opened& opened) {
    if (opened.overlay.commit()) {
      return resume_overlay_commit(opened.overlay);
    }
    std::vector<std::unique_ptr<BlockDevice>> devices;
    std::vector<Candidate> through;
    for (std::size_t base = 0; base < opened.candidates.size(); ++base) {
      const Candidate& below = *opened.candidates[base];
      devices.push_back(opened.overlay.device(base));
      TRY(candidate, inspect(below.path, below.identity, *devices.back(), *devices.back()));
      through.push_back(std::move(candidate));
    }
    const std::vector<Assembly> above = assemble(through);
    if (above.size() != 1) {
      return Error{ErrorKind::refused, "what the overlay holds is not one array"};
    }
    return plan_overlay_commit({opened.overlay, opened.candidates, opened.below, above.front()},
                               static_cast<std::uint64_t>(std::time(nullptr)));
  }

  Result<Outcome> commit(const Surroundings& around, Outcome outcome) const {
    outcome.document["dry_run"] = dry_run_;
    outcome.document["plan"] = nullptr;
    outcome.document["result"] = nullptr;
    outcome.document["undo_file"] = nullptr;
    outcome.document["removed"] = false;
    auto opened = open(outcome);
    auto planned = opened ? plan(*opened) : Result<OverlayCommitPlan>(opened.error());
    if (!planned) {
      outcome.error = std::move(planned).error();
      return outcome;
    }
    auto changes = changes_by(opened->overlay, *planned, opened->candidates);
    if (!changes) {
      outcome.error = std::move(changes).error();
      return outcome;
    }
    if (!planned->nothing_to_do()) {
      planned->steps.push_back(undo_step(*planned, undo_.kept()));
    }
    outcome.document["plan"] = plan_json(*opened, *planned, *changes);
    if (planned->nothing_to_do()) {
      outcome.text = "overlay commit: nothing was ever written to " + file_ + "; nothing was done\n";
      return outcome;
    }
    const std::string text = plan_text(*opened, *planned, *changes);
    if (dry_run_) {
      outcome.text = text;
      return outcome;
    }
    auto carried_out = carry_out(*opened, *planned, text, around, outcome);
    if (!carried_out) {
      outcome.error = std::move(carried_out).error();
    }
    return outcome;
  }

  Status carry_out(Opened& opened, const OverlayCommitPlan& plan, const std::string& text, const Surroundings& around,
                   Outcome& outcome) const {
    TRY(place, undo_.choose());
    outcome.findings.insert(outcome.findings.end(), place.findings.begin(), place.findings.end());
    if (!yes_) {
      TRY(confirmed, around.confirm(text + "Go on?"));
    }
    WriteAccess access;
    for (const OverlayCommitMember& m : plan.members) {
      const Candidate& candidate = *opened.candidates[m.base];
      TRY(added, access.add(opened.members.origin(candidate), candidate.path, m.extents));
    }
    TRY(undo, open_undo(place, access));
    auto report = [&] {
      const WatchedRun watched(around, "overlay commit", plan.data_bytes());
      return run_overlay_commit(opened.overlay, plan, access.members(), *undo, watched.run());
    }();
    if (report && !report->undo_kept) {
      remove_undo(*undo);
    }
    remove_undo_if_empty(*undo);
    outcome.document["undo_file"] = undo_file_json(*undo);
    if (!report) {
      return std::move(report).error();
    }
    return tell(opened, *report, undo->path(), outcome);
  }

  Status tell(Opened& opened, const OverlayCommitReport& report, const std::string& undo, Outcome& outcome) const {
    outcome.document["result"] = {{"bytes_written", report.bytes_written}, {"interrupted", report.interrupted}};
    if (report.interrupted) {
      outcome.exit |= exit_status::interrupted;
      outcome.text = "overlay commit: interrupted; the array is marked dirty, and the same command goes on\n";
      return Done{};
    }
    outcome.text = "overlay commit: " + std::to_string(report.bytes_written) + " bytes of data and parity written\n";
    if (report.undo_kept && !outcome.document["undo_file"].is_null()) {
      outcome.text += "All as it was before: " + undo + " (mdtool undo puts it back)\n";
    }
    if (keep_) {
      outcome.text += file_ + " is kept\n";
      return Done{};
    }
    TRY(removed, opened.overlay.remove());
    outcome.document["removed"] = true;
    outcome.text += file_ + ": removed\n";
    return Done{};
  }

  std::vector<std::string> arguments_;  // the members, once action and file were taken
  std::string action_;
  std::string file_;
  std::string uuid_;
  UndoOption undo_;
  std::vector<std::string> forced_;
  bool dry_run_ = false;
  bool yes_ = false;
  bool keep_ = false;
};

}  // namespace

std::unique_ptr<Command> make_overlay() {
  return std::make_unique<OverlayCommand>();
}

}  // namespace mdtool::cli
