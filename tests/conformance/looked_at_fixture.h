// SPDX-License-Identifier: GPL-2.0-or-later
// A fixture whose members can be damaged one at a time, and looked at again each time.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "tests/fuzz/fixture_members.h"
#include "tests/fuzz/outlook.h"

namespace mdtool::conformance {

using fuzz::ChangedMember;

inline std::string test_name(const testing::TestParamInfo<std::string>& fixture) {
  std::string name = fixture.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '.' || c == '-'; }, '_');
  return name;
}

class LookedAtFixture {
 public:
  explicit LookedAtFixture(const std::string& name)
      : images_(fuzz::load_fixture(name)), members_(images_.begin(), images_.end()) {
    for (std::size_t i = 0; i < members_.size(); ++i) {
      candidates_.push_back(candidate(i));
    }
    healthy_ = fuzz::outlook_of(candidates_);
  }

  std::vector<ChangedMember>& members() { return members_; }
  const std::vector<Candidate>& candidates() const { return candidates_; }
  Assembly assembly() const { return std::move(assemble(candidates_).front()); }
  // What everything looked like before any damage.
  const std::string& healthy() const { return healthy_; }

  // After damage to this member; within the time that a user would wait.
  std::string look_again(std::size_t damaged) {
    const auto start = std::chrono::steady_clock::now();
    candidates_[damaged] = candidate(damaged);
    std::string text = fuzz::outlook_of(candidates_);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
    return text;
  }
  void restore(std::size_t damaged) {
    members_[damaged].restore();
    candidates_[damaged] = candidate(damaged);
  }

 private:
  Candidate candidate(std::size_t i) const {
    auto found = inspect("m" + std::to_string(i), std::to_string(i), members_[i], members_[i]);
    EXPECT_TRUE(found);
    return std::move(*found);
  }

  std::vector<fuzz::MemberImage> images_;
  std::vector<ChangedMember> members_;
  std::vector<Candidate> candidates_;
  std::string healthy_;
};

}  // namespace mdtool::conformance
