// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/write_intent.h"

#include <algorithm>

namespace mdtool {

namespace {

using bitmap::Action;
using bitmap::ChunkState;

// Work is only done on arrays of levels 4, 5, 6 with every member there (or with the bits left alone).
constexpr bitmap::Condition complete{.degraded = false, .raid456 = true};

// A member says how large it is: a list of its units may not grow with that.
constexpr std::uint64_t most_units = std::uint64_t{1} << 20;

bool needs_sync(std::uint8_t raw) {
  return raw == static_cast<std::uint8_t>(ChunkState::need_sync) ||
         raw == static_cast<std::uint8_t>(ChunkState::need_sync_unwritten);
}

// The kernel resets CleanUnwritten before a rebuild only if chunk 0 is neither that nor Unwritten, and rebuilds skip
// it.
ChunkState zeroed_state(std::uint64_t chunk, BuiltState built) {
  const bool clean = built == BuiltState::clean || (built == BuiltState::automatic && chunk == 0);
  return clean ? ChunkState::clean : ChunkState::clean_unwritten;
}

bool same_bytes(const bitmap::Lockless& a, const bitmap::Lockless& b) {
  return a.encode() == b.encode();
}

}  // namespace

WriteIntent WriteIntent::over(const BitmapView& view, Sectors component, Sectors unit) {
  const bool usable = view.trust != Trust::absent && view.trust != Trust::rejected && !view.chunk().is_zero();
  while (component / unit >= most_units) {
    unit = unit * 2;
  }
  WriteIntent intent(component, usable ? view.chunk() : unit);
  if (usable) {
    intent.classic_ = view.classic;
    intent.lockless_ = view.lockless;
    if (intent.lockless_) {
      intent.lockless_->clear_flags();  // under WRITE_ERROR no state would ever change
    }
  }
  return intent;
}

void WriteIntent::due_everything() {
  const std::uint64_t chunks = (component_.count() + chunk_.count() - 1) / chunk_.count();
  due_.resize(chunks);
  for (std::uint64_t i = 0; i < chunks; ++i) {
    due_[i] = i;
  }
  if (classic_) {
    classic_->set_all();
  }
  if (lockless_) {
    for (std::uint64_t i = 0; i < lockless_->chunks(); ++i) {
      lockless_->set(i, ChunkState::need_sync);
    }
  }
}

// As the kernel would initialise it: Clean only where the array was created with assume-clean.
void WriteIntent::begin_first_use(ChunkState if_assumed_clean) {
  const bool assumed_clean = (lockless_->header().state & bitmap::state_clean) != 0;
  lockless_->finish_first_use();
  for (std::uint64_t i = 0; i < lockless_->chunks(); ++i) {
    lockless_->set(i, assumed_clean ? if_assumed_clean : ChunkState::unwritten);
  }
}

void WriteIntent::due_from_states() {
  for (std::uint64_t i = 0; i < lockless_->chunks(); ++i) {
    if (needs_sync(lockless_->raw(i))) {
      due_.push_back(i);
      rewrites_promised_ = rewrites_promised_ || lockless_->raw(i) == static_cast<std::uint8_t>(ChunkState::need_sync);
    }
  }
}

WriteIntent WriteIntent::for_resync(const BitmapView& view, Sectors component, Sectors unit, bool clean) {
  WriteIntent intent = over(view, component, unit);
  switch (view.trust) {
    case Trust::absent:
      if (!clean) {
        intent.due_everything();
      }
      break;
    case Trust::rejected:
      intent.due_everything();
      intent.rewrites_promised_ = true;
      break;
    case Trust::first_use:
      if (!clean) {
        intent.lockless_->finish_first_use();
        intent.due_everything();
      }
      break;
    case Trust::stale:
      // A classic bitmap says nothing about a clean array; a lockless one also remembers parity that was never built.
      intent.wants_tidying_ = true;
      if (!clean || intent.lockless_) {
        intent.due_everything();
        intent.rewrites_promised_ = true;
      }
      break;
    case Trust::believed:
      if (intent.lockless_) {
        const bitmap::Lockless before = *intent.lockless_;
        intent.lockless_->apply(Action::reload, 0, intent.lockless_->chunks() - 1, complete);
        intent.wants_tidying_ = !same_bytes(before, *intent.lockless_);
        intent.due_from_states();
      } else {
        intent.wants_tidying_ = intent.classic_->set_count() != 0;
        for (std::uint64_t i = 0; !clean && i < intent.classic_->chunks(); ++i) {
          if (intent.classic_->is_set(i)) {
            intent.due_.push_back(i);
          }
        }
      }
      break;
  }
  if (clean && intent.due_.empty() && intent.classic_) {
    for (std::uint64_t i = 0; i < intent.classic_->chunks(); ++i) {
      intent.classic_->clear(i);
    }
  }
  return intent;
}

WriteIntent WriteIntent::for_build(const BitmapView& view, Sectors component, Sectors unit, Extent extent, bool clean) {
  WriteIntent intent = over(view, component, unit);
  if (intent.lockless_) {
    const std::uint64_t last = intent.lockless_->chunks() - 1;
    if (view.trust == Trust::first_use) {
      intent.begin_first_use(clean ? ChunkState::clean : ChunkState::need_sync);
    }
    intent.lockless_->apply(view.trust == Trust::stale ? Action::stale : Action::reload, 0, last, complete);
    intent.lockless_before_ = intent.lockless_;
    if (extent == Extent::everything) {
      intent.lockless_->apply(Action::stale, 0, last, complete);
    }
    intent.lockless_->apply(Action::proactive_sync, 0, last, complete);
    intent.due_from_states();
  } else if (extent == Extent::everything) {
    intent.classic_before_ = intent.classic_;
    intent.due_everything();
  }
  intent.rewrites_promised_ = intent.rewrites_promised_ || extent == Extent::everything;
  return intent;
}

WriteIntent WriteIntent::for_recovery(const BitmapView& view, Sectors component, Sectors unit) {
  WriteIntent intent = over(view, component, unit);
  if (view.trust == Trust::first_use) {
    intent.lockless_->finish_first_use();
  }
  if (view.trust != Trust::believed) {
    intent.due_everything();
  } else if (intent.lockless_) {
    intent.lockless_->apply(Action::reload, 0, intent.lockless_->chunks() - 1, complete);
    for (std::uint64_t i = 0; i < intent.lockless_->chunks(); ++i) {
      if (intent.lockless_->raw(i) != static_cast<std::uint8_t>(ChunkState::clean)) {
        intent.due_.push_back(i);
      }
    }
  } else {
    for (std::uint64_t i = 0; i < intent.classic_->chunks(); ++i) {
      if (intent.classic_->is_set(i)) {
        intent.due_.push_back(i);
      }
    }
  }
  return intent;
}

WriteIntent WriteIntent::for_zeroing(const BitmapView& view, Sectors component, Sectors unit,
                                     std::span<const SectorRange> zero, BuiltState built) {
  WriteIntent intent = over(view, component, unit);
  if (view.trust == Trust::first_use) {
    intent.begin_first_use(ChunkState::need_sync);
  }
  const std::uint64_t chunks = (component.count() + intent.chunk_.count() - 1) / intent.chunk_.count();
  auto done = zero.begin();
  for (std::uint64_t chunk = 0; chunk < chunks; ++chunk) {
    const SectorRange range = intent.range_of(chunk);
    while (done != zero.end() && done->end() < range.end()) {
      ++done;
    }
    if (done != zero.end() && done->first <= range.first) {
      intent.keep_zeroed(chunk, built);
    } else {
      intent.due_to_be_zeroed(chunk);
    }
  }
  return intent;
}

void WriteIntent::due_to_be_zeroed(std::uint64_t chunk) {
  due_.push_back(chunk);
  if (classic_) {
    classic_->set(chunk);
  }
  if (lockless_) {
    // What was written needs a sync, and Unwritten promises no parity: both are true however far the zeroes got.
    lockless_->apply(Action::stale, chunk, chunk, complete);
  }
}

void WriteIntent::keep_zeroed(std::uint64_t chunk, BuiltState built) {
  if (classic_) {
    classic_->clear(chunk);
  }
  if (lockless_ && lockless_->raw(chunk) == static_cast<std::uint8_t>(ChunkState::clean_unwritten) &&
      zeroed_state(chunk, built) == ChunkState::clean) {
    lockless_->set(chunk, ChunkState::clean);
    wants_tidying_ = true;
  }
}

void WriteIntent::finish_zeroed(std::uint64_t chunk, BuiltState built) {
  if (classic_) {
    classic_->clear(chunk);
  }
  if (lockless_) {
    lockless_->set(chunk, zeroed_state(chunk, built));
  }
}

SectorRange WriteIntent::range_of(std::uint64_t chunk) const {
  const Sectors first = chunk_ * chunk;
  return {first, std::min(chunk_, component_ - first)};
}

void WriteIntent::start(std::uint64_t chunk) {
  if (lockless_ && !keeps_bits_) {
    lockless_->apply(Action::start_sync, chunk, chunk, complete);
  }
}

void WriteIntent::finish(std::uint64_t chunk, bool data_is_zero, BuiltState built) {
  if (classic_ && !keeps_bits_) {
    classic_->clear(chunk);
  }
  if (!lockless_ || keeps_bits_) {
    return;
  }
  lockless_->apply(Action::end_sync, chunk, chunk, complete);
  lockless_->apply(Action::daemon, chunk, chunk, complete);
  const bool was_unwritten = lockless_->raw(chunk) == static_cast<std::uint8_t>(ChunkState::clean_unwritten);
  // The kernel resets CleanUnwritten before a rebuild only if chunk 0 is neither that nor Unwritten, and rebuilds skip
  // it: nothing that holds data may end so.
  if (was_unwritten && built != BuiltState::clean_unwritten &&
      (built == BuiltState::clean || !data_is_zero || chunk == 0)) {
    lockless_->set(chunk, ChunkState::clean);
  }
}

void WriteIntent::leave(std::uint64_t chunk) {
  if (lockless_ && !keeps_bits_) {
    lockless_->apply(Action::abort_sync, chunk, chunk, complete);
  }
}

void WriteIntent::settle(const std::vector<std::uint64_t>& doubtful) {
  for (const std::uint64_t chunk : due_) {
    start(chunk);
    finish(chunk, false, BuiltState::automatic);
  }
  for (const std::uint64_t chunk : doubtful) {
    if (lockless_ && !keeps_bits_) {
      lockless_->apply(Action::stale, chunk, chunk, complete);
    }
  }
}

void WriteIntent::give_back_from(std::uint64_t chunk) {
  for (auto due = std::lower_bound(due_.begin(), due_.end(), chunk); due != due_.end(); ++due) {
    if (lockless_ && lockless_before_) {
      lockless_->set(*due, static_cast<ChunkState>(lockless_before_->raw(*due)));
    } else if (classic_ && classic_before_ && !classic_before_->is_set(*due)) {
      classic_->clear(*due);
    }
  }
}

std::optional<std::vector<std::byte>> WriteIntent::encode(std::uint64_t events) {
  if (classic_) {
    classic_->clear_flags();
    classic_->set_events(events, keeps_bits_ ? classic_->header().events_cleared.value() : events);
    return classic_->encode();
  }
  if (lockless_) {
    lockless_->clear_flags();
    lockless_->set_events(events);
    return lockless_->encode();
  }
  return std::nullopt;
}

}  // namespace mdtool
