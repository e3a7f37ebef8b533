// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/workload.h"

#include <array>
#include <string_view>

#include "tests/crash/crash_point.h"

namespace mdtool::crash {

namespace {

constexpr std::array<std::string_view, step_count> step_names{
    "write-sector", "write-part", "write-stripe", "write-across", "flush", "discard", "zero",
    "idle",         "fail",       "reopen",       "resync",       "build", "undo"};

constexpr std::uint64_t sequences = step_count + step_count * step_count;

struct Shape {
  std::int32_t level;
  std::uint32_t layout;
  std::uint32_t slots;
  ArraySpec::Metadata metadata;
};
// Narrow ones write parity from data, wide ones from the change.
constexpr std::array shapes{Shape{5, 2, 4, ArraySpec::Metadata::v1_2},  Shape{6, 2, 5, ArraySpec::Metadata::v1_2},
                            Shape{4, 0, 3, ArraySpec::Metadata::v1_2},  Shape{5, 0, 3, ArraySpec::Metadata::v0_90},
                            Shape{6, 2, 7, ArraySpec::Metadata::v0_90}, Shape{5, 2, 6, ArraySpec::Metadata::v1_2}};
constexpr std::array bitmaps{bitmap::Kind::classic, bitmap::Kind::lockless, bitmap::Kind::none};
// One turn in so many is for a random workload, of such steps.
constexpr std::uint64_t random_one_in = 4;
constexpr std::array random_steps{
    Step::write_sector, Step::write_sector, Step::write_part, Step::write_part,  Step::write_stripe, Step::write_stripe,
    Step::write_across, Step::write_across, Step::flush,      Step::flush,       Step::flush,        Step::flush,
    Step::discard,      Step::discard,      Step::zero,       Step::idle,        Step::idle,         Step::fail,
    Step::fail,         Step::reopen,       Step::resync,     Step::build_parity};
enum class Start : std::uint8_t { clean, interrupted, degraded };
constexpr std::uint64_t starts = 3;
constexpr std::uint64_t kinds = shapes.size() * bitmaps.size() * starts;

ArraySpec spec_of(std::uint64_t seed, std::uint64_t number) {
  const auto start = static_cast<Start>(number % starts);
  const bitmap::Kind bitmap = bitmaps[number / starts % bitmaps.size()];
  const Shape& shape = shapes[number / starts / bitmaps.size() % shapes.size()];
  const bool lockless = bitmap == bitmap::Kind::lockless;
  ArraySpec spec;
  spec.level = shape.level;
  spec.layout = shape.layout;
  spec.slots = shape.slots;
  // The kernel knows lockless bitmaps with version 1 metadata only.
  spec.metadata = lockless ? ArraySpec::Metadata::v1_2 : shape.metadata;
  spec.bitmap = bitmap;
  const std::uint64_t random = mixed(seed ^ mixed(number));
  spec.bitmap_chunk = lockless || random % 2 == 0 ? 16 : 8;
  spec.interrupted = start == Start::interrupted;
  if (start == Start::degraded) {
    spec.missing = static_cast<std::uint32_t>((random >> 8) % spec.slots);
  }
  spec.seed = random >> 16;
  return spec;
}

}  // namespace

std::string Workload::name() const {
  std::string text = spec.name() + ":";
  for (const Step step : steps) {
    text += " " + std::string(step_names[static_cast<std::size_t>(step)]);
  }
  return text;
}

std::uint64_t kinds_of_arrays() {
  return kinds;
}

std::uint64_t short_workloads() {
  return kinds * sequences;
}

std::uint64_t turns_of_all() {
  return short_workloads() * random_one_in / (random_one_in - 1);
}

std::uint64_t workload_number(std::uint64_t turn) {
  constexpr std::uint64_t step = 3571;  // a prime that divides no number of short workloads
  static_assert(kinds * sequences % step != 0);
  if (turn % random_one_in == random_one_in - 1) {
    return short_workloads() + turn / random_one_in;
  }
  return (turn - turn / random_one_in) * step % short_workloads();
}

Workload workload(std::uint64_t seed, std::uint64_t number) {
  Workload w;
  w.seed = mixed(seed ^ mixed(number ^ 0x5eed));
  // Neighbours differ in both, so that any part of the numbers has something of everything.
  w.spec = spec_of(seed, number % kinds);
  if (number < short_workloads()) {
    const std::uint64_t sequence = number / kinds;
    w.steps = {static_cast<Step>(sequence % step_count)};
    if (sequence >= step_count) {
      w.steps.push_back(static_cast<Step>((sequence - step_count) / step_count));
    }
    return w;
  }
  const std::uint64_t length = 3 + w.seed % 4;
  for (std::uint64_t i = 0; i < length; ++i) {
    w.steps.push_back(random_steps[mixed(w.seed + i) % random_steps.size()]);
  }
  return w;
}

}  // namespace mdtool::crash
