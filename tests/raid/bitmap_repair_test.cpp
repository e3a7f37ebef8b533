// SPDX-License-Identifier: GPL-2.0-or-later
// Lockless headers that chunk states were written over, rebuilt: what survives is used, what may be lost is due.
#include <gtest/gtest.h>

#include <array>

#include "libmeta/bitmap/new_bitmap.h"
#include "libraid/edit/bitmap_change.h"
#include "tests/raid/edited_array.h"

namespace mdtool::test {
namespace {

using bitmap::ChunkState;

constexpr std::size_t header_at = 4096 + 8 * 512;
constexpr std::size_t chunksize_at = header_at + 52;
constexpr const char* fixture = "1.2-raid5-4-lockless-mixed-crash";

Planner repair() {
  return [](const Look& look) {
    EditClock clock;
    clock.now_seconds = 1900000000;
    return plan_bitmap_repair(look.array(), clock);
  };
}

// As the kernel does where the header's block takes chunk states, too.
void infect(Image& image, unsigned char unwritten_becomes) {
  for (std::size_t i = header_at; i < header_at + bitmap::lockless_states_offset; ++i) {
    const auto state = std::to_integer<unsigned char>(image[i]);
    image[i] = state == 0 ? std::byte{unwritten_becomes} : state == 1 || state == 7 ? std::byte{2} : image[i];
  }
}

std::vector<Image> infected(std::vector<Image> images, unsigned char unwritten_becomes = 3) {
  for (Image& image : images) {
    infect(image, unwritten_becomes);
  }
  return images;
}

std::vector<Image> after(const std::vector<Image>& images) {
  const Planned made = planned(images, repair());
  EXPECT_TRUE(made.plan) << made.reason();
  return made.plan ? applied(*made, images) : images;
}

std::vector<ChunkState> stale_states(const bitmap::Lockless& bitmap) {
  std::vector<ChunkState> states;
  for (std::uint64_t i = 0; i < bitmap.chunks(); ++i) {
    states.push_back(bitmap::next_state(bitmap.raw(i), bitmap::Action::stale, {}));
  }
  return states;
}

std::vector<ChunkState> states_of(const bitmap::Lockless& bitmap) {
  std::vector<ChunkState> states;
  for (std::uint64_t i = 0; i < bitmap.chunks(); ++i) {
    states.push_back(static_cast<ChunkState>(bitmap.raw(i)));
  }
  return states;
}

TEST(Repair, TheHeaderIsRightAgainAndWhatMayBeMissedIsDue) {
  const auto images = load_fixture(fixture);
  const Look before = look_at(images);
  for (const unsigned char became : std::array<unsigned char, 2>{3, 2}) {
    const auto damaged = infected(images, became);
    ASSERT_EQ(look_at(damaged).array().bitmap.trust, Trust::rejected);
    ASSERT_GT(look_at(damaged).array().verdict, Verdict::degraded);
    const Look look = look_at(after(damaged));
    const BitmapView& view = look.array().bitmap;
    EXPECT_EQ(look.array().verdict, Verdict::assembles);
    EXPECT_EQ(view.trust, Trust::believed);
    EXPECT_TRUE(view.findings.empty());
    EXPECT_EQ(view.copies.size(), 4U);
    EXPECT_TRUE(look.array().array().resync_offset.is_zero());
    const bitmap::Header& header = view.lockless->header();
    EXPECT_EQ(header.version, bitmap::version_lockless);
    EXPECT_EQ(header.state, 0U);
    EXPECT_EQ(header.events, look.array().array().events);
    EXPECT_EQ(header.events_cleared, 0U);
    EXPECT_EQ(header.sync_size, view.expected.sync_size.count());
    EXPECT_EQ(header.daemon_sleep, bitmap::lockless_daemon_sleep);
    EXPECT_EQ(header.sectors_reserved, 256U);
    EXPECT_EQ(view.chunk(), before.array().bitmap.chunk());
    EXPECT_EQ(states_of(*view.lockless), stale_states(*before.array().bitmap.lockless));
  }
}

TEST(Repair, AChunkSizeThatCanBeToldIsKept) {
  auto images = load_fixture(fixture);
  for (Image& image : images) {
    ASSERT_TRUE(
        store(std::span(image), chunksize_at, le32(1024)));  // 00 04 00 00: only one power of two gives 03 04 03 03
  }
  const std::uint64_t chunks = look_at(images).array().bitmap.chunks();
  const Look look = look_at(after(infected(images)));
  EXPECT_EQ(look.array().bitmap.chunk(), Sectors(1024));
  EXPECT_EQ(look.array().bitmap.chunks(), chunks);
}

TEST(Repair, AChunkSizeThatTheKernelWroteAnewIsKept) {
  auto images = infected(load_fixture(fixture));
  for (Image& image : images) {
    ASSERT_TRUE(store(std::span(image), chunksize_at, le32(512)));
  }
  EXPECT_EQ(look_at(after(images)).array().bitmap.chunk(), Sectors(512));
}

TEST(Repair, WhatTheKernelLeftBehindOnBlocksOf4KiB) {
  const auto images = load_fixture("1.2-raid5-3-lockless-infected-header");
  const Planned made = planned(images, repair());
  ASSERT_TRUE(made.plan) << made.reason();
  EXPECT_TRUE(mentions(made.plan->steps, "what is left of the old one"));
  EXPECT_TRUE(mentions(made.plan->next, "--bitmap=internal"));
  const Look look = look_at(applied(*made, images));
  EXPECT_EQ(look.array().verdict, Verdict::assembles);
  EXPECT_EQ(look.array().bitmap.trust, Trust::believed);
  EXPECT_EQ(look.array().bitmap.copies.size(), 3U);
}

TEST(Repair, AChunkSizeThatCannotBeToldMakesAllChunksDue) {
  for (const std::uint32_t chunk : {256U, 512U}) {  // both become 03 02 03 03
    auto images = load_fixture(fixture);
    for (Image& image : images) {
      ASSERT_TRUE(store(std::span(image), chunksize_at, le32(chunk)));
    }
    const Look look = look_at(after(infected(images)));
    const bitmap::Lockless& bitmap = *look.array().bitmap.lockless;
    EXPECT_EQ(bitmap.chunk(), Sectors(bitmap::lockless_min_chunk_sectors));
    EXPECT_EQ(bitmap.counts().by_state[static_cast<std::size_t>(ChunkState::need_sync)], bitmap.chunks());
  }
}

TEST(Repair, CopiesThatDifferAreMerged) {
  auto images = load_fixture(fixture);
  const Look before = look_at(images);
  images[2][header_at + bitmap::lockless_states_offset] = std::byte{3};
  images[1][header_at + bitmap::lockless_states_offset] = std::byte{0};
  const Look look = look_at(after(infected(images)));
  EXPECT_EQ(look.array().bitmap.lockless->raw(0), 3U);
}

TEST(Repair, RefusedWhileDegraded) {
  const auto images = infected(load_fixture(fixture));
  const Look look = look_without(images, {1});
  EditClock clock;
  const auto plan = plan_bitmap_repair(look.array(), clock);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().kind, ErrorKind::refused);
  EXPECT_NE(plan.error().text.find("degraded"), std::string::npos);
}

TEST(Repair, NothingToDoWhereNothingIsDamaged) {
  for (const char* name : {fixture, "1.2-raid5-4-classic-clean", "1.2-raid5-4-none-clean"}) {
    const Planned made = planned(load_fixture(name), repair());
    ASSERT_TRUE(made.plan) << made.reason();
    EXPECT_TRUE(made.plan->nothing_to_do());
  }
}

TEST(Repair, CutAnywhereTheSameAgainEndsIt) {
  expect_convergence(infected(load_fixture(fixture)), repair());
}

TEST(Repair, ADamagedBitmapCanAlsoBeGivenUp) {
  const auto images = infected(load_fixture(fixture));
  const Look look = look_at(images);
  EditClock clock;
  const auto plan = plan_bitmap_convert(look.array(), {}, std::nullopt, clock);
  ASSERT_TRUE(plan) << plan.error().text;
  const Look now = look_at(applied(*plan, images));
  EXPECT_EQ(now.array().bitmap.kind, bitmap::Kind::classic);
  EXPECT_EQ(now.array().bitmap.classic->set_count(), now.array().bitmap.chunks());
  EXPECT_FALSE(now.array().clean);
}

}  // namespace
}  // namespace mdtool::test
