// SPDX-License-Identifier: GPL-2.0-or-later
// Members of any size with nothing on them, a task to make an array of them, and what it makes.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "libraid/edit/create.h"
#include "libraid/edit/try_plan.h"
#include "tests/raid/loaded_array.h"

namespace mdtool::test {

// Nothing on it, of any size.
class Blank final : public Source {
 public:
  explicit Blank(std::uint64_t size_bytes) : size_bytes_(size_bytes) {}
  std::uint64_t size_bytes() const override { return size_bytes_; }
  Status read(std::uint64_t, std::span<std::byte> out) const override {
    std::ranges::fill(out, std::byte{0});
    return Done{};
  }

 private:
  std::uint64_t size_bytes_;
};

constexpr std::uint64_t missing = 0;

// A task on blank members, and what it makes of them.
class Blanks {
 public:
  Blanks(std::int32_t level, const std::vector<std::uint64_t>& sizes, std::size_t spares = 0) {
    task.level = level;
    task.set_uuid.bytes.fill(0x5a);
    task.set_name = "host:name";
    task.now_seconds = 1800000000;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      CreateMember member;
      if (sizes[i] != missing) {
        sources_.push_back(std::make_unique<Blank>(sizes[i]));
        candidates_.push_back(std::make_unique<Candidate>());
        candidates_.back()->path = "m" + std::to_string(i);
        candidates_.back()->identity = std::to_string(i);
        candidates_.back()->metadata = candidates_.back()->data = sources_.back().get();
        member.candidate = candidates_.back().get();
        member.device_uuid.bytes[0] = static_cast<unsigned char>(i + 1);
      }
      (i + spares < sizes.size() ? task.slots : task.spares).push_back(member);
    }
  }

  Candidate& candidate(std::size_t i) { return *candidates_[i]; }

  Result<EditPlan> plan() const { return plan_create(task); }

  // Looked at as the plan leaves them, in the order of the list.
  Look made() {
    Look look;
    const auto planned = plan();
    EXPECT_TRUE(planned) << planned.error().text;
    if (!planned) {
      return look;
    }
    for (const auto& candidate : candidates_) {
      patched_.push_back(patched(*planned, *candidate));
      auto found = inspect(candidate->path, candidate->identity, *patched_.back(), *patched_.back());
      EXPECT_TRUE(found);
      look.candidates.push_back(std::move(*found));
    }
    look.arrays = assemble(look.candidates);
    return look;
  }

  std::string refusal(ErrorKind kind) const {
    const auto planned = plan();
    EXPECT_FALSE(planned);
    EXPECT_TRUE(planned || planned.error().kind == kind) << planned.error().text;
    return planned ? "" : planned.error().text;
  }

  CreateTask task;

 private:
  static std::unique_ptr<PatchedSource> patched(const EditPlan& plan, const Candidate& candidate) {
    std::vector<Patch> patches;
    for (const EditStage& stage : plan.stages) {
      for (const EditPatch& patch : stage) {
        if (plan.members[patch.member] == &candidate) {
          patches.push_back({patch.offset_bytes, patch.after});
        }
      }
    }
    auto source = PatchedSource::of(*candidate.metadata, std::move(patches));
    EXPECT_TRUE(source);
    return std::move(*source);
  }

  std::vector<std::unique_ptr<Blank>> sources_;
  std::vector<std::unique_ptr<Candidate>> candidates_;
  std::vector<std::unique_ptr<PatchedSource>> patched_;
};

inline Blanks blanks(std::string_view metadata, std::int32_t level, const std::vector<std::uint64_t>& sizes) {
  Blanks members(level, sizes);
  members.task.metadata = metadata;
  return members;
}

inline std::vector<std::uint64_t> alike(std::size_t count, std::uint64_t size) {
  return std::vector<std::uint64_t>(count, size);
}

inline const MemberDescription& first(const Look& look) {
  return look.candidates.front().superblocks.front().description;
}

inline std::int64_t sectors_from_superblock(const MemberDescription& d, std::uint64_t offset_bytes) {
  return (static_cast<std::int64_t>(offset_bytes) - static_cast<std::int64_t>(d.super_offset.bytes())) / 512;
}

}  // namespace mdtool::test
