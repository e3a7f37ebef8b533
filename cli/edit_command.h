// SPDX-License-Identifier: GPL-2.0-or-later
// What all verbs share that change metadata by an EditPlan: members, plans tried before, dry run, question, undo file,
// zeroing, fenced write, report.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/members.h"
#include "cli/plan_json.h"
#include "cli/plan_outlook.h"
#include "cli/whole_file.h"
#include "cli/write_access.h"
#include "cli/zeroing.h"
#include "libraid/edit/edit_plan.h"

namespace mdtool::cli {

class EditCommand : public Command {
 public:
  // MEMBER..., --uuid, --dry-run, --yes, --undo, --with (with --dry-run only), and --force where there are names.
  void set_up(Options& app) override;
  Result<Outcome> run(const Surroundings& around) override;

 protected:
  virtual std::string_view verb() const = 0;
  virtual void add_arguments(Options& app);
  // --uuid, which picks an array; a verb that has another use for the word adds its own.
  virtual void add_uuid(Options& app);
  virtual std::string dry_run_names() const { return "-n,--dry-run"; }
  // The names that --force takes for this verb.
  virtual std::vector<std::string> force_names() const { return {}; }
  // Made from what is on the members now. Refused with the reason; nothing is written then.
  virtual Result<EditPlan> plan(const MemberSet& members) const = 0;

  virtual MemberSet::Partitions partitions() const { return MemberSet::Partitions::followed; }
  // What need not be said although it was found before the change.
  virtual bool worth_telling(const LocatedFinding&) const { return true; }
  // Keys of the document that only this verb has; not of one that tells of an error.
  virtual Json details(const EditPlan&, const PlanOutlook&) const { return Json::object(); }
  // How members are zeroed where the plan has them zeroed first.
  struct Zeroes {
    ZeroMethod method = ZeroMethod::automatic;
    enum class Slow { refused, allowed } slow = Slow::refused;
    std::string slow_allowed_by;  // the words that allow it
  };
  virtual Zeroes zeroes() const { return {}; }
  // What to do with an argument that cannot be read.
  virtual std::string without_member() const { return "leave it out"; }
  // What becomes of an existing file where the plan has one written.
  virtual OutputFile::Existing existing_file() const { return OutputFile::Existing::refuse; }
  // What becomes of members when a write fails in the middle.
  enum class AfterFailure { left, put_back };
  virtual AfterFailure after_failure() const { return AfterFailure::left; }

  // The MEMBERs as given.
  std::vector<std::string>& arguments() { return arguments_; }
  const std::vector<std::string>& arguments() const { return arguments_; }
  // Those of the arguments that are members.
  virtual std::vector<std::string> member_arguments() const { return arguments_; }
  bool forces(std::string_view name) const;
  // --uuid, if given.
  Result<std::optional<Uuid>> wanted_uuid() const { return parse_uuid_option(uuid_); }
  // The one array that is meant: one_array() with --uuid.
  Result<Assembly> array(const MemberSet& members) const;
  // The candidate that this path names: as given, or the same file. Usage error where it is none of the members.
  static Result<const Candidate*> member_named(const MemberSet& members, const std::string& path);
  // Adds --target DEV (repeatable); targets() are their candidates, each once.
  void add_target_option(Options& app, const std::string& description);
  Result<std::vector<const Candidate*>> targets(const MemberSet& members) const;

 private:
  struct Planned {
    EditPlan plan;
    std::vector<PlanMember> members;  // of the plan
    PlanOutlook outlook;
    std::vector<MemberZeroing> zeroing;
  };
  Result<Planned> planned(const MemberSet& members) const;
  Outcome first_outcome(LocatedFindings findings, const Planned& planned) const;
  Status carry_out(const MemberSet& members, const Planned& planned, const Surroundings& around,
                   Outcome& outcome) const;
  Result<std::vector<MemberZeroing>> look_at_zeroing(const MemberSet& members, const EditPlan& plan) const;
  std::string text_of(const Planned& planned) const;
  Result<UndoChoice> choose_undo(const EditPlan& plan) const;
  Status prepare(const MemberSet& members, const EditPlan& plan, WriteAccess& access, std::optional<WholeFile>& file,
                 const Surroundings& around, Outcome& outcome) const;
  Status zero_all(const EditPlan& plan, WriteAccess& access, const Surroundings& around, Outcome& outcome) const;
  Status apply(const EditPlan& plan, WriteAccess& access, std::optional<WholeFile>& file, UndoSink& undo,
               Outcome& outcome) const;

  std::vector<std::string> arguments_;
  std::vector<std::string> with_;
  std::vector<std::string> targets_;
  std::vector<std::string> forced_;
  std::string uuid_;
  UndoOption undo_;
  bool dry_run_ = false;
  bool yes_ = false;
};

}  // namespace mdtool::cli
