// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/array_command.h"
#include "cli/output_text.h"
#include "libraid/assemble/recovery.h"

namespace mdtool::cli {

namespace {

Json filling_json(const Assembly& a, const RecoveryPlan& plan) {
  Json list = Json::array();
  for (const Filling& f : plan.fillings) {
    const PlannedMember& planned = plan.metadata.members[f.planned];
    std::uint64_t bytes = 0;
    for (const SectorRange& r : f.lacks) {
      bytes += r.count.bytes();
    }
    list.push_back({{"path", a.members[planned.member].candidate->path},
                    {"slot", planned.slot},
                    {"by_bitmap", f.by_bitmap},
                    {"recovery_offset_bytes", f.mark.bytes()},
                    {"lacks_bytes", bytes}});
  }
  return list;
}

Json left_json(const std::vector<RowsLeft>& left) {
  Json list = Json::array();
  for (const RowsLeft& rows : left) {
    list.push_back(
        {{"slot", rows.slot}, {"offset_bytes", rows.range.first.bytes()}, {"length_bytes", rows.range.count.bytes()}});
  }
  return list;
}

Json report_json(const Assembly& a, const RecoveryReport& report) {
  Json filled = Json::array();
  for (const FilledMember& m : report.filled) {
    filled.push_back({{"path", a.in_slot(m.slot)->candidate->path},
                      {"slot", m.slot},
                      {"lacked_bytes", m.lacked_bytes},
                      {"left_bytes", m.left_bytes},
                      {"in_sync", m.in_sync}});
  }
  return {{"complete", report.complete},
          {"clean", report.clean},
          {"interrupted", report.interrupted},
          {"filled", filled},
          {"left", left_json(report.left)},
          {"disagreeing", ranges_json(report.disagreeing)},
          {"members", traffic_json(a, report.traffic)}};
}

std::string filled_text(const Assembly& a, const FilledMember& m) {
  return "  " + printable(a.in_slot(m.slot)->candidate->path, terminal_charset()) + " (slot " + std::to_string(m.slot) +
         "): " + std::to_string(m.lacked_bytes - m.left_bytes) + " of " + std::to_string(m.lacked_bytes) +
         " bytes filled, " + (m.in_sync ? "in sync" : "still being rebuilt") + "\n";
}

std::string report_text(const Assembly& a, const RecoveryReport& report, const RecoveryPlan& plan) {
  if (report.interrupted) {
    return "interrupted at a checkpoint\nThe same command goes on from there; what a bitmap guides begins anew\n";
  }
  std::string text = report.complete ? "no slot is missing any more\n" : "slots are still missing or being rebuilt\n";
  for (const FilledMember& m : report.filled) {
    text += filled_text(a, m);
  }
  if (!report.left.empty()) {
    std::vector<SectorRange> ranges;
    for (const RowsLeft& rows : report.left) {
      ranges.push_back(rows.range);
    }
    text += "Left alone, because too many of the others are unreadable or bad there:\n" +
            ranges_text("member's data, bytes", ranges);
  }
  if (report.clean && !report.disagreeing.empty()) {
    text += "Q does not agree with what was taken from P; it was left as it is:\n" +
            ranges_text("member's data, bytes", report.disagreeing) +
            (plan.intent.keeps_states() ? "mdtool resync computes it anew\n"
                                        : "mdtool build-parity --all computes all parity anew\n");
  }
  if (!report.clean) {
    text += "The array is still dirty: run mdtool resync next\n";
  }
  return text;
}

int exit_of(const RecoveryReport& report) {
  if (report.interrupted) {
    return exit_status::interrupted;
  }
  int exit = exit_status::fine;
  for (const FilledMember& m : report.filled) {
    exit |= m.in_sync ? exit_status::corrected : exit_status::fine;
  }
  exit |= report.complete && report.clean ? exit_status::fine : exit_status::attention;
  return exit | (report.left.empty() && report.disagreeing.empty() ? exit_status::fine : exit_status::uncorrected);
}

class RecoverJob final : public ArrayJob {
 public:
  RecoverJob(const Assembly& a, RecoveryPlan plan) : a_(a), plan_(std::move(plan)) {}

  const ArrayMetadataPlan& metadata() const override { return plan_.metadata; }
  const std::vector<std::string>& steps() const override { return plan_.steps; }
  const std::vector<SectorRange>& uncertain() const override { return plan_.uncertain; }
  bool nothing_to_do() const override { return plan_.nothing_to_do(); }
  std::uint64_t due_bytes() const override { return plan_.due_bytes(); }
  int exit_unwritten() const override {
    const bool left_degraded = nothing_to_do() ? !a_.complete : !plan_.metadata.missing_slots.empty();
    return left_degraded ? exit_status::attention : exit_status::fine;
  }
  Json details() const override { return {{"bytes_due_per_member", due_bytes()}, {"fills", filling_json(a_, plan_)}}; }
  std::vector<Patch> metadata_after(const PlannedMember& member, const mdtool::Clock& clock) const override {
    return mdtool::metadata_after(a_, plan_, member, clock);
  }

  Result<JobReport> run(MetadataStages& stages, const parity::Kernels& kernels, const mdtool::Clock& clock,
                        const Run& how) const override {
    TRY(report, run_recovery(a_, plan_, stages, kernels, clock, how));
    return JobReport{report_json(a_, report), report_text(a_, report, plan_), exit_of(report)};
  }

 private:
  const Assembly& a_;
  RecoveryPlan plan_;
};

class RecoverCommand final : public ArrayCommand {
 protected:
  std::string_view verb() const override { return "recover"; }
  std::vector<std::string> force_names() const override { return {"dirty-degraded"}; }
  Result<std::unique_ptr<ArrayJob>> plan(const Assembly& array) const override {
    TRY(plan, plan_recovery(array, forces()));
    return std::unique_ptr<ArrayJob>(std::make_unique<RecoverJob>(array, std::move(plan)));
  }
};

}  // namespace

std::unique_ptr<Command> make_recover() {
  return std::make_unique<RecoverCommand>();
}

}  // namespace mdtool::cli
