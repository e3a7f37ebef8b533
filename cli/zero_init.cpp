// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/zero_init.h"

#include "cli/array_command.h"
#include "cli/output_text.h"
#include "cli/zeroing.h"

namespace mdtool::cli {

namespace {

struct ZeroingTask {
  ZeroMethod wanted = ZeroMethod::automatic;
  bool force_slow = false;
};

Json report_json(const ZeroInitReport& report) {
  return {{"chunks_zeroed", report.chunks_zeroed},
          {"bytes_zeroed", report.bytes_zeroed},
          {"interrupted", report.interrupted}};
}

std::string report_text(const ZeroInitReport& report) {
  std::string text = human_size(report.bytes_zeroed) + " zeroed on all members together\n";
  if (report.interrupted) {
    text += "Interrupted at a checkpoint: the same command goes on from there\n";
  }
  return text;
}

class ZeroInitJob final : public ArrayJob {
 public:
  ZeroInitJob(const Assembly& a, ZeroInitPlan plan, const ZeroingTask& task)
      : a_(a), plan_(std::move(plan)), task_(task), steps_(plan_.steps) {}

  const ArrayMetadataPlan& metadata() const override { return plan_; }
  const std::vector<std::string>& steps() const override { return steps_; }
  const std::vector<SectorRange>& uncertain() const override { return uncertain_; }
  bool nothing_to_do() const override { return plan_.nothing_to_do(); }
  std::uint64_t due_bytes() const override { return plan_.nothing_to_do() ? 0 : plan_.due_bytes(); }
  int exit_unwritten() const override { return exit_status::fine; }
  Json details() const override { return {{"bytes_due_per_member", due_bytes()}, {"zeroing", zeroing_json(zeroing_)}}; }
  std::vector<Patch> metadata_after(const PlannedMember& member, const mdtool::Clock& clock) const override {
    return mdtool::metadata_after(a_, plan_, member, clock);
  }

  Status look_at(const MemberSet& members) override {
    if (plan_.due.empty()) {
      return Done{};
    }
    for (const PlannedMember& m : plan_.members) {
      const Candidate& candidate = *a_.members[m.member].candidate;
      TRY(zeroing, look_at_zeroing(candidate.path, members.origin(candidate), task_.wanted));
      zeroing_.push_back(std::move(zeroing));
    }
    // Who names plain writes knows what they cost.
    if (!task_.force_slow && task_.wanted != ZeroMethod::write) {
      TRY(quick, refuse_slow(zeroing_, "--force=slow"));
    }
    for (std::string& step : zeroing_steps(zeroing_)) {
      steps_.push_back(std::move(step));
    }
    return Done{};
  }
  std::optional<ZeroMethod> zero_method() const override { return task_.wanted; }

  Result<JobReport> run(MetadataStages& stages, const parity::Kernels&, const mdtool::Clock& clock,
                        const Run& how) const override {
    TRY(report, run_zero_init(a_, plan_, stages, clock, how));
    return JobReport{report_json(report), report_text(report),
                     report.interrupted ? exit_status::interrupted : exit_status::fine};
  }

 private:
  const Assembly& a_;
  ZeroInitPlan plan_;
  ZeroingTask task_;
  std::vector<std::string> steps_;
  std::vector<MemberZeroing> zeroing_;  // of the plan's members, once they were looked at
  std::vector<SectorRange> uncertain_;  // none: nothing is kept that could be
};

class ZeroInitCommand final : public ArrayCommand {
 public:
  void set_up(Options& app) override {
    ArrayCommand::set_up(app);
    app.add_option("--method", method_, "How members are zeroed (default: auto, the fastest that promises zeroes)")
        .one_of(zero_method_words());
    app.add_option("--state", state_, "What a lockless bitmap's chunks are called afterwards (default: auto)")
        .one_of({"auto", "clean-unwritten", "clean"});
  }

 protected:
  std::string_view verb() const override { return "zero-init"; }
  std::vector<std::string> force_names() const override { return {"data", "slow"}; }
  Result<std::unique_ptr<ArrayJob>> plan(const Assembly& array) const override {
    ZeroInitTask task;
    task.built = state_ == "clean"             ? BuiltState::clean
                 : state_ == "clean-unwritten" ? BuiltState::clean_unwritten
                                               : BuiltState::automatic;
    task.force_data = forces("data");
    TRY(plan, plan_zero_init(array, task));
    return std::unique_ptr<ArrayJob>(
        std::make_unique<ZeroInitJob>(array, std::move(plan), ZeroingTask{zero_method_of(method_), forces("slow")}));
  }

 private:
  std::string method_ = "auto";
  std::string state_ = "auto";
};

}  // namespace

std::unique_ptr<Command> make_zero_init() {
  return std::make_unique<ZeroInitCommand>();
}

}  // namespace mdtool::cli
