// SPDX-License-Identifier: GPL-2.0-or-later
#include <set>
#include <utility>

#include "cli/command.h"
#include "cli/member_changes.h"
#include "cli/output_text.h"
#include "cli/undo_members.h"
#include "cli/write_access.h"
#include "libraid/edit/try_plan.h"

namespace mdtool::cli {

namespace {

// What is to be put back, and where.
struct UndoPlan {
  UndoContents contents;  // members that are touched
  UndoMembers members;
  std::vector<UndoRecord> steps;       // in order
  std::vector<UndoRecord> net;         // what comes of them
  std::vector<MemberChanges> changes;  // by member
};

Result<MemberChanges> changes_of(const UndoPlan& plan, std::size_t member) {
  std::vector<Patch> patches;
  for (const UndoRecord& r : plan.net) {
    if (r.member == member) {
      patches.push_back({r.offset_bytes, r.after});
    }
  }
  const Source& now = plan.members.source(member);
  TRY(after, PatchedSource::of(now, std::move(patches)).in(plan.members.path(member)));
  return MemberChanges::of(now, *after).in(plan.members.path(member));
}

Result<UndoPlan> plan_of(const UndoContents& file, std::span<const std::string> places) {
  UndoContents contents = touched_members(file);
  TRY(members, UndoMembers::find(contents, places));
  TRY(steps, undo_plan(contents, members.sources()));
  UndoPlan plan{std::move(contents), std::move(members), std::move(steps), {}, {}};
  plan.net = net_changes(plan.steps);
  for (std::size_t i = 0; i < plan.members.count(); ++i) {
    TRY(changes, changes_of(plan, i));
    plan.changes.push_back(std::move(changes));
  }
  return plan;
}

// Everything that is written on the way to `net`.
std::vector<PlannedExtent> extents_of(const UndoPlan& plan, std::uint32_t member) {
  std::set<std::pair<std::uint64_t, std::uint64_t>> places;
  for (const UndoRecord& r : plan.steps) {
    if (r.member == member) {
      places.emplace(r.offset_bytes, r.before.size());
    }
  }
  std::vector<PlannedExtent> extents;
  for (const auto& [offset_bytes, length_bytes] : places) {
    extents.push_back({offset_bytes, length_bytes, plan.changes[member].purpose_at(offset_bytes)});
  }
  return extents;
}

std::string plan_text(const UndoPlan& plan) {
  std::string text = folded(
      printable("To be put back, as it was before \"" + plan.contents.command_line + "\":", terminal_charset()), 4, "");
  for (std::size_t i = 0; i < plan.members.count(); ++i) {
    for (const UndoRecord& r : plan.net) {
      if (r.member == i) {
        text += folded(printable(plan.members.path(i), terminal_charset()) + ": " + std::to_string(r.before.size()) +
                           " bytes at byte " + std::to_string(r.offset_bytes) + " (" +
                           plan.changes[i].purpose_at(r.offset_bytes) + ")",
                       4, "  ");
      }
    }
    text += changes_text(plan.changes[i]);
  }
  return text + folded("Metadata and repaired blocks are put back; what was zeroed, rebuilt or computed stays.", 0, "");
}

Json records_json(const UndoPlan& plan) {
  Json list = Json::array();
  for (const UndoRecord& r : plan.net) {
    list.push_back({{"path", plan.members.path(r.member)},
                    {"offset_bytes", r.offset_bytes},
                    {"length_bytes", r.before.size()},
                    {"purpose", plan.changes[r.member].purpose_at(r.offset_bytes)}});
  }
  return list;
}

Json members_json(const UndoPlan& plan) {
  Json list = Json::array();
  for (std::size_t i = 0; i < plan.members.count(); ++i) {
    list.push_back(member_json(plan.members.path(i), plan.members.origin(i), plan.changes[i].device_uuid()));
    list.back()["recorded_path"] = plan.contents.members[i].path;
    list.back()["changes"] = changes_json(plan.changes[i]);
  }
  return list;
}

class UndoCommand final : public Command {
 public:
  void set_up(Options& app) override {
    app.add_option("file", file_, "The undo file that a run of mdtool left").required();
    app.add_option("--member", places_, "Where a member is now that is not at its old place any more (repeatable)")
        .type_name("PATH");
    app.add_flag("-n,--dry-run", dry_run_, "Print what would be put back and write nothing");
    app.add_flag("-y,--yes", yes_, "Do not ask");
    undo_.add_to(app);
  }

  Result<Outcome> run(const Surroundings& around) override {
    TRY(contents, read_undo_file(file_));
    Outcome outcome;
    if (contents.tail_dropped) {
      outcome.findings.push_back(
          {file_,
           {Severity::warning, "undo-tail-dropped", "",
            "its last record is torn or damaged: if the run was cut off there, what it announced "
            "was never written; if the file was damaged since, this part of it is not undone",
            Effect::none}});
      outcome.exit = exit_status::uncorrected;
    }
    auto plan = plan_of(contents, places_);
    if (!plan) {
      outcome.error = std::move(plan).error();
      return outcome;
    }
    outcome.document = {{"undo_file", file_},
                        {"command_line", contents.command_line},
                        {"dry_run", dry_run_},
                        {"members", members_json(*plan)},
                        {"records", records_json(*plan)},
                        {"written", false},
                        {"redo_file", nullptr}};
    if (plan->steps.empty()) {
      outcome.text = contents.tail_dropped
                         ? "undo: nothing to put back that the file still tells of; nothing was written\n"
                         : "undo: the members are as they were before; nothing was written\n";
    } else if (dry_run_) {
      outcome.text = plan_text(*plan);
    } else if (auto done = put_back(*plan, around, outcome); !done) {
      outcome.error = std::move(done).error();
    }
    return outcome;
  }

 private:
  Status put_back(const UndoPlan& plan, const Surroundings& around, Outcome& outcome) const {
    TRY(place, undo_.choose());
    outcome.findings.insert(outcome.findings.end(), place.findings.begin(), place.findings.end());
    if (!yes_) {
      TRY(confirmed, around.confirm(plan_text(plan) + "Go on?"));
    }
    WriteAccess access;
    for (std::uint32_t i = 0; i < plan.members.count(); ++i) {
      TRY(added, access.add(plan.members.origin(i), plan.members.path(i), extents_of(plan, i)));
    }
    TRY(same, check_unchanged(plan, access));
    TRY(redo, open_undo(place, access));
    MetadataStages stages(access.members(), *redo);
    auto written = write(plan, stages);
    remove_undo_if_empty(*redo);
    outcome.document["redo_file"] = undo_file_json(*redo);
    outcome.document["written"] = static_cast<bool>(written);
    if (!written) {
      return std::move(written).in("not all is put back; the same command again goes on");
    }
    outcome.text = plan_text(plan) + "undo: done\n";
    if (!redo->path().empty()) {
      outcome.text += folded(printable(redo->path(), terminal_charset()) + " (mdtool undo puts it back)", 2,
                             "As it was before this undo: ");
    }
    return Done{};
  }

  // By the descriptors that are written.
  static Status check_unchanged(const UndoPlan& plan, const WriteAccess& access) {
    std::vector<const Source*> sources;
    for (const WritableMember& member : access.members()) {
      sources.push_back(member.past_cache);
    }
    TRY(now, undo_plan(plan.contents, sources));
    return now == plan.steps ? Status(Done{})
                             : Error{ErrorKind::refused, "the members changed since they were looked at"};
  }

  static Status write(const UndoPlan& plan, MetadataStages& stages) {
    std::vector<MemberPatch> stage;
    for (std::size_t i = 0; i < plan.steps.size(); ++i) {
      const UndoRecord& r = plan.steps[i];
      stage.push_back({r.member, {r.offset_bytes, r.after}});
      if (i + 1 == plan.steps.size() || plan.steps[i + 1].stage != r.stage) {
        TRY(written, stages.write(stage));
        stage.clear();
      }
    }
    return Done{};
  }

  std::string file_;
  std::vector<std::string> places_;
  UndoOption undo_;
  bool dry_run_ = false;
  bool yes_ = false;
};

}  // namespace

std::unique_ptr<Command> make_undo() {
  return std::make_unique<UndoCommand>();
}

}  // namespace mdtool::cli
