// SPDX-License-Identifier: GPL-2.0-or-later
// Plans on a fixture's members in memory: applied, cut after every sector, planned again from there, taken back.
#pragma once

#include <functional>

#include "libraid/edit/edit_plan.h"
#include "libraid/io/undo_file.h"
#include "tests/raid/loaded_array.h"

namespace mdtool::test {

// A plan with what it points at.
struct Planned {
  Look look;
  Result<EditPlan> plan = Error{};

  const EditPlan& operator*() const { return *plan; }
  std::string reason() const { return plan ? "no reason: there is a plan" : plan.error().text; }
};

// A member of `look` by its image's number.
inline const Candidate* candidate(const Look& look, std::size_t image) {
  const std::string path = "m" + std::to_string(image);
  const auto at =
      std::find_if(look.candidates.begin(), look.candidates.end(), [&](const Candidate& c) { return c.path == path; });
  EXPECT_NE(at, look.candidates.end()) << path;
  return &*at;
}

inline std::size_t image_of(const Candidate& candidate) {
  return std::stoul(candidate.path.substr(1));
}

// One sector of one member, as a run writes it.
struct SectorWrite {
  std::size_t image = 0;
  std::uint32_t stage = 0;
  std::uint64_t offset_bytes = 0;
  std::vector<std::byte> before, after;
};

// Every sector write of the plan, in order; sectors that are on the member already are not written.
inline std::vector<SectorWrite> sector_writes(const EditPlan& plan, std::vector<Image> images) {
  constexpr std::size_t sector = Sectors::bytes_each;
  std::vector<SectorWrite> writes;
  for (std::uint32_t stage = 0; stage < plan.stages.size(); ++stage) {
    for (const EditPatch& patch : plan.stages[stage]) {
      const std::size_t number = image_of(*plan.members[patch.member]);
      EXPECT_EQ(patch.offset_bytes % sector, 0U);
      for (std::size_t at = 0; at < patch.after.size(); at += sector) {
        const auto length = static_cast<std::ptrdiff_t>(std::min(sector, patch.after.size() - at));
        const auto from = patch.after.begin() + static_cast<std::ptrdiff_t>(at);
        const auto to = images[number].begin() + static_cast<std::ptrdiff_t>(patch.offset_bytes + at);
        if (!std::equal(from, from + length, to)) {
          writes.push_back({number, stage, patch.offset_bytes + at, {to, to + length}, {from, from + length}});
          std::copy(from, from + length, to);
        }
      }
    }
  }
  return writes;
}

inline void write(std::vector<Image>& images, const SectorWrite& w) {
  std::copy(w.after.begin(), w.after.end(), images[w.image].begin() + static_cast<std::ptrdiff_t>(w.offset_bytes));
}

inline std::vector<Image> applied(const EditPlan& plan, std::vector<Image> images) {
  for (const SectorWrite& w : sector_writes(plan, images)) {
    write(images, w);
  }
  return images;
}

// What counts of an array: who is where in whose view, and that all are in step. Events and times may differ.
inline std::string essence(const std::vector<Image>& images) {
  const Look look = look_at(images);
  std::string text;
  for (const Assembly& a : look.arrays) {
    text += std::string(verdict_name(a.verdict)) + (a.clean ? " clean\n" : " dirty\n");
    for (const Member& m : a.members) {
      text += (m.candidate != nullptr ? m.candidate->path : "-") + " " + std::string(member_state_name(m.state));
      if (m.candidate != nullptr && m.state != MemberState::stale && m.state != MemberState::unusable) {
        const MemberDescription& d = m.description();
        const bool spare = m.state == MemberState::spare || m.state == MemberState::faulty;
        text += " number " + std::to_string(d.dev_number) + (d.recovery_by_bitmap ? " by bitmap" : "") +
                (d.recovery ? " recovering" : "") + (d.clean() ? "" : " dirty");
        text += spare ? "" : " ahead by " + std::to_string(d.events - a.array().events) + " roles";
        for (std::size_t i = 0; !spare && i < std::min<std::size_t>(d.dev_roles.size(), 16); ++i) {
          text += " " + (d.dev_roles[i] < role_max_regular ? std::to_string(d.dev_roles[i])
                                                           : std::string(d.dev_roles[i] == role_faulty ? "f" : "-"));
        }
      }
      text += "\n";
    }
    const BitmapView& b = a.bitmap;
    text += "bitmap " + std::to_string(static_cast<int>(b.trust)) + " copies " + std::to_string(b.copies.size());
    text += b.classic ? " set " + std::to_string(b.classic->set_count()) : "";
    if (b.lockless) {
      for (const std::uint64_t count : b.lockless->counts().by_state) {
        text += " " + std::to_string(count);
      }
    }
    text += "\n";
  }
  return text;
}

using Planner = std::function<Result<EditPlan>(const Look&)>;

inline Planned planned(const std::vector<Image>& images, const Planner& planner) {
  Planned made;
  made.look = look_at(images);
  made.plan = planner(made.look);
  return made;
}

// What undo makes of members that were left in the middle of this run: `written` of its writes are on them.
inline std::vector<Image> undone(std::vector<Image> images, const std::vector<SectorWrite>& writes,
                                 std::size_t written) {
  UndoContents contents;
  for (std::size_t i = 0; i < images.size(); ++i) {
    contents.members.push_back({"m" + std::to_string(i), images[i].size(), ""});
  }
  // The record of a stage is durable before its first write.
  const std::uint32_t last_stage = written < writes.size() ? writes[written].stage : writes.back().stage;
  for (const SectorWrite& w : writes) {
    if (w.stage <= last_stage) {
      contents.records.push_back({static_cast<std::uint32_t>(w.image), w.offset_bytes, w.before, w.after, w.stage + 1});
    }
  }
  std::vector<std::unique_ptr<MemoryDevice>> devices;
  std::vector<const Source*> sources;
  for (const Image& image : images) {
    devices.push_back(std::make_unique<MemoryDevice>(image));
    sources.push_back(devices.back().get());
  }
  const auto plan = undo_plan(contents, sources);
  EXPECT_TRUE(plan) << plan.error().text;
  for (const UndoRecord& r : *plan) {
    std::copy(r.after.begin(), r.after.end(), images[r.member].begin() + static_cast<std::ptrdiff_t>(r.offset_bytes));
  }
  return images;
}

// The plan cut after every sector: planned again and applied it ends where the whole one does; undone, where it began.
inline void expect_convergence(const std::vector<Image>& images, const Planner& planner) {
  const Planned whole = planned(images, planner);
  ASSERT_TRUE(whole.plan) << whole.reason();
  const std::vector<SectorWrite> writes = sector_writes(*whole, images);
  ASSERT_FALSE(writes.empty());
  const std::string expected = essence(applied(*whole, images));
  std::vector<Image> cut = images;
  for (std::size_t i = 0; i <= writes.size(); ++i) {
    SCOPED_TRACE("cut after " + std::to_string(i) + " of " + std::to_string(writes.size()) + " sector writes");
    const Planned again = planned(cut, planner);
    ASSERT_TRUE(again.plan) << again.reason();
    const std::vector<Image> done = applied(*again, cut);
    ASSERT_EQ(essence(done), expected);
    const Planned third = planned(done, planner);
    ASSERT_TRUE(third.plan) << third.reason();
    ASSERT_TRUE(third.plan->nothing_to_do());
    ASSERT_TRUE(undone(cut, writes, i) == images) << "undo";
    if (i < writes.size()) {
      write(cut, writes[i]);
    }
  }
}

}  // namespace mdtool::test
