// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/live_machine.h"

#include "libraid/assemble/open_live.h"
#include "tests/crash/mutant.h"

namespace mdtool::crash {

namespace {

// An array that does nothing for so long (longer than any timer of its own) is at rest.
constexpr Ticks rest{70'000};
constexpr std::uint64_t update_time = 1700000200;
constexpr int most_rounds = 10'000;

}  // namespace

Result<std::unique_ptr<LiveMachine>> LiveMachine::open(Machine& machine, const Forces& forces) {
  const Assembly& a = machine.array();
  TRY(plan, plan_live(a, forces));
  std::unique_ptr<LiveMachine> live(new LiveMachine(machine.log()));
  LiveDevices devices;
  for (const LiveMember& m : plan.members) {
    const std::uint32_t slot = machine.slot_of(a.members[m.member]);
    live->fences_.push_back(std::make_unique<FencedDevice>(machine.device(slot), m.extents));
    devices.members.push_back({"m", live->fences_.back().get(), &machine.past_cache(slot)});
  }
  LiveMachine& clock = *live;
  devices.ticks = [&clock] { return clock.now_; };
  devices.now_seconds = [] { return update_time; };
  TRY(parts, live_parts(a, plan, devices));
  if (const Mutant* mutant = machine.mutant()) {
    const ArraySpec& spec = machine.spec();
    parts.intent = mutant->intent ? mutant->intent(std::move(parts.intent), spec) : std::move(parts.intent);
    parts.superblocks =
        mutant->superblocks ? mutant->superblocks(std::move(parts.superblocks), spec) : std::move(parts.superblocks);
  }
  live->array_ = std::make_unique<LiveArray>(plan.layout, std::move(parts), machine.kernels());
  return live;
}

Status LiveMachine::idle() {
  Ticks quiet{0};
  for (int round = 0; round < most_rounds; ++round) {
    const std::size_t before = log_->events().size();
    TRY(wait, array_->maintain());
    quiet = log_->events().size() == before ? quiet + wait : wait;
    if (quiet >= rest) {
      return Done{};
    }
    now_ += wait;
  }
  return Error{ErrorKind::interrupted, "the array never comes to rest"};
}

Complaint recover_live(Machine& machine, const Forces& forces) {
  auto live = LiveMachine::open(machine, forces);
  if (!live) {
    return "open: " + live.error().text;
  }
  if (auto rested = (*live)->idle(); !rested) {
    return "idle: " + rested.error().text;
  }
  if (auto stopped = (*live)->array().stop(); !stopped) {
    return "stop: " + stopped.error().text;
  }
  return std::nullopt;
}

}  // namespace mdtool::crash
