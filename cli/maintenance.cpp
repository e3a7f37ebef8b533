// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/maintenance.h"

namespace mdtool::cli {

namespace {

Json report_json(const Assembly& a, const MaintenanceReport& report) {
  return {{"chunks_due", report.chunks_due},
          {"chunks_synchronised", report.chunks_synchronised},
          {"parity_bytes_rewritten", report.parity_bytes_wrong},
          {"bytes_left_per_member", report.rows_left.bytes()},
          {"interrupted", report.interrupted},
          {"members", traffic_json(a, report.traffic)}};
}

std::string report_text(const MaintenanceReport& report) {
  if (!report.wrote) {
    return "all parity that was due is right; nothing was written\n";
  }
  std::string text = std::to_string(report.chunks_synchronised) + " of " + std::to_string(report.chunks_due) +
                     " chunks synchronised, " + std::to_string(report.parity_bytes_wrong) +
                     " bytes of parity were wrong and were rewritten\n";
  if (!report.rows_left.is_zero()) {
    text += "Left alone: " + std::to_string(report.rows_left.bytes()) +
            " bytes of each member, in rows of which too much is missing or listed as bad\n";
  }
  if (report.interrupted) {
    text += "Interrupted at a checkpoint: the same command goes on from there\n";
  }
  return text;
}

class MaintenanceJob final : public ArrayJob {
 public:
  MaintenanceJob(const Assembly& a, MaintenancePlan plan, int exit_when_done)
      : a_(a), plan_(std::move(plan)), exit_when_done_(exit_when_done) {}

  const ArrayMetadataPlan& metadata() const override { return plan_; }
  const std::vector<std::string>& steps() const override { return plan_.steps; }
  const std::vector<SectorRange>& uncertain() const override { return plan_.uncertain; }
  bool nothing_to_do() const override { return plan_.nothing_to_do(); }
  std::uint64_t due_bytes() const override { return plan_.nothing_to_do() ? 0 : plan_.due_bytes(); }
  int exit_unwritten() const override {
    return a_.complete || plan_.task.forces.lazy_recovery ? exit_status::fine : exit_status::attention;
  }
  Json details() const override {
    return {{"chunks_due", plan_.nothing_to_do() ? 0 : plan_.intent.due().size()},
            {"bytes_due_per_member", due_bytes()}};
  }
  std::vector<Patch> metadata_after(const PlannedMember& member, const mdtool::Clock& clock) const override {
    return mdtool::metadata_after(a_, plan_, member, clock);
  }

  Result<JobReport> run(MetadataStages& stages, const parity::Kernels& kernels, const mdtool::Clock& clock,
                        const Run& how) const override {
    TRY(report, run_maintenance(a_, plan_, stages, kernels, clock, how));
    JobReport told{report_json(a_, report), report_text(report), exit_status::fine, report.wrote};
    told.exit |= report.rows_left.is_zero() ? exit_status::fine : exit_status::uncorrected;
    told.exit |= report.interrupted ? exit_status::interrupted : exit_when_done_;
    return told;
  }

 private:
  const Assembly& a_;
  MaintenancePlan plan_;
  int exit_when_done_;
};

}  // namespace

Result<std::unique_ptr<ArrayJob>> MaintenanceCommand::plan(const Assembly& array) const {
  TRY(plan, plan_maintenance(array, task()));
  return std::unique_ptr<ArrayJob>(std::make_unique<MaintenanceJob>(array, std::move(plan), exit_when_done()));
}

}  // namespace mdtool::cli
