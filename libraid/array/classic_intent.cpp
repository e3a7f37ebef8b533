// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/classic_intent.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace mdtool {

namespace {

// bitmap_daemon_work() lowers an idle counter in one pass and clears the bit in the next.
constexpr std::uint8_t passes_until_clear = 2;

bitmap::Classic ready(bitmap::Classic loaded, const ClassicIntent::Start& start) {
  std::uint64_t events_cleared = loaded.header().events_cleared;
  if (start.loaded == ClassicIntent::Loaded::stale) {
    loaded.set_all();
    events_cleared = start.events;
  }
  loaded.clear_flags();
  loaded.set_events(std::max<std::uint64_t>(loaded.header().events, start.events), events_cleared);
  return loaded;
}

}  // namespace

ClassicIntent::ClassicIntent(bitmap::Classic loaded, const Start& start, BitmapCopies copies)
    : bitmap_(ready(std::move(loaded), start)),
      component_(start.component),
      block_bytes_(start.block_bytes),
      degraded_(start.degraded),
      events_(start.events),
      events_cleared_(bitmap_.header().events_cleared),
      chunks_(bitmap_.chunks()),
      aging_((bitmap_.area_bytes() + block_bytes_ - 1) / block_bytes_),
      out_(std::move(copies), bitmap_.area_bytes(), block_bytes_,
           [this](std::uint64_t from, std::span<std::byte> out) { bitmap_.copy_out(from, out); }) {
  load(start);
}

void ClassicIntent::load(const Start& start) {
  for (std::uint64_t chunk = 0; chunk < chunks_.size(); ++chunk) {
    if (!bitmap_.is_set(chunk)) {
      continue;
    }
    if (rows_of(chunk).end() >= start.resync_offset) {
      set_due(chunk);
    }
    let_age(chunk);
  }
}

ClassicIntent::Span ClassicIntent::chunks_of(SectorRange rows) const {
  assert(!rows.count.is_zero());
  const std::uint64_t last = chunks_.size() - 1;
  return {std::min(rows.first / bitmap_.chunk(), last), std::min((rows.end() - Sectors(1)) / bitmap_.chunk(), last)};
}

SectorRange ClassicIntent::rows_of(std::uint64_t chunk) const {
  const Sectors first = bitmap_.chunk() * chunk;
  return {first, std::min(bitmap_.chunk(), component_ - first)};
}

std::size_t ClassicIntent::block_of(std::uint64_t chunk) const {
  return out_.block_of(bitmap::header_bytes + chunk / 8);
}

ClassicIntent::Span ClassicIntent::chunks_of_block(std::size_t block) const {
  const std::uint64_t first = std::max<std::uint64_t>(block * block_bytes_, bitmap::header_bytes);
  const std::uint64_t end = (block + 1) * block_bytes_;
  return {(first - bitmap::header_bytes) * 8,
          std::min<std::uint64_t>((end - bitmap::header_bytes) * 8, chunks_.size()) - 1};
}

bool ClassicIntent::is_degraded() const {
  return degraded_ || !out_.members().complete();
}

void ClassicIntent::set_bit(std::uint64_t chunk) {
  if (!bitmap_.is_set(chunk)) {
    bitmap_.set(chunk);
    out_.mark(block_of(chunk));
  }
}

void ClassicIntent::clear_bit(std::uint64_t chunk) {
  bitmap_.clear(chunk);
  out_.mark(block_of(chunk));
}

void ClassicIntent::set_passes(std::uint64_t chunk, std::uint8_t passes) {
  const bool was = chunks_[chunk].passes != 0;
  chunks_[chunk].passes = passes;
  if (was != (passes != 0)) {
    std::uint32_t& in_block = aging_[block_of(chunk)];
    in_block = was ? in_block - 1 : in_block + 1;
    aging_chunks_ = was ? aging_chunks_ - 1 : aging_chunks_ + 1;
  }
}

void ClassicIntent::let_age(std::uint64_t chunk) {
  const Chunk& c = chunks_[chunk];
  if (c.in_flight == 0 && !c.due) {
    set_passes(chunk, passes_until_clear);
  }
}

void ClassicIntent::set_due(std::uint64_t chunk) {
  due_chunks_ += chunks_[chunk].due ? 0U : 1U;
  chunks_[chunk].due = true;
  set_passes(chunk, 0);
}

void ClassicIntent::enter(std::uint64_t chunk) {
  ++chunks_[chunk].in_flight;
  chunks_[chunk].prepared = false;
  set_passes(chunk, 0);
  set_bit(chunk);
}

void ClassicIntent::leave(std::uint64_t chunk) {
  --chunks_[chunk].in_flight;
  let_age(chunk);
}

Status ClassicIntent::start_write(SectorRange rows) {
  Lock lock(mutex_);
  const Span chunks = chunks_of(rows);
  for (std::uint64_t chunk = chunks.first; chunk <= chunks.last; ++chunk) {
    enter(chunk);
  }
  Status durable = out_.until_usable(lock);
  if (durable) {
    durable = out_.until_durable(lock, block_of(chunks.first), block_of(chunks.last));
  }
  for (std::uint64_t chunk = chunks.first; !durable && chunk <= chunks.last; ++chunk) {
    leave(chunk);
  }
  return durable;
}

void ClassicIntent::end_write(SectorRange rows, Written written, Ticks now) {
  const std::lock_guard lock(mutex_);
  const Span chunks = chunks_of(rows);
  for (std::uint64_t chunk = chunks.first; chunk <= chunks.last; ++chunk) {
    if (written == Written::no) {
      chunks_[chunk].spoiled = true;
      set_due(chunk);
    }
    leave(chunk);
  }
  if (written == Written::yes && !is_degraded()) {
    events_cleared_ = std::max(events_cleared_, events_);
  }
  arm(now);
}

bool ClassicIntent::trusts_parity(SectorRange rows) const {
  const std::lock_guard lock(mutex_);
  const Span chunks = chunks_of(rows);
  for (std::uint64_t chunk = chunks.first; chunk <= chunks.last; ++chunk) {
    if (chunks_[chunk].due) {
      return false;
    }
  }
  return true;
}

std::optional<SectorRange> ClassicIntent::start_sync(Sectors from) {
  const std::lock_guard lock(mutex_);
  if (is_degraded() || due_chunks_ == 0 || from >= component_) {
    return std::nullopt;
  }
  const Sectors size = bitmap_.chunk();
  for (std::uint64_t at = from / size + ((from % size).is_zero() ? 0 : 1); at < chunks_.size(); ++at) {
    if (chunks_[at].due && !chunks_[at].in_work) {
      chunks_[at].in_work = true;
      chunks_[at].spoiled = false;
      return rows_of(at);
    }
  }
  return std::nullopt;
}

void ClassicIntent::end_sync(SectorRange rows, Synced synced, Ticks now) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t at = chunks_of(rows).first;
  Chunk& chunk = chunks_[at];
  chunk.in_work = false;
  if (synced == Synced::yes && !chunk.spoiled) {
    chunk.due = false;
    --due_chunks_;
    let_age(at);
  }
  arm(now);
}

bool ClassicIntent::anything_due() const {
  const std::lock_guard lock(mutex_);
  return !is_degraded() && due_chunks_ != 0;
}

Sectors ClassicIntent::resync_offset() const {
  const std::lock_guard lock(mutex_);
  return due_chunks_ == 0 ? Sectors::max() : Sectors(0);
}

void ClassicIntent::arm(Ticks now) {
  if (!daemon_at_ && aging_chunks_ != 0) {
    daemon_at_ = now + std::chrono::seconds(std::max(bitmap_.header().daemon_sleep.value(), 1U));
  }
}

// True if the chunk's bit may be cleared after a flush.
bool ClassicIntent::pass(std::uint64_t chunk) {
  Chunk& c = chunks_[chunk];
  if (c.passes > 1) {
    --c.passes;
    return false;
  }
  c.prepared = c.passes == 1;
  return c.prepared;
}

bool ClassicIntent::prepare_to_clear(Ticks now) {
  const std::lock_guard lock(mutex_);
  arm(now);
  if (is_degraded() || !daemon_at_ || now < *daemon_at_) {
    return false;
  }
  bool any = false;
  for (std::size_t block = 0; block < aging_.size(); ++block) {
    if (aging_[block] == 0) {
      continue;
    }
    const Span chunks = chunks_of_block(block);
    for (std::uint64_t chunk = chunks.first; chunk <= chunks.last; ++chunk) {
      any = pass(chunk) || any;
    }
  }
  daemon_at_.reset();
  arm(now);
  return any;
}

// A member that comes back compares its events with this before it relies on clear bits. The kernel raises it with
// writes only: a member whose slot was rebuilt onto another meanwhile may then come back without a copy.
Status ClassicIntent::write_events_cleared(Lock& lock) {
  if (!is_degraded()) {
    events_cleared_ = std::max(events_cleared_, events_);
  }
  if (bitmap_.header().events_cleared != events_cleared_) {
    bitmap_.set_events(bitmap_.header().events, events_cleared_);
    out_.mark(0);
  }
  return out_.until_durable(lock, 0, 0);
}

Status ClassicIntent::clear_prepared(Ticks) {
  Lock lock(mutex_);
  TRY(usable, out_.until_usable(lock));
  TRY(cleared, write_events_cleared(lock));
  for (std::size_t block = 0; block < aging_.size() && !is_degraded(); ++block) {
    if (aging_[block] == 0) {
      continue;
    }
    const Span chunks = chunks_of_block(block);
    for (std::uint64_t chunk = chunks.first; chunk <= chunks.last; ++chunk) {
      if (chunks_[chunk].prepared) {
        chunks_[chunk].prepared = false;
        set_passes(chunk, 0);
        clear_bit(chunk);
      }
    }
  }
  if (aging_chunks_ == 0) {
    daemon_at_.reset();
  }
  return out_.until_all_durable(lock);
}

std::optional<Ticks> ClassicIntent::clears_in(Ticks now) const {
  const std::lock_guard lock(mutex_);
  if (is_degraded() || aging_chunks_ == 0) {
    return std::nullopt;
  }
  return daemon_at_ ? std::max(*daemon_at_ - now, Ticks(0)) : Ticks(0);
}

void ClassicIntent::degraded() {
  const std::lock_guard lock(mutex_);
  degraded_ = true;
}

Status ClassicIntent::write_header(std::uint64_t events) {
  Lock lock(mutex_);
  events_ = events;
  bitmap_.set_events(events, events_cleared_);
  out_.mark(0);
  return out_.until_all_durable(lock);
}

Status ClassicIntent::write_all(std::uint64_t events) {
  Lock lock(mutex_);
  TRY(usable, out_.until_usable(lock));
  TRY(cleared, write_events_cleared(lock));
  for (std::uint64_t chunk = 0; chunk < chunks_.size() && !is_degraded(); ++chunk) {
    if (!chunks_[chunk].due && bitmap_.is_set(chunk)) {
      clear_bit(chunk);
    }
  }
  events_ = events;
  bitmap_.set_events(events, events_cleared_);
  out_.mark(0);
  return out_.until_all_durable(lock);
}

}  // namespace mdtool
