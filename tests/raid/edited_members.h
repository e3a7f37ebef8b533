// SPDX-License-Identifier: GPL-2.0-or-later
// Plans carried out on members in memory, sector by sector, cut anywhere, made again, and taken back.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "libraid/edit/edit_plan.h"
#include "libraid/io/undo_file.h"
#include "tests/raid/loaded_array.h"

namespace mdtool::test {

// Of a look at all images.
using Planner = std::function<Result<EditPlan>(const Look&)>;

inline std::vector<UndoRecord> records_of(const EditPlan& plan, const Look& look) {
  std::vector<UndoRecord> records;
  for (std::size_t stage = 0; stage < plan.stages.size(); ++stage) {
    for (const EditPatch& p : plan.stages[stage]) {
      const auto image = static_cast<std::uint32_t>(plan.members[p.member] - look.candidates.data());
      for (std::size_t at = 0; at < p.after.size(); at += Sectors::bytes_each) {
        const std::size_t length = std::min<std::size_t>(Sectors::bytes_each, p.after.size() - at);
        const auto part = [&](const std::vector<std::byte>& bytes) {
          return std::vector<std::byte>(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                                        bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
        };
        if (part(p.before) != part(p.after)) {
          records.push_back(
              {image, p.offset_bytes + at, part(p.before), part(p.after), static_cast<std::uint32_t>(stage)});
        }
      }
    }
  }
  return records;
}

inline std::vector<Image> written(std::vector<Image> images, std::span<const UndoRecord> records) {
  for (const UndoRecord& r : records) {
    std::copy(r.after.begin(), r.after.end(), images[r.member].begin() + static_cast<std::ptrdiff_t>(r.offset_bytes));
  }
  return images;
}

// The members after the plan, or as they were where there is none.
inline std::vector<Image> after(const std::vector<Image>& images, const Planner& planner) {
  const Look look = look_at(images);
  const auto plan = planner(look);
  EXPECT_TRUE(plan) << plan.error().text;
  return plan ? written(images, records_of(*plan, look)) : images;
}

inline std::string refusal(const std::vector<Image>& images, const Planner& planner) {
  const Look look = look_at(images);
  const auto plan = planner(look);
  EXPECT_FALSE(plan);
  return plan ? "" : plan.error().text;
}

// Cut after every one of its sectors, the plan made again leads to the same bytes.
inline void expect_convergence(const std::vector<Image>& images, const Planner& planner) {
  const Look look = look_at(images);
  const auto plan = planner(look);
  ASSERT_TRUE(plan) << plan.error().text;
  const std::vector<UndoRecord> records = records_of(*plan, look);
  ASSERT_FALSE(records.empty());
  const std::vector<Image> complete = written(images, records);
  for (std::size_t done = 0; done <= records.size(); ++done) {
    SCOPED_TRACE(std::to_string(done) + " of " + std::to_string(records.size()) + " sectors written");
    const std::vector<Image> cut = written(images, std::span(records).first(done));
    EXPECT_TRUE(after(cut, planner) == complete);
  }
}

// Cut after every one of its sectors, the undo file leads back.
inline void expect_undone(const std::vector<Image>& images, const Planner& planner) {
  const Look look = look_at(images);
  const auto plan = planner(look);
  ASSERT_TRUE(plan) << plan.error().text;
  UndoContents contents;
  contents.records = records_of(*plan, look);
  for (const Image& image : images) {
    contents.members.push_back({"", image.size(), ""});
  }
  for (std::size_t done = 0; done <= contents.records.size(); ++done) {
    SCOPED_TRACE(std::to_string(done) + " of " + std::to_string(contents.records.size()) + " sectors written");
    const std::vector<Image> cut = written(images, std::span(contents.records).first(done));
    std::vector<MemoryDevice> devices(cut.begin(), cut.end());
    std::vector<const Source*> sources;
    for (const MemoryDevice& device : devices) {
      sources.push_back(&device);
    }
    const auto back = undo_plan(contents, sources);
    ASSERT_TRUE(back) << back.error().text;
    EXPECT_TRUE(written(cut, *back) == images);
  }
}

inline void expect_safe(const std::vector<Image>& images, const Planner& planner) {
  expect_convergence(images, planner);
  expect_undone(images, planner);
}

}  // namespace mdtool::test
