// SPDX-License-Identifier: GPL-2.0-or-later
// A running array's lockless intent over three members in memory, and what is on their disks.
#pragma once

#include <gtest/gtest.h>

#include "tests/raid/intent_members.h"

namespace mdtool::testing {

using Synced = Intent::Synced;
using Written = Intent::Written;
using States = std::vector<std::uint8_t>;

// 64 KiB chunks in two pages of state bytes and ten blocks; the last chunk is cut short.
constexpr std::uint64_t chunks = 4000;
constexpr Sectors component(128 * chunks - 60);
constexpr Ticks second = std::chrono::seconds(1);
constexpr Ticks daemon_sleep = second * 30;

constexpr std::uint8_t unwritten = 0, clean = 1, dirty = 2, need_sync = 3, syncing = 4;

inline BitmapMember member_with(const States& states) {
  BitmapMember member = member_with_header(6, component.count(), 128);
  for (std::size_t i = 0; i < states.size(); ++i) {
    member.at(at_states + i) = std::byte{states[i]};
  }
  return member;
}
inline BitmapMember member_all(std::uint8_t state) {
  return member_with(States(chunks, state));
}

inline IntentStart clean_start() {
  return {.component = component, .chunk = Sectors(128)};
}
inline IntentStart dirty_start() {
  return {.component = component, .chunk = Sectors(128), .resync_offset = Sectors(0)};
}

inline SectorRange chunk(std::uint64_t number, std::uint64_t count = 1) {
  const Sectors first(128 * number);
  return {first, std::min(Sectors(128 * count), component - first)};
}
// Some rows within a chunk.
inline SectorRange part(std::uint64_t number) {
  return {Sectors(128 * number + 16), Sectors(8)};
}

struct Running {
  explicit Running(const std::vector<std::byte>& bytes, const IntentStart& start = clean_start(),
                   std::size_t present = 3)
      : members(bytes, present) {
    auto made = members.make(start);
    EXPECT_TRUE(made.has_value());
    intent = std::move(*made);
  }
  void write(SectorRange rows, Ticks now = Ticks(0)) {
    EXPECT_TRUE(intent->start_write(rows).has_value());
    intent->end_write(rows, Written::yes, now);
  }
  void discard(SectorRange rows) {
    EXPECT_TRUE(intent->start_discard(rows).has_value());
    intent->discard(rows);
    intent->end_write(rows, Written::yes, Ticks(0));
  }
  bool maintain(Ticks now) {
    const bool ripe = intent->prepare_to_clear(now);
    if (ripe) {
      EXPECT_TRUE(intent->clear_prepared(now).has_value());
    }
    return ripe;
  }
  void sync_everything() {
    while (auto rows = intent->start_sync(Sectors(0))) {
      intent->end_sync(*rows, Synced::yes, Ticks(0));
    }
  }
  States on_disk(std::size_t member = 0) const {
    const auto bytes = members.devices[member].bytes();
    States states;
    for (std::uint64_t i = 0; i < chunks; ++i) {
      states.push_back(std::to_integer<std::uint8_t>(bytes[bitmap_at + at_states + i]));
    }
    return states;
  }
  // What is in memory, as an orderly end would leave it on the members: a test's last word.
  States at_the_end() {
    EXPECT_TRUE(intent->write_all(99).has_value());
    return on_disk();
  }
  std::uint32_t header(std::size_t field) const { return *load<le32>(members.devices[0].bytes(), bitmap_at + field); }
  void forget_writes() {
    for (auto& device : members.devices) {
      device.take_writes();
    }
  }

  IntentMembers members;
  std::unique_ptr<Intent> intent;
};

}  // namespace mdtool::testing
