// SPDX-License-Identifier: GPL-2.0-or-later
#include "bench/real_array.h"

#include <chrono>
#include <ctime>

namespace mdtool::bench {

namespace {

constexpr Ticks after_an_error{1000};

Ticks steady_now() {
  return std::chrono::duration_cast<Ticks>(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

Result<std::unique_ptr<RealArray>> RealArray::open(const std::vector<std::string>& images) {
  auto opened = std::make_unique<RealArray>();
  TRY(found, opened->find(images));
  TRY(plan, plan_live(opened->arrays_[0], Forces{}));
  TRY(kernels, parity::choose_kernels(""));
  TRY(array, open_live(opened->arrays_[0], plan, opened->devices_for(plan), *kernels));
  opened->array_ = std::move(array);
  opened->maintenance_ = std::make_unique<Heartbeat>([&running = *opened->array_] {
    const Result<Ticks> rest = running.maintain();
    return rest ? *rest : after_an_error;
  });
  return opened;
}

Status RealArray::find(const std::vector<std::string>& images) {
  for (const std::string& path : images) {
    TRY(file, FileDevice::open(path, Access::read_write));
    auto past_cache = std::make_unique<UncachedSource>(*file);
    TRY(candidate, inspect(path, path, *past_cache, *file));
    candidates_.push_back(std::move(candidate));
    devices_.push_back({std::move(file), std::move(past_cache), nullptr});
  }
  arrays_ = assemble(candidates_);
  if (arrays_.size() != 1) {
    return Error{ErrorKind::usage, std::to_string(arrays_.size()) + " arrays, not one"};
  }
  return Done{};
}

LiveDevices RealArray::devices_for(const LivePlan& plan) {
  LiveDevices given;
  for (const LiveMember& member : plan.members) {
    const Candidate* candidate = arrays_[0].members[member.member].candidate;
    Device& device = devices_[static_cast<std::size_t>(candidate - candidates_.data())];
    device.fence = std::make_unique<FencedDevice>(*device.file, member.extents);
    given.members.push_back({candidate->path, device.fence.get(), device.past_cache.get()});
  }
  given.ticks = steady_now;
  given.now_seconds = [] { return static_cast<std::uint64_t>(std::time(nullptr)); };
  return given;
}

Status RealArray::stop() {
  maintenance_.reset();
  return array_->stop();
}

}  // namespace mdtool::bench
