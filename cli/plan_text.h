// SPDX-License-Identifier: GPL-2.0-or-later
// Plans of metadata edits for people: what happens, what it costs, every field that changes, and what the arrays would
// be. plan_json.h has the same for programs.
#pragma once

#include <span>
#include <string>

#include "cli/plan_json.h"
#include "cli/plan_outlook.h"

namespace mdtool::cli {

// `members` are those of the plan, in its order.
std::string plan_text(const EditPlan& plan, std::span<const PlanMember> members, const PlanOutlook& outlook);

// A row for each field that changes, as many as people read.
std::string fields_text(const std::vector<FieldChange>& fields);
// "array UUID: degraded (was needs-force)", with the reasons.
std::string outlook_text(const PlanOutlook& outlook);
// How the plan of this command can be tried in memory; `members` as they were given.
std::string try_text(std::span<const std::string> members);
// "Next:" and what to do; empty where there is nothing.
std::string next_text(const EditPlan& plan);

}  // namespace mdtool::cli
