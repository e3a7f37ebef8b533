// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/no_intent.h"

#include <algorithm>

namespace mdtool {

namespace {

// How much is synchronised between two checkpoints.
constexpr Sectors most_at_once(Sectors::from_bytes(std::uint64_t{64} << 20));

bool overlap(SectorRange a, SectorRange b) {
  return a.first < b.end() && b.first < a.end();
}

}  // namespace

NoIntent::NoIntent(const Start& start)
    : component_(start.component),
      unit_(start.chunk * std::max<std::uint64_t>(most_at_once / start.chunk, 1)),
      degraded_(start.degraded) {
  const Sectors first = std::min(start.resync_offset - start.resync_offset % start.chunk, component_);
  due_ = {first, component_ - first};
}

void NoIntent::end_write(SectorRange rows, Written written, Ticks) {
  if (written == Written::yes) {
    return;
  }
  const std::lock_guard lock(mutex_);
  spoiled_ = in_work_;
  const Sectors first = rows.first - rows.first % unit_;
  const Sectors end = std::min(rows.end(), component_);
  const bool nothing = due_.count.is_zero();
  const Sectors new_first = nothing ? first : std::min(first, due_.first);
  due_ = {new_first, (nothing ? end : std::max(end, due_.end())) - new_first};
}

bool NoIntent::trusts_parity(SectorRange rows) const {
  const std::lock_guard lock(mutex_);
  return due_.count.is_zero() || !overlap(rows, due_);
}

std::optional<SectorRange> NoIntent::start_sync(Sectors from) {
  const std::lock_guard lock(mutex_);
  if (degraded_ || in_work_ || due_.count.is_zero() || from > due_.first) {
    return std::nullopt;
  }
  in_work_ = true;
  spoiled_ = false;
  return SectorRange{due_.first, std::min(unit_, due_.count)};
}

void NoIntent::end_sync(SectorRange rows, Synced synced, Ticks) {
  const std::lock_guard lock(mutex_);
  in_work_ = false;
  if (synced == Synced::yes && !spoiled_) {
    due_ = {rows.end(), due_.end() - rows.end()};
  }
}

bool NoIntent::anything_due() const {
  const std::lock_guard lock(mutex_);
  return !degraded_ && !due_.count.is_zero();
}

Sectors NoIntent::resync_offset() const {
  const std::lock_guard lock(mutex_);
  return due_.count.is_zero() ? Sectors::max() : due_.first;
}

void NoIntent::degraded() {
  const std::lock_guard lock(mutex_);
  degraded_ = true;
}

}  // namespace mdtool
