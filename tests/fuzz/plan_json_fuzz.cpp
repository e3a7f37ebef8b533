// SPDX-License-Identifier: GPL-2.0-or-later
// Any text as a plan of edits: it is refused, or fits its members, and says the same again when it is printed.
#include <cstdlib>
#include <string_view>

#include "cli/plan_json.h"

namespace {

void require(bool true_of_every_plan) {
  if (!true_of_every_plan) {
    std::abort();
  }
}

void check(const mdtool::EditPatch& patch, const std::vector<mdtool::cli::PlanMember>& members) {
  require(patch.member < members.size());
  require(patch.before.size() == patch.after.size());
  require(mdtool::fits(patch.offset_bytes, patch.after.size(), members[patch.member].size_bytes));
}

bool same(const mdtool::EditPatch& a, const mdtool::EditPatch& b) {
  return a.member == b.member && a.offset_bytes == b.offset_bytes && a.before == b.before && a.after == b.after &&
         a.purpose == b.purpose;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast)
  const auto plan = mdtool::cli::parse_plan(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!plan) {
    return 0;
  }
  nlohmann::ordered_json document = {{"mdtool", {{"format", 1}}}};
  document["plan"] = mdtool::cli::plan_json(plan->edit, plan->members);
  const auto again = mdtool::cli::parse_plan(document.dump());
  require(again.has_value());
  require(again->members.size() == plan->members.size());
  require(again->edit.stages.size() == plan->edit.stages.size());
  for (std::size_t i = 0; i < plan->edit.stages.size(); ++i) {
    const mdtool::EditStage& stage = plan->edit.stages[i];
    require(again->edit.stages[i].size() == stage.size());
    for (std::size_t j = 0; j < stage.size(); ++j) {
      check(stage[j], plan->members);
      require(same(stage[j], again->edit.stages[i][j]));
    }
  }
  return 0;
}
