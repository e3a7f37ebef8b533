// SPDX-License-Identifier: GPL-2.0-or-later
// random_io for the array object: random reads or writes by some threads for some seconds, in process, on members with
// metadata; the rate as one line of JSON. Overwrites the array's content.
//
//   array_random_io read|write THREADS SECONDS BLOCK_BYTES SEED IMAGE...
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bench/real_array.h"

namespace mdtool::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int operations_per_look = 16;

struct Load {
  bool writes;
  unsigned threads;
  std::chrono::seconds time;
  std::size_t block_bytes;
  std::uint64_t seed;
};

struct Worker {
  std::uint64_t operations = 0;
  Status status = Done{};
};

void work(LiveArray& array, const Load& load, unsigned thread, Worker& worker) {
  std::mt19937_64 random(load.seed * load.threads + thread);
  std::vector<std::byte> buffer(load.block_bytes, std::byte(thread + 1));
  const std::uint64_t blocks = array.size_bytes() / load.block_bytes;
  for (const auto end = Clock::now() + load.time; worker.status && Clock::now() < end;) {
    for (int i = 0; worker.status && i < operations_per_look; ++i) {
      const std::uint64_t at = random() % blocks * load.block_bytes;
      worker.status = load.writes ? array.write(at, buffer) : array.read(at, buffer);
      ++worker.operations;
    }
  }
}

Result<double> operations_per_second(LiveArray& array, const Load& load) {
  std::vector<Worker> workers(load.threads);
  std::vector<std::thread> running;
  const auto begin = Clock::now();
  for (unsigned thread = 0; thread < load.threads; ++thread) {
    running.emplace_back([&, thread] { work(array, load, thread, workers[thread]); });
  }
  std::uint64_t operations = 0;
  Status status = Done{};
  for (unsigned thread = 0; thread < load.threads; ++thread) {
    running[thread].join();
    operations += workers[thread].operations;
    status = status ? workers[thread].status : status;
  }
  TRY(done, std::move(status));
  return static_cast<double>(operations) / std::chrono::duration<double>(Clock::now() - begin).count();
}

Status run(const Load& load, const std::vector<std::string>& images) {
  TRY(opened, RealArray::open(images));
  TRY(rate, operations_per_second(opened->array(), load));
  std::printf("{\"operations_per_second\": %.0f, \"threads\": %u}\n", rate, load.threads);
  return opened->stop();
}

}  // namespace
}  // namespace mdtool::bench

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 6 || (words[0] != "read" && words[0] != "write")) {
    std::fprintf(stderr, "usage: array_random_io read|write THREADS SECONDS BLOCK_BYTES SEED IMAGE...\n");
    return EXIT_FAILURE;
  }
  const mdtool::bench::Load load{
      .writes = words[0] == "write",
      .threads = static_cast<unsigned>(std::strtoul(argv[2], nullptr, 0)),
      .time = std::chrono::seconds(std::strtoul(argv[3], nullptr, 0)),
      .block_bytes = std::strtoul(argv[4], nullptr, 0),
      .seed = std::strtoull(argv[5], nullptr, 0),
  };
  const mdtool::Status done = mdtool::bench::run(load, {words.begin() + 5, words.end()});
  if (!done) {
    std::fprintf(stderr, "%s\n", done.error().text.c_str());
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
