// SPDX-License-Identifier: GPL-2.0-or-later
// Marking and infection as documented, byte for byte, on random walks and in the examples seen on the real kernel.
#include "libmeta/bitmap/lockless_walk.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/meta/bitmap_member.h"
#include "tests/meta/lockless_model.h"

namespace mdtool::bitmap {
namespace {

using mdtool::testing::BitmapMember;
using mdtool::testing::LocklessModel;

Lockless bitmap_with(const std::vector<std::uint8_t>& states) {
  BitmapMember member = mdtool::testing::member_with_header(6, 128 * states.size(), 128);
  for (std::size_t i = 0; i < states.size(); ++i) {
    member.at(mdtool::testing::at_states + i) = std::byte{states[i]};
  }
  auto read = Lockless::read(member.source(), mdtool::testing::bitmap_at,
                             mdtool::testing::expected_bitmap(128 * states.size()));
  EXPECT_TRUE(read.has_value());
  return std::move(*read);
}

std::vector<std::uint8_t> states_of(const LocklessWalk& walk) {
  std::vector<std::uint8_t> states;
  for (std::uint64_t chunk = 0; chunk < walk.bitmap().chunks(); ++chunk) {
    states.push_back(walk.raw(chunk));
  }
  return states;
}

void expect_same(LocklessWalk& walk, const LocklessModel& model) {
  const auto states = states_of(walk);
  ASSERT_EQ(states, model.states);
  for (std::size_t state = 0; state < chunk_state_count; ++state) {
    ASSERT_EQ(walk.count(static_cast<ChunkState>(state)),
              static_cast<std::uint64_t>(std::ranges::count(states, static_cast<std::uint8_t>(state))));
  }
  const auto due = std::ranges::find_if(states, [](std::uint8_t s) { return s == 3 || s == 5; });
  ASSERT_EQ(walk.next_due(0).value_or(states.size()), static_cast<std::uint64_t>(due - states.begin()));
}

void walk_at_random(std::uint32_t seed) {
  std::mt19937 random(seed);
  const auto below = [&](std::uint64_t end) { return random() % end; };
  LocklessModel model;
  model.block_bytes = seed % 4 == 0 ? 4096 : 512;
  model.raid456 = seed % 3 != 0;
  model.states.resize(1 + below(3600));
  const std::uint64_t kinds = 1 + below(9);
  for (auto& state : model.states) {
    state = static_cast<std::uint8_t>(below(kinds) == 8 ? 0xff : below(kinds));
  }
  LocklessWalk walk(bitmap_with(model.states), model.block_bytes);
  const auto header = walk.bitmap().encode();
  for (int step = 0; step < 60; ++step) {
    model.degraded = below(8) == 0;
    const auto action = static_cast<Action>(below(action_count));
    const std::uint64_t first = below(model.states.size());
    const std::uint64_t last = below(5) == 0 ? model.states.size() + 5 : first + below(3);
    model.act(action, first, last);
    walk.apply(action, first, last, {.degraded = model.degraded, .raid456 = model.raid456});
    expect_same(walk, model);
    const std::uint64_t block = below(walk.block_of(model.states.size() - 1) + 1);
    ASSERT_EQ(walk.take_waiting(block), model.waiting.erase(block) == 1);
  }
  const auto after = walk.bitmap().encode();
  EXPECT_TRUE(std::equal(header.begin(), header.begin() + lockless_states_offset, after.begin()))
      << "the header is no state";
}

TEST(LocklessWalk, RandomWalksAgreeWithTheDocumentation) {
  for (std::uint32_t seed = 0; seed < 80; ++seed) {
    SCOPED_TRACE(seed);
    walk_at_random(seed);
    if (::testing::Test::HasFatalFailure()) {
      return;
    }
  }
}

TEST(LocklessWalk, TwoSeparateFirstWritesInABlockMakeAllOfItNeedSync) {
  LocklessWalk walk(bitmap_with(std::vector<std::uint8_t>(1500, 0)), 512);
  walk.apply(Action::start_write, 10, 10, {});
  EXPECT_EQ(walk.count(ChunkState::need_sync), 1U);
  EXPECT_TRUE(walk.take_waiting(walk.block_of(10)));
  walk.apply(Action::start_write, 200, 200, {});
  EXPECT_EQ(walk.count(ChunkState::need_sync), 512U);
  EXPECT_EQ(walk.raw(511), 3);
  EXPECT_EQ(walk.raw(512), 0) << "the next block";
}

TEST(LocklessWalk, ReloadInfectsAsSeenOnTheKernel) {
  std::vector<std::uint8_t> states(48, 7);
  std::fill_n(states.begin(), 20, std::uint8_t{2});
  LocklessWalk walk(bitmap_with(states), 512);
  walk.apply(Action::reload, 0, 47, {});
  EXPECT_EQ(walk.count(ChunkState::need_sync), 48U);
}

TEST(LocklessWalk, NothingIsInfectedWhileAMemberIsMissing) {
  LocklessWalk walk(bitmap_with({0, 1, 7, 0, 1}), 512);
  walk.apply(Action::start_write, 0, 1, {.degraded = true});
  EXPECT_EQ(states_of(walk), (std::vector<std::uint8_t>{3, 3, 7, 0, 1}));
  EXPECT_TRUE(walk.take_waiting(2));
}

TEST(LocklessWalk, AWriteIntoAChunkWhoseFirstParityIsInWorkIsMarked) {
  LocklessWalk walk(bitmap_with({6}), 512);
  walk.apply(Action::start_write, 0, 0, {});
  EXPECT_EQ(walk.raw(0), 4);
  EXPECT_TRUE(walk.take_waiting(2)) << "on disk it may be called unwritten still";
}

TEST(LocklessWalk, PutDragsNobodyAlong) {
  LocklessWalk walk(bitmap_with({1, 2, 0, 1}), 512);
  walk.put(0, ChunkState::need_sync);
  EXPECT_FALSE(walk.take_waiting(2));
  walk.put_marked(3, ChunkState::dirty);
  EXPECT_TRUE(walk.take_waiting(2));
  EXPECT_EQ(states_of(walk), (std::vector<std::uint8_t>{3, 2, 0, 2}));
  EXPECT_EQ(walk.next_due(0), 0U);
  EXPECT_EQ(walk.next_due(1), std::nullopt);
}

}  // namespace
}  // namespace mdtool::bitmap
