// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/meaning.h"

#include <algorithm>

#include "libraid/edit/array_after.h"

namespace mdtool {

namespace {

Finding worse(std::string id, std::string field, std::string text) {
  return {Severity::problem, std::move(id), std::move(field), std::move(text), Effect::stops_writing};
}

// Those of `after` that md or mdtool acts on, and that `before` has not, or not as bad.
void add_new(Findings& to, const Findings& before, const Findings& after, const std::string& where) {
  for (const Finding& f : after) {
    const bool known = std::any_of(before.begin(), before.end(), [&](const Finding& old) {
      return old.id == f.id && old.field == f.field && old.effect >= f.effect;
    });
    if (f.effect != Effect::none && !known) {
      to.push_back(worse(f.id, f.field, where + f.text));
    }
  }
}

Findings findings_of(const Candidate& candidate) {
  return candidate.chosen() == nullptr ? Findings() : candidate.chosen()->findings;
}

bool takes_part(MemberState state) {
  return state == MemberState::in_sync || state == MemberState::recovering || state == MemberState::replacement ||
         state == MemberState::spare || state == MemberState::journal;
}

// Those that took part and would not any more.
void add_left_out(Findings& to, const Assembly& before, const Assembly& after) {
  for (const Member& m : after.members) {
    if (m.candidate == nullptr || takes_part(m.state)) {
      continue;
    }
    const auto old = std::find_if(before.members.begin(), before.members.end(), [&](const Member& b) {
      return b.candidate != nullptr && b.candidate->path == m.candidate->path;
    });
    if (old != before.members.end() && takes_part(old->state)) {
      to.push_back(worse("member-left-out", "",
                         m.candidate->path + " would be " + std::string(member_state_name(m.state)) +
                             (m.reason.empty() ? "" : ": " + m.reason)));
    }
  }
}

void add_verdict(Findings& to, const Assembly& before, const Assembly& after) {
  if (after.verdict <= before.verdict) {
    return;
  }
  std::string text = "the verdict would be " + std::string(verdict_name(after.verdict)) + ", it is " +
                     std::string(verdict_name(before.verdict));
  for (const std::string& reason : after.reasons) {
    text += "; " + reason;
  }
  to.push_back(worse("verdict", "", std::move(text)));
}

}  // namespace

Result<Findings> worsened_by(const EditPlan& plan, const Assembly& before, Apart apart) {
  const std::vector<const Candidate*> members = members_of(before);
  TRY(after, array_after(plan, before));
  Findings found;
  for (std::size_t i = 0; i < members.size(); ++i) {
    add_new(found, findings_of(*members[i]), findings_of(after.tried.candidates[i]), members[i]->path + ": ");
  }
  const std::vector<Assembly>& arrays = after.arrays;
  if (apart == Apart::allowed) {
    return found;
  }
  if (arrays.size() != 1) {
    found.push_back(worse("members-apart", "",
                          "the members would belong to " + std::to_string(arrays.size()) + " arrays, not to one"));
    return found;
  }
  add_new(found, before.findings, arrays.front().findings, "");
  add_new(found, before.bitmap.findings, arrays.front().bitmap.findings, "");
  add_left_out(found, before, arrays.front());
  add_verdict(found, before, arrays.front());
  return found;
}

}  // namespace mdtool
