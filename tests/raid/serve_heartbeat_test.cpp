// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>

#include "libraid/serve/heartbeat.h"

namespace mdtool {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

bool reaches(const std::atomic<int>& count, int wanted) {
  const auto deadline = Clock::now() + seconds(10);
  while (count < wanted && Clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  return count >= wanted;
}

TEST(Heartbeat, beats_at_once_and_when_it_wants) {
  std::atomic<int> beats = 0;
  const auto begin = Clock::now();
  {
    const Heartbeat heart([&] { return ++beats, milliseconds(20); });
    ASSERT_TRUE(reaches(beats, 5));
  }
  EXPECT_GE(Clock::now() - begin, milliseconds(4 * 20));
  const int last = beats;
  std::this_thread::sleep_for(milliseconds(60));
  EXPECT_EQ(beats, last) << "it beats after its end";
}

TEST(Heartbeat, can_be_woken_and_rests_else) {
  std::atomic<int> beats = 0;
  Heartbeat heart([&] { return ++beats, milliseconds::max(); });
  ASSERT_TRUE(reaches(beats, 1));
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_EQ(beats, 1);
  heart.wake();
  ASSERT_TRUE(reaches(beats, 2));
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_EQ(beats, 2);
}

TEST(Heartbeat, a_wake_during_a_beat_is_not_lost) {
  std::atomic<int> begun = 0;
  std::atomic<bool> go_on = false;
  Heartbeat heart([&] {
    ++begun;
    while (!go_on) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    return milliseconds(1 << 30);
  });
  ASSERT_TRUE(reaches(begun, 1));
  heart.wake();
  heart.wake();
  EXPECT_EQ(begun, 1);
  go_on = true;
  ASSERT_TRUE(reaches(begun, 2));
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_EQ(begun, 2) << "two wakes during one beat are one";
}

TEST(Heartbeat, its_end_waits_for_the_beat) {
  std::atomic<int> begun = 0, ended = 0;
  {
    const Heartbeat heart([&] {
      ++begun;
      std::this_thread::sleep_for(milliseconds(50));
      ++ended;
      return milliseconds(-5);
    });
    ASSERT_TRUE(reaches(begun, 1));
  }
  EXPECT_EQ(begun, ended);
}

TEST(Heartbeat, takes_no_signal_and_leaves_ours_as_they_were) {
  sigset_t before, after;
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, nullptr, &before), 0);
  std::atomic<int> blocked = -1;
  {
    const Heartbeat heart([&] {
      sigset_t own;
      ::pthread_sigmask(SIG_BLOCK, nullptr, &own);
      blocked = ::sigismember(&own, SIGTERM);
      return seconds(1);
    });
    ASSERT_TRUE(reaches(blocked, 0));
  }
  EXPECT_EQ(blocked, 1);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, nullptr, &after), 0);
  EXPECT_EQ(::sigismember(&after, SIGTERM), ::sigismember(&before, SIGTERM));
}

}  // namespace
}  // namespace mdtool
