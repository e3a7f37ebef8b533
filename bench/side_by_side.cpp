// SPDX-License-Identifier: GPL-2.0-or-later
#include "bench/side_by_side.h"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <thread>
#include <vector>

namespace mdtool::bench {

namespace {

// Seconds.
struct Time {
  double elapsed, processor;
};

double now(clockid_t clock) {
  timespec at{};
  ::clock_gettime(clock, &at);
  return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) * 1e-9;
}

Time time_of(const Work& work, unsigned threads) {
  const Time begin{now(CLOCK_MONOTONIC), now(CLOCK_PROCESS_CPUTIME_ID)};
  std::vector<std::thread> running;
  for (unsigned thread = 0; thread < threads; ++thread) {
    running.emplace_back([&work, thread, threads] { work(thread, threads); });
  }
  for (std::thread& thread : running) {
    thread.join();
  }
  return {now(CLOCK_MONOTONIC) - begin.elapsed, now(CLOCK_PROCESS_CPUTIME_ID) - begin.processor};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

void compare(const Load& load, const Titles& titles, unsigned threads, int rounds) {
  std::vector<double> one;
  std::vector<double> other;
  std::vector<double> ratios;
  std::vector<double> processor_ratios;
  for (int round = 0; round < rounds; ++round) {
    const Time first = time_of(load.one, threads);
    const Time second = time_of(load.other, threads);
    one.push_back(load.amount / first.elapsed);
    other.push_back(load.amount / second.elapsed);
    ratios.push_back(second.elapsed / first.elapsed);
    processor_ratios.push_back(second.processor / first.processor);
  }
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  const double scale = load.sequential ? 1e-9 : 1e-3;
  std::printf("%s  %-27s  %u threads  %s %7.2f %s  %s %7.2f  ratio %.2f (%.2f-%.2f)  by processor %.2f\n",
              titles.line.c_str(), load.name.c_str(), threads, titles.one.c_str(), median(one) * scale,
              load.sequential ? "GB/s " : "kIOPS", titles.other.c_str(), median(other) * scale, median(ratios), *least,
              *most, median(processor_ratios));
  std::fflush(stdout);
}

}  // namespace mdtool::bench
