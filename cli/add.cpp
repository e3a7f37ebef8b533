// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/membership_command.h"
#include "libraid/io/signature.h"

namespace mdtool::cli {

namespace {

// What programs would find on this member, in one line; empty: nothing.
Result<std::string> content_of(const MemberSet& members, const Candidate& candidate) {
  const Origin& origin = members.origin(candidate);
  TRY(device, FileDevice::open(origin.file, Access::read_only));
  TRY(found, signatures(*device, origin.offset_bytes, origin.size_bytes));
  std::string text;
  for (const std::string& one : found) {
    text += (text.empty() ? "" : ", ") + one;
  }
  return text;
}

class AddCommand final : public MembershipCommand {
 public:
  void set_up(Options& app) override {
    MembershipCommand::set_up(app);
    app.add_option("--slot", slot_, "The slot that the target held: take its content as right").type_name("N");
  }

 protected:
  std::string_view verb() const override { return "add"; }
  std::vector<std::string> force_names() const override {
    return {"old-content", "dirty-degraded", "stale-content", "split-brain"};
  }
  std::string target_description() const override { return "The device that becomes a member (repeatable)"; }
  Result<EditPlan> edit_plan(const MemberSet& members, const Assembly& array, const Targets& targets,
                             const EditClock& clock) const override {
    AddAs as;
    as.slot = slot_;
    for (const Candidate* target : targets) {
      TRY(content, content_of(members, *target));
      as.content.push_back(std::move(content));
    }
    return plan_add(array, targets, std::move(as), clock, forced());
  }

 private:
  std::optional<std::uint32_t> slot_;
};

}  // namespace

std::unique_ptr<Command> make_add() {
  return std::make_unique<AddCommand>();
}

}  // namespace mdtool::cli
