// SPDX-License-Identifier: GPL-2.0-or-later
// A fuzz target without libFuzzer: every seed, then a fixed sequence of mutations of them. Files that are named on the
// command line are run instead, so that a crash can be looked at with any compiler.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <new>
#include <random>
#include <span>
#include <string>

#include "tests/fuzz/seeds.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace mdtool::fuzz {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::uint64_t mutations = 3000 * MDTOOL_TEST_SCALE;
constexpr auto time_allowed = std::chrono::seconds(3) * MDTOOL_TEST_SCALE;
constexpr auto hang = std::chrono::seconds(5);
constexpr unsigned never_returns_seconds = 60;
constexpr std::size_t largest_input = 64U << 10;

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  Input mutated(Input input) {
    for (std::size_t left = 1 + below(6); left > 0; --left) {
      mutate_once(input);
    }
    return input;
  }
  std::size_t below(std::size_t limit) { return random_() % limit; }

 private:
  void mutate_once(Input& input) {
    if (input.empty()) {
      input.push_back(0);
    }
    // Numbers are at the front of every structure.
    const std::size_t at = below(below(2) == 0 ? std::min<std::size_t>(input.size(), 256) : input.size());
    switch (below(7)) {
      case 0:
        input[at] = static_cast<std::uint8_t>(input[at] ^ 1U << below(8));
        break;
      case 1:
        input[at] = static_cast<std::uint8_t>(random_());
        break;
      case 2:
        input.resize(below(input.size() + 1));
        break;
      case 3:
        duplicate(input, at);
        break;
      default:
        put_interesting(input, at);
    }
  }

  void put_interesting(Input& input, std::size_t at) {
    constexpr std::uint64_t values[] = {0,          1,          2,         0x7f,       0xff,       0x200,
                                        0x7fff,     0xffff,     0x10000,   0x7fffffff, 0x80000000, 0xffffffff,
                                        ~0ULL >> 1, ~0ULL >> 9, ~0ULL - 1, ~0ULL};
    const std::size_t width = std::size_t{1} << below(4);
    const std::uint64_t value = values[below(std::size(values))];
    at -= at % width;
    for (std::size_t i = 0; i < width && at + i < input.size(); ++i) {
      input[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
    }
  }

  void duplicate(Input& input, std::size_t at) {
    const Input block(input.begin() + static_cast<std::ptrdiff_t>(at),
                      input.begin() + static_cast<std::ptrdiff_t>(at + 1 + below(input.size() - at)));
    if (input.size() + block.size() <= largest_input) {
      input.insert(input.begin() + static_cast<std::ptrdiff_t>(below(input.size() + 1)), block.begin(), block.end());
    }
  }

  std::mt19937_64 random_;
};

// The n-th input of the sequence: the seeds themselves first.
Input input_number(const std::vector<Input>& seeds, std::uint64_t n) {
  return n < seeds.size() ? seeds[n] : Mutator(n).mutated(seeds[n % seeds.size()]);
}

// False if it took so long that a user would call it a hang.
bool run_in_time(const Input& input) {
  alarm(never_returns_seconds);
  const auto start = SteadyClock::now();
  LLVMFuzzerTestOneInput(input.data(), input.size());
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - start);
  if (took > hang) {
    std::cerr << "took " << took.count() << " ms\n";
  }
  return took <= hang;
}

int run_files(std::span<char*> paths) {
  int slow = 0;
  for (const char* path : paths) {
    std::ifstream file(path, std::ios::binary);
    slow += run_in_time({std::istreambuf_iterator<char>(file), {}}) ? 0 : 1;
  }
  return slow;
}

// `current` is where the parent looks when this process is gone.
int run_sequence(const std::vector<Input>& seeds, std::atomic<std::uint64_t>& current) {
  const auto end = SteadyClock::now() + time_allowed;
  const std::uint64_t count = seeds.size() + mutations;
  for (current = 0; current < count && (current < seeds.size() || SteadyClock::now() < end); ++current) {
    if (!run_in_time(input_number(seeds, current))) {
      return EXIT_FAILURE;
    }
  }
  std::cout << current << " inputs of " << count << "\n";
  return EXIT_SUCCESS;
}

// In a child, so that an input that ends the process can be kept.
int run_watched(const std::vector<Input>& seeds) {
  void* shared =
      mmap(nullptr, sizeof(std::atomic<std::uint64_t>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto& current = *new (shared) std::atomic<std::uint64_t>(0);
  const pid_t child = fork();
  if (child == 0) {
    return run_sequence(seeds, current);
  }
  int status = 0;
  if (waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS) {
    return EXIT_SUCCESS;
  }
  const Input input = input_number(seeds, current);
  const std::string path = MDTOOL_FUZZ_TARGET "-failed-input";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
  std::cerr << "input " << current << " failed (status " << status << "); it is in " << path << "\n";
  return EXIT_FAILURE;
}

}  // namespace
}  // namespace mdtool::fuzz

int main(int argc, char** argv) {
  using namespace mdtool::fuzz;
  return argc > 1 ? run_files({argv + 1, argv + argc}) : run_watched(seeds_for(MDTOOL_FUZZ_TARGET));
}
