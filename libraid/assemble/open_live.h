// SPDX-License-Identifier: GPL-2.0-or-later
// From a judged assembly to an array that is written: the plan that can be shown, or the reason why not, and the
// running array made from it. Reads only: what opening leaves to be written is the running array's matter.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libraid/array/live_array.h"
#include "libraid/assemble/live_superblocks.h"
#include "libraid/assemble/open_array.h"
#include "libraid/io/fence.h"

namespace mdtool {

struct LiveMember {
  std::size_t member = 0;              // index into Assembly::members
  std::optional<std::uint32_t> slot;   // none: a spare, of which only the superblock is written
  std::vector<PlannedExtent> extents;  // what may be written; the fence holds it to that
};

struct LivePlan {
  Layout layout;
  Forces forces;
  std::vector<LiveMember> members;
  // Present: the bitmap is in a file of its own, and this much of it may be written.
  std::optional<std::vector<PlannedExtent>> bitmap_file;
  LeftBehind left;
  std::uint64_t events = 0;        // the highest on any member now
  std::vector<std::string> steps;  // for people, in order
};

// The members that a running array writes to, without extents: those in its slots, then the spares.
std::vector<LiveMember> live_members_of(const Assembly&);

// Takes the bitmap in this file for the array's. Refused for an array that has one on its members.
Status use_bitmap_file(Assembly&, const std::string& path, const Source& file);

// Refused (with the reason, and what to do) where the kernel would not start the array for writing, or where this
// program cannot keep what belongs to it.
Result<LivePlan> plan_live(const Assembly&, const Forces&);

struct LiveDevice {
  std::string path;
  BlockDevice* device = nullptr;
  const Source* past_cache = nullptr;  // the same bytes, without the cache
};

struct LiveDevices {
  std::vector<LiveDevice> members;             // the plan's, in its order
  BlockDevice* bitmap_file = nullptr;          // with LivePlan::bitmap_file
  std::function<Ticks()> ticks;                // a clock that never goes back
  std::function<std::uint64_t()> now_seconds;  // since 1970
};

// Refused if a superblock is no longer what the plan was made from. Devices and clocks outlive the array.
Result<LiveParts> live_parts(const Assembly&, const LivePlan&, const LiveDevices&);
// The same, put together.
Result<std::unique_ptr<LiveArray>> open_live(const Assembly&, const LivePlan&, const LiveDevices&,
                                             const parity::Kernels&);

}  // namespace mdtool
