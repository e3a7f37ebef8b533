// SPDX-License-Identifier: GPL-2.0-or-later
// live_array: an array in use without FUSE, driven by words on standard input. For what no file can ask for (discard,
// an idle time that has passed, an end without a stop) and for guests that have no FUSE.
//
//   live_array MEMBER... < SCRIPT
//
//   write FIRST COUNT SEED   array sectors, as `pattern write` without its fsync
//   zero FIRST COUNT         discard FIRST COUNT        flush
//   maintain                 what is due at this moment
//   idle                     all that ever becomes due, on a clock that jumps
//   fail SLOT                the member takes no writes and no flushes from now on; then a flush
//   stop                     orderly; the end of input without it is a kill
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "libraid/assemble/open_live.h"
#include "libraid/io/faulty.h"
#include "libraid/io/file.h"
#include "tests/interop/content.h"

namespace {

using namespace mdtool;

constexpr Ticks nothing_waits{600'000};  // longer than any delay of a bitmap
constexpr int most_steps = 1'000'000;

struct Device {
  std::unique_ptr<FileDevice> file;
  std::unique_ptr<UncachedSource> past_cache;
  std::unique_ptr<FaultyDevice> faulty;
  std::unique_ptr<FencedDevice> fence;
};

Result<std::vector<Candidate>> candidates_on(std::vector<Device>& devices, const std::vector<std::string>& paths) {
  std::vector<Candidate> candidates;
  for (const std::string& path : paths) {
    TRY(file, FileDevice::open(path, Access::read_write));
    auto past_cache = std::make_unique<UncachedSource>(*file);
    TRY(candidate, inspect(path, path, *past_cache, *file));
    candidates.push_back(std::move(candidate));
    auto faulty = std::make_unique<FaultyDevice>(*file);
    devices.push_back({std::move(file), std::move(past_cache), std::move(faulty), nullptr});
  }
  return candidates;
}

class Running {
 public:
  Status open(const std::vector<std::string>& paths) {
    TRY(candidates, candidates_on(devices_, paths));
    candidates_ = std::move(candidates);
    arrays_ = assemble(candidates_);
    if (arrays_.size() != 1) {
      return Error{ErrorKind::usage, std::to_string(arrays_.size()) + " arrays, not one"};
    }
    TRY(plan, plan_live(arrays_[0], Forces{}));
    TRY(kernels, parity::choose_kernels(""));
    TRY(array, open_live(arrays_[0], plan, devices_for(plan), *kernels));
    array_ = std::move(array);
    return Done{};
  }

  Status obey(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    std::uint64_t first = 0, count = 0, seed = 0;
    words >> verb >> first >> count >> seed;
    const std::uint64_t offset_bytes = first * SECTOR, length_bytes = count * SECTOR;
    if (verb == "write") return write(first, count, seed);
    if (verb == "zero") return array_->zero(offset_bytes, length_bytes);
    if (verb == "discard") return array_->discard(offset_bytes, length_bytes);
    if (verb == "flush") return array_->flush();
    if (verb == "maintain") return maintain();
    if (verb == "idle") return idle();
    if (verb == "fail") return fail(static_cast<std::uint32_t>(first));
    if (verb == "stop") return array_->stop();
    return Error{ErrorKind::usage, "not understood: " + line};
  }

 private:
  LiveDevices devices_for(const LivePlan& plan) {
    LiveDevices given;
    for (const LiveMember& member : plan.members) {
      const Candidate* candidate = arrays_[0].members[member.member].candidate;
      Device& device = devices_[static_cast<std::size_t>(candidate - candidates_.data())];
      device.fence = std::make_unique<FencedDevice>(*device.faulty, member.extents);
      given.members.push_back({candidate->path, device.fence.get(), device.past_cache.get()});
      if (member.slot) {
        by_slot_.resize(std::max<std::size_t>(by_slot_.size(), *member.slot + 1));
        by_slot_[*member.slot] = device.faulty.get();
      }
    }
    given.ticks = [this] { return now_; };
    given.now_seconds = [] { return static_cast<std::uint64_t>(std::time(nullptr)); };
    return given;
  }

  Status write(std::uint64_t first, std::uint64_t count, std::uint64_t seed) {
    std::vector<std::uint64_t> content;
    for (std::uint64_t sector = first; sector < first + count; ++sector) {
      content.insert(content.end(), WORDS, word_of(seed, sector));
    }
    return array_->write(first * SECTOR, std::as_bytes(std::span(content)));
  }

  Status maintain() {
    TRY(wait, array_->maintain());
    return Done{};
  }

  Status idle() {
    for (int step = 0; step < most_steps; ++step) {
      TRY(wait, array_->maintain());
      if (wait > nothing_waits) {
        return Done{};
      }
      now_ += wait;
    }
    return Error{ErrorKind::io, "the array never comes to rest"};
  }

  Status fail(std::uint32_t slot) {
    if (slot >= by_slot_.size() || by_slot_[slot] == nullptr) {
      return Error{ErrorKind::usage, "no member in slot " + std::to_string(slot)};
    }
    for (const Operation operation : {Operation::write, Operation::flush}) {
      by_slot_[slot]->add({.operation = operation});
    }
    return array_->flush();
  }

  std::vector<Device> devices_;
  std::vector<Candidate> candidates_;
  std::vector<Assembly> arrays_;
  std::vector<FaultyDevice*> by_slot_;
  Ticks now_{1'000'000};
  std::unique_ptr<LiveArray> array_;
};

int complain(const Error& error) {
  std::fprintf(stderr, "live_array: %s\n", error.text.c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  Running running;
  if (const Status opened = running.open({argv + 1, argv + argc}); !opened) {
    return complain(opened.error());
  }
  for (std::string line; std::getline(std::cin, line);) {
    if (const Status done = running.obey(line); !done) {
      return complain(done.error());
    }
  }
  return 0;
}
