// SPDX-License-Identifier: GPL-2.0-or-later
// What verbs have in common that work their way through a whole array: members, plan, question, undo file, run, report.
// Knows neither what they compute nor why.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "cli/members.h"
#include "cli/write_access.h"
#include "libraid/assemble/array_metadata.h"
#include "libraid/engine/run.h"

namespace mdtool::cli {

// What a run did, as it is told.
struct JobReport {
  Json document;
  std::string text;
  int exit = exit_status::fine;
  bool wrote = true;
};

// A plan as it is shown, and what carries it out.
class ArrayJob {
 public:
  virtual ~ArrayJob() = default;
  virtual const ArrayMetadataPlan& metadata() const = 0;
  virtual const std::vector<std::string>& steps() const = 0;
  virtual const std::vector<SectorRange>& uncertain() const = 0;
  virtual bool nothing_to_do() const = 0;
  virtual std::uint64_t due_bytes() const = 0;
  // The exit status where nothing is written: because nothing is to do, or it was only asked for the plan.
  virtual int exit_unwritten() const = 0;
  // The plan's keys that only this job has.
  virtual Json details() const = 0;
  virtual std::vector<Patch> metadata_after(const PlannedMember& member, const mdtool::Clock& clock) const = 0;
  // What has to be known of the members' files before the plan is shown. Refused where they do not serve.
  virtual Status look_at(const MemberSet&) { return Done{}; }
  // How members are zeroed; none: they are not.
  virtual std::optional<ZeroMethod> zero_method() const { return std::nullopt; }
  virtual Result<JobReport> run(MetadataStages& stages, const parity::Kernels& kernels, const mdtool::Clock& clock,
                                const Run& how) const = 0;
};

class ArrayCommand : public Command {
 public:
  void set_up(Options& app) override;
  Result<Outcome> run(const Surroundings& around) override;

 protected:
  virtual std::string_view verb() const = 0;
  // The names that --force takes for this verb.
  virtual std::vector<std::string> force_names() const = 0;
  virtual Result<std::unique_ptr<ArrayJob>> plan(const Assembly& array) const = 0;

  bool forces(std::string_view name) const;
  Forces forces() const;

 private:
  Status carry_out(const MemberSet& members, const Assembly& array, const ArrayJob& job, const std::string& text,
                   const Surroundings& around, Outcome& outcome) const;

  std::vector<std::string> arguments_;
  std::string uuid_;
  std::string bitmap_;
  UndoOption undo_;
  std::vector<std::string> forced_;
  bool dry_run_ = false;
  bool yes_ = false;
};

// [{"offset_bytes", "length_bytes"}]
Json ranges_json(const std::vector<SectorRange>& ranges);
// A line each, of so many as people read; `what` stands before the first byte.
std::string ranges_text(std::string_view what, const std::vector<SectorRange>& ranges);
// [{"path", "slot", "bytes_read", "bytes_written"}]
Json traffic_json(const Assembly& array, const std::vector<MemberTraffic>& traffic);

}  // namespace mdtool::cli
