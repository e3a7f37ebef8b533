// SPDX-License-Identifier: GPL-2.0-or-later
// Under memory pressure an allocation could wait for the very write that it is made for: an array that is active makes
// none, whatever its bitmap is.
#include <gtest/gtest.h>

#include "libraid/assemble/open_live.h"
#include "tests/raid/counted_allocations.h"
#include "tests/raid/loaded_array.h"

namespace mdtool {
namespace {

using test::allocations;

class LiveAllocation : public testing::TestWithParam<const char*> {};

TEST_P(LiveAllocation, NoneOnceTheArrayIsActive) {
  for (const std::vector<std::size_t>& missing : {std::vector<std::size_t>{}, {1}}) {
    test::Look look = test::look_without(test::load_fixture(GetParam()), missing);
    const Assembly& array = look.array();
    auto plan = plan_live(array, {});
    ASSERT_TRUE(plan) << plan.error().text;
    LiveDevices devices;
    for (const LiveMember& m : plan->members) {
      const Candidate& c = *array.members[m.member].candidate;
      MemoryDevice& device = *look.devices[static_cast<std::size_t>(&c - look.candidates.data())];
      devices.members.push_back({c.path, &device, &device});
    }
    devices.ticks = [] { return Ticks(0); };
    devices.now_seconds = [] { return std::uint64_t{1'800'000'000}; };
    auto live = open_live(array, *plan, devices, *parity::supported_kernels().front());
    ASSERT_TRUE(live) << live.error().text;
    std::vector<std::byte> bytes(300 << 10, std::byte{1});
    ASSERT_TRUE((*live)->write(0, std::span(bytes).first(512))) << "the first one marks superblocks";
    const std::size_t before = allocations;
    const bool well = (*live)->write(1536, bytes) && (*live)->write(512 << 10, std::span(bytes).first(4096)) &&
                      (*live)->read(0, bytes) && (*live)->zero(512, 200 << 10) && (*live)->flush();
    const std::size_t after = allocations;
    EXPECT_TRUE(well);
    EXPECT_EQ(after, before) << (missing.empty() ? "complete" : "degraded");
    EXPECT_GT(before, 0U) << "allocations are not counted";
  }
}

INSTANTIATE_TEST_SUITE_P(Bitmaps, LiveAllocation,
                         testing::Values("1.2-raid5-4-none-clean", "1.2-raid5-4-classic-clean",
                                         "1.2-raid5-4-lockless-clean", "1.2-raid6-5-classic-clean"));

}  // namespace
}  // namespace mdtool
