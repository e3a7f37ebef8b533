// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/stripe_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

namespace mdtool {
namespace {

constexpr Sectors rows(8);
constexpr std::size_t no_memory = 0;  // the fewest workspaces there may be

struct Updates {
  std::mutex mutex;
  std::vector<std::vector<std::uint64_t>> batches;  // first sectors

  StripeCache::Update noting(Status status = Done{}) {
    return [this, status](std::span<const WriteRequest* const> batch, Workspace&) {
      const std::lock_guard lock(mutex);
      std::vector<std::uint64_t>& firsts = batches.emplace_back();
      std::transform(batch.begin(), batch.end(), std::back_inserter(firsts),
                     [](const WriteRequest* request) { return request->first.count(); });
      return status;
    };
  }
};

// What becomes of updates that all wait while one stripe is leased.
std::vector<Status> wait_behind(StripeCache& cache, std::uint64_t leased,
                                const std::vector<std::pair<std::uint64_t, std::uint64_t>>& stripes_and_firsts,
                                const StripeCache::Update& update) {
  std::optional<StripeCache::Lease> lease(std::in_place, cache, leased);
  std::vector<std::thread> threads;
  std::vector<Status> statuses(stripes_and_firsts.size(), Done{});
  for (std::size_t i = 0; i < stripes_and_firsts.size(); ++i) {
    threads.emplace_back([&, i] {
      const auto [stripe, first] = stripes_and_firsts[i];
      const WriteRequest request{Sectors(first), {}};
      statuses[i] = cache.update(stripe, request, update);
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
  }
  lease.reset();
  for (auto& thread : threads) {
    thread.join();
  }
  return statuses;
}

TEST(StripeCache, GathersWhatWaitsForOneStripe) {
  StripeCache cache(4, rows, no_memory);
  // Threads may come late on a busy machine: one time in many is enough.
  for (int tries = 0; tries < 50; ++tries) {
    Updates updates;
    // 263 shares its line with 7.
    wait_behind(cache, 7, {{7, 1}, {7, 2}, {263, 3}, {7, 4}}, updates.noting());
    std::sort(updates.batches.begin(), updates.batches.end());
    if (updates.batches == std::vector<std::vector<std::uint64_t>>{{1, 2, 4}, {3}}) {
      return;
    }
  }
  FAIL() << "never gathered, or never in the order of arrival";
}

TEST(StripeCache, TellsEveryGatheredWriterWhatBecameOfIt) {
  StripeCache cache(4, rows, no_memory);
  Updates updates;
  for (const Status& status :
       wait_behind(cache, 1, {{1, 1}, {1, 2}}, updates.noting(Error{ErrorKind::io, "too bad"}))) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().text, "too bad");
  }
}

TEST(StripeCache, GathersNoMoreThanItCanAndForgetsNobody) {
  StripeCache cache(3, rows, no_memory);
  std::atomic<std::size_t> written = 0;
  const StripeCache::Update count = [&](std::span<const WriteRequest* const> batch, Workspace&) {
    written += batch.size();
    return Done{};
  };
  std::vector<std::thread> threads;
  {
    const StripeCache::Lease lease(cache, 0);
    for (std::uint64_t i = 0; i < 80; ++i) {
      threads.emplace_back([&, i] {
        const WriteRequest request{Sectors(i), {}};
        EXPECT_TRUE(cache.update(0, request, count));
      });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(written, 80U);
}

TEST(StripeCache, LetsOnlyOneWorkOnAStripe) {
  StripeCache cache(3, rows, std::size_t{1} << 20);
  std::atomic<int> inside = 0;
  std::atomic<bool> together = false;
  std::vector<std::thread> threads;
  const auto visit = [&] {
    together = together || ++inside > 1;
    std::this_thread::yield();
    --inside;
  };
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        if ((t + i) % 2 == 0) {
          const StripeCache::Lease lease(cache, 5);
          visit();
        } else {
          const WriteRequest request{Sectors(0), {}};
          EXPECT_TRUE(cache.update(5, request, [&](auto, Workspace&) {
            visit();
            return Done{};
          }));
        }
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_FALSE(together);
}

TEST(StripeCache, GivesBlocksThatDoNotOverlap) {
  StripeCache cache(5, rows, no_memory);
  StripeCache::Lease lease(cache, 0);
  std::vector<std::byte*> blocks(lease.workspace().blocks().begin(), lease.workspace().blocks().end());
  blocks.push_back(lease.workspace().new_p());
  blocks.push_back(lease.workspace().new_q());
  std::sort(blocks.begin(), blocks.end());
  ASSERT_EQ(blocks.size(), 7U);
  for (std::size_t i = 0; i + 1 < blocks.size(); ++i) {
    EXPECT_GE(blocks[i + 1] - blocks[i], static_cast<std::ptrdiff_t>(rows.bytes()));
  }
}

}  // namespace
}  // namespace mdtool
