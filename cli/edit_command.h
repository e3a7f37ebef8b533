// SPDX-License-Identifier: GPL-2.0-or-later
// What all verbs share that change metadata by an EditPlan: members, plans tried before, dry run, question, undo file,
// fenced write, report.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/members.h"
#include "cli/plan_json.h"
#include "cli/plan_outlook.h"
#include "cli/write_access.h"
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
  // The names that --force takes for this verb.
  virtual std::vector<std::string> force_names() const { return {}; }
  // Made from what is on the members now. Refused with the reason; nothing is written then.
  virtual Result<EditPlan> plan(const MemberSet& members) const = 0;

  // The MEMBERs as given.
  std::vector<std::string>& arguments() { return arguments_; }
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
  };
  Result<Planned> planned(const MemberSet& members) const;
  Outcome first_outcome(LocatedFindings findings, const Planned& planned) const;
  Status carry_out(const MemberSet& members, const Planned& planned, const Surroundings& around,
                   Outcome& outcome) const;
  Status apply(const EditPlan& plan, WriteAccess& access, UndoSink& undo, Outcome& outcome) const;

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
