// SPDX-License-Identifier: GPL-2.0-or-later
// How the members of a run are going to be zeroed: looked up and told before anything is asked, and refused where it
// would take long and nobody said that it may. Knows neither what is zeroed nor why.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/members.h"
#include "libraid/io/zeroing.h"

namespace mdtool::cli {

struct MemberZeroing {
  std::string path;  // as the user knows it
  ZeroAbility ability;
};

// What --method takes.
std::vector<std::string> zero_method_words();
ZeroMethod zero_method_of(std::string_view word);

// Writes nothing. Refused where the method does not exist there or promises no zeroes.
Result<MemberZeroing> look_at_zeroing(const std::string& path, const Origin& origin, ZeroMethod wanted);
// Refused where a member is slow, each named with the reason; `override_words` say what lets them pass.
Status refuse_slow(std::span<const MemberZeroing> members, std::string_view override_words);

// [{"path", "method", "fast", "why"}]
Json zeroing_json(std::span<const MemberZeroing> members);
// A sentence for all members that are alike.
std::vector<std::string> zeroing_steps(std::span<const MemberZeroing> members);

}  // namespace mdtool::cli
