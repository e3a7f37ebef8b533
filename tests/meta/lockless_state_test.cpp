// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/bitmap/lockless_state.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace mdtool::bitmap {
namespace {

constexpr Condition raid5{.degraded = false, .raid456 = true};
constexpr Condition raid5_degraded{.degraded = true, .raid456 = true};
constexpr Condition raid1{.degraded = false, .raid456 = false};
constexpr Condition raid1_degraded{.degraded = true, .raid456 = false};

constexpr std::string_view letters = "UCDNSnsc";  // of the states 0 to 7; small: "...Unwritten"
const std::vector<std::uint8_t> invalid_bytes{8, 9, 0x10, 0x42, 0x7f, 0x80, 0xfe, 0xff};
const std::vector<Condition> conditions{raid5, raid5_degraded, raid1, raid1_degraded};

std::uint8_t raw(ChunkState state) {
  return static_cast<std::uint8_t>(state);
}
std::uint8_t of_letter(char letter) {
  return static_cast<std::uint8_t>(letters.find(letter));
}
Action action_at(std::size_t i) {
  return static_cast<Action>(i);
}

// The changes that an action makes, all others being none: "from>to from>to".
std::string changes(Action action, const Condition& condition) {
  switch (action) {
    case Action::start_write:
      if (condition.degraded) {
        return "U>N C>N n>N s>S c>N";
      }
      return condition.raid456 ? "U>N C>D n>N s>S c>D" : "U>D C>D n>N s>S c>D";
    case Action::start_sync:
      return condition.degraded ? "D>S N>S n>s" : "N>S n>s";
    case Action::end_sync:
      return "S>D s>c";
    case Action::abort_sync:
      return "S>N n>U s>U";
    case Action::reload:
      return "D>N S>N n>U s>U";
    case Action::daemon:
      return "D>C";
    case Action::discard:
      return "C>U D>U N>U S>U n>U s>U c>U";
    case Action::stale:
      return "C>N D>N S>N n>U s>U c>U";
    case Action::proactive_sync:
      return "U>n";
    case Action::clear_unwritten:
      return "n>U s>U c>U";
  }
  return "";
}

std::uint8_t expected_next(std::uint8_t from, const std::string& all_changes) {
  const std::string start{letters[from], '>'};
  const auto found = all_changes.find(start);
  return found == std::string::npos ? from : of_letter(all_changes[found + 2]);
}

TEST(LocklessState, EveryStateActionAndCondition) {
  for (std::size_t a = 0; a < action_count; ++a) {
    for (const Condition& condition : conditions) {
      for (std::uint8_t from = 0; from < chunk_state_count; ++from) {
        EXPECT_EQ(raw(next_state(from, action_at(a), condition)), expected_next(from, changes(action_at(a), condition)))
            << "action " << a << " on state " << int{from} << (condition.degraded ? " degraded" : "")
            << (condition.raid456 ? " raid456" : "");
      }
    }
  }
}

TEST(LocklessState, AnyWalkOverAnInvalidByteAsksForASync) {
  for (std::size_t a = 0; a < action_count; ++a) {
    for (const Condition& condition : conditions) {
      for (std::uint8_t byte : invalid_bytes) {
        EXPECT_EQ(next_state(byte, action_at(a), condition), ChunkState::need_sync) << int{byte};
      }
    }
  }
}

TEST(LocklessState, NothingEverLeavesTheEightStates) {
  for (std::size_t a = 0; a < action_count; ++a) {
    for (const Condition& condition : conditions) {
      for (unsigned byte = 0; byte < 256; ++byte) {
        EXPECT_LT(raw(next_state(static_cast<std::uint8_t>(byte), action_at(a), condition)), chunk_state_count);
      }
    }
  }
}

TEST(LocklessState, ReloadAndStaleAreDoneAfterOneWalk) {
  for (Action action : {Action::reload, Action::stale}) {
    for (const Condition& condition : conditions) {
      for (unsigned byte = 0; byte < 256; ++byte) {
        const ChunkState once = next_state(static_cast<std::uint8_t>(byte), action, condition);
        EXPECT_EQ(next_state(raw(once), action, condition), once) << byte;
      }
    }
  }
}

TEST(LocklessState, AnAbortedSyncNeverPromisesParity) {
  for (const Condition& condition : conditions) {
    for (std::uint8_t from = 0; from < chunk_state_count; ++from) {
      const ChunkState started = next_state(from, Action::start_sync, condition);
      const ChunkState aborted = next_state(raw(started), Action::abort_sync, condition);
      const ChunkState ended = next_state(raw(aborted), Action::end_sync, condition);
      if (raw(started) != from) {
        EXPECT_FALSE(parity_is_promised(raw(ended))) << int{from};
      }
    }
  }
}

TEST(LocklessState, OnlyEndsyncAndTheDaemonMakeParityPromised) {
  for (std::size_t a = 0; a < action_count; ++a) {
    for (const Condition& condition : conditions) {
      for (unsigned byte = 0; byte < 256; ++byte) {
        const auto from = static_cast<std::uint8_t>(byte);
        const bool gained =
            !parity_is_promised(from) && parity_is_promised(raw(next_state(from, action_at(a), condition)));
        if (gained) {
          EXPECT_TRUE((action_at(a) == Action::end_sync && from == 6) || (action_at(a) == Action::daemon && from == 2))
              << "action " << a << " on " << byte;
        }
      }
    }
  }
}

TEST(LocklessState, AWriteIsNeverForgottenByAReload) {
  for (const Condition& condition : conditions) {
    for (unsigned byte = 0; byte < 256; ++byte) {
      const ChunkState written = next_state(static_cast<std::uint8_t>(byte), Action::start_write, condition);
      EXPECT_EQ(next_state(raw(written), Action::reload, condition), ChunkState::need_sync) << byte;
    }
  }
}

TEST(LocklessState, ProactiveSyncEndsCleanUnwrittenForWhatWasNeverWritten) {
  std::uint8_t state = raw(ChunkState::unwritten);
  for (Action action : {Action::proactive_sync, Action::start_sync, Action::end_sync}) {
    state = raw(next_state(state, action, raid5));
  }
  EXPECT_EQ(state, raw(ChunkState::clean_unwritten));
}

TEST(LocklessState, PromisesParityInTwoStatesOnly) {
  std::set<unsigned> promised;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (parity_is_promised(static_cast<std::uint8_t>(byte))) {
      promised.insert(byte);
    }
  }
  EXPECT_EQ(promised, (std::set<unsigned>{1, 7}));
}

TEST(LocklessState, NamesAreTheKernelsAndDistinct) {
  const std::vector<std::string_view> kernel{"unwritten",         "clean",          "dirty",
                                             "need_sync",         "syncing",        "need_sync_unwritten",
                                             "syncing_unwritten", "clean_unwritten"};
  for (std::uint8_t state = 0; state < chunk_state_count; ++state) {
    EXPECT_EQ(state_name(static_cast<ChunkState>(state)), kernel[state]);
  }
}

// Bytes that matter for merging: all states and two invalid ones.
const std::vector<std::uint8_t> mergeable{0, 1, 2, 3, 4, 5, 6, 7, 8, 0xff};

TEST(LocklessMerge, IsIdempotentCommutativeAndAssociative) {
  for (std::uint8_t a : mergeable) {
    EXPECT_EQ(merged_state(a, a), a);
    for (std::uint8_t b : mergeable) {
      EXPECT_EQ(merged_state(a, b), merged_state(b, a));
      for (std::uint8_t c : mergeable) {
        EXPECT_EQ(merged_state(merged_state(a, b), c), merged_state(a, merged_state(b, c)))
            << int{a} << " " << int{b} << " " << int{c};
      }
    }
  }
}

TEST(LocklessMerge, PromisesNothingThatACopyDoesNot) {
  const auto is_due = [](std::uint8_t byte) { return (byte >= 2 && byte <= 4) || byte > 7; };
  const auto may_hold_data = [](std::uint8_t byte) { return (byte >= 1 && byte <= 4) || byte > 7; };
  const auto skipped_by_rebuild = [](std::uint8_t byte) { return byte == 0 || byte == 7; };
  for (std::uint8_t a : mergeable) {
    for (std::uint8_t b : mergeable) {
      const std::uint8_t both = merged_state(a, b);
      const std::string what = std::to_string(a) + " with " + std::to_string(b);
      EXPECT_TRUE(!parity_is_promised(both) || (parity_is_promised(a) && parity_is_promised(b))) << what;
      EXPECT_EQ(may_hold_data(both), may_hold_data(a) || may_hold_data(b)) << what;
      EXPECT_TRUE(is_due(both) || !(is_due(a) || is_due(b))) << what;
      EXPECT_TRUE(!skipped_by_rebuild(both) || (skipped_by_rebuild(a) && skipped_by_rebuild(b))) << what;
    }
  }
}

TEST(LocklessMerge, Examples) {
  const auto merged = [](char a, char b) { return letters[merged_state(of_letter(a), of_letter(b))]; };
  EXPECT_EQ(merged('C', 'D'), 'D');
  EXPECT_EQ(merged('C', 'c'), 'C');
  EXPECT_EQ(merged('D', 'c'), 'D');
  EXPECT_EQ(merged('C', 'U'), 'N');  // data there, parity not: neither alone says it
  EXPECT_EQ(merged('D', 'U'), 'N');
  EXPECT_EQ(merged('S', 'D'), 'N');
  EXPECT_EQ(merged('U', 'c'), 'U');
  EXPECT_EQ(merged('U', 's'), 'n');
  EXPECT_EQ(merged_state(0xff, 1), raw(ChunkState::need_sync));
}

}  // namespace
}  // namespace mdtool::bitmap
