// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/lockless_intent.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

namespace mdtool {

namespace {

using bitmap::Action;
using bitmap::ChunkState;
using enum bitmap::ChunkState;

constexpr std::uint64_t page_bytes = 4096;               // PAGE_SIZE
constexpr Ticks barrier_idle = std::chrono::seconds(5);  // DEFAULT_BARRIER_IDLE in md-llbitmap.c
constexpr std::uint64_t all = std::numeric_limits<std::uint64_t>::max();

bitmap::Lockless ready(bitmap::Lockless loaded, LocklessIntent::Loaded how, std::uint64_t events) {
  if (how == LocklessIntent::Loaded::first_use) {
    const ChunkState initial = (loaded.header().state & bitmap::state_clean) != 0 ? clean : unwritten;
    for (std::uint64_t chunk = 0; chunk < loaded.chunks(); ++chunk) {
      loaded.set(chunk, initial);
    }
    loaded.finish_first_use();
  }
  loaded.clear_flags();
  loaded.set_events(std::max<std::uint64_t>(loaded.header().events, events));
  return loaded;
}

bool is(std::uint8_t raw, ChunkState state) {
  return raw == static_cast<std::uint8_t>(state);
}

}  // namespace

LocklessIntent::LocklessIntent(bitmap::Lockless loaded, const Start& start, BitmapCopies copies)
    : walk_(ready(std::move(loaded), start.loaded, start.events), start.block_bytes),
      raid456_(start.raid456),
      degraded_(start.degraded),
      component_(start.component),
      chunks_(walk_.bitmap().chunks()),
      pages_(page_of(walk_.bitmap().chunks() - 1) + 1),
      out_(std::move(copies), walk_.bitmap().area_bytes(), start.block_bytes,
           [this](std::uint64_t from, std::span<std::byte> out) { walk_.bitmap().copy_out(from, out); }) {
  load(start);
}

void LocklessIntent::load(const Start& start) {
  if (start.loaded == Loaded::stale) {
    // The kernel leaves what it calls unwritten; but writes may be among the updates that it missed.
    for (std::uint64_t chunk = 0; chunk < chunks_.size(); ++chunk) {
      walk_.put(chunk, need_sync);
      if (!start.degraded) {
        set_crash_due(chunks_[chunk]);  // nothing proves that the parity of what is written there is right
      }
    }
  } else if (start.loaded == Loaded::believed) {
    walk_.apply(Action::reload, 0, all, condition());
  }
  for (std::uint64_t chunk = 0; chunk < chunks_.size() && !start.clean; ++chunk) {
    if (is(walk_.raw(chunk), need_sync)) {
      set_crash_due(chunks_[chunk]);
    }
  }
}

LocklessIntent::Span LocklessIntent::chunks_of(SectorRange rows) const {
  assert(!rows.count.is_zero());
  const Sectors chunk = walk_.bitmap().chunk();
  const std::uint64_t last = chunks_.size() - 1;
  return {std::min(rows.first / chunk, last), std::min((rows.end() - Sectors(1)) / chunk, last)};
}

// first > last: none.
LocklessIntent::Span LocklessIntent::chunks_inside(SectorRange rows) const {
  const Sectors chunk = walk_.bitmap().chunk();
  const std::uint64_t first = (rows.first + chunk - Sectors(1)) / chunk;
  const std::uint64_t end = rows.end() >= component_ ? chunks_.size() : rows.end() / chunk;
  return end == 0 ? Span{1, 0} : Span{first, end - 1};
}

LocklessIntent::Span LocklessIntent::chunks_of_page(std::uint64_t page) const {
  const std::uint64_t first = page * page_bytes;
  return {first < bitmap::lockless_states_offset ? 0 : first - bitmap::lockless_states_offset,
          first + page_bytes - bitmap::lockless_states_offset - 1};
}

SectorRange LocklessIntent::rows_of(std::uint64_t chunk) const {
  const Sectors size = walk_.bitmap().chunk();
  const Sectors first = size * chunk;
  return {first, std::min(size, component_ - first)};
}

std::uint64_t LocklessIntent::page_of(std::uint64_t chunk) {
  return (bitmap::lockless_states_offset + chunk) / page_bytes;
}

bool LocklessIntent::is_degraded() const {
  return degraded_ || !out_.members().complete();
}

bitmap::Condition LocklessIntent::condition() const {
  return {.degraded = is_degraded(), .raid456 = raid456_};
}

void LocklessIntent::enter(Span chunks) {
  for (std::uint64_t chunk = chunks.first; chunk <= chunks.last; ++chunk) {
    chunks_[chunk].shared = ++chunks_[chunk].in_flight > 1;
  }
  for (std::uint64_t page = page_of(chunks.first); page <= page_of(chunks.last); ++page) {
    ++pages_[page].in_flight;
    pages_[page].prepared = false;
  }
}

void LocklessIntent::leave(Span chunks) {
  for (std::uint64_t chunk = chunks.first; chunk <= chunks.last; ++chunk) {
    --chunks_[chunk].in_flight;
  }
  for (std::uint64_t page = page_of(chunks.first); page <= page_of(chunks.last); ++page) {
    --pages_[page].in_flight;
  }
}

Status LocklessIntent::start_write(SectorRange rows) {
  Lock lock(mutex_);
  const Span chunks = chunks_of(rows);
  enter(chunks);
  keep_parity_in_mind(chunks);
  walk_.apply(Action::start_write, chunks.first, chunks.last, condition());
  return settle(lock, chunks);
}

// What is written while a member is missing needs a sync for its sake; the parity is as good as it was.
void LocklessIntent::keep_parity_in_mind(Span chunks) {
  for (std::uint64_t chunk = chunks.first; is_degraded() && chunk <= chunks.last; ++chunk) {
    chunks_[chunk].keeps_parity = trusts(chunk);
  }
}

Status LocklessIntent::start_discard(SectorRange rows) {
  Lock lock(mutex_);
  const Span chunks = chunks_of(rows);
  enter(chunks);
  keep_parity_in_mind(chunks);
  for (std::uint64_t chunk = chunks.first; chunk <= chunks.last; ++chunk) {
    mark_for_discard(chunk);
  }
  return settle(lock, chunks);
}

// A cut must not find parity promised that is being zeroed.
void LocklessIntent::mark_for_discard(std::uint64_t chunk) {
  if (is(walk_.raw(chunk), clean) || is(walk_.raw(chunk), clean_unwritten)) {
    walk_.put_marked(chunk, is_degraded() ? need_sync : dirty);
  }
}

// The marks of these chunks are durable, or their write has not begun.
Status LocklessIntent::settle(Lock& lock, Span chunks) {
  const std::uint64_t first = walk_.block_of(chunks.first);
  const std::uint64_t last = walk_.block_of(chunks.last);
  pass_on_waiting(first, last);
  Status durable = out_.until_usable(lock);
  if (durable) {
    durable = out_.until_durable(lock, first, last);
  }
  if (!durable) {
    leave(chunks);
  }
  return durable;
}

void LocklessIntent::pass_on_waiting(std::uint64_t first_block, std::uint64_t last_block) {
  for (std::uint64_t block = first_block; block <= last_block; ++block) {
    if (walk_.take_waiting(block)) {
      out_.mark(block);
    }
  }
}

void LocklessIntent::end_write(SectorRange rows, Written written, Ticks now) {
  const std::lock_guard lock(mutex_);
  const Span chunks = chunks_of(rows);
  leave(chunks);
  for (std::uint64_t page = page_of(chunks.first); page <= page_of(chunks.last); ++page) {
    pages_[page].last_write = now;
  }
  for (std::uint64_t chunk = chunks.first; written == Written::no && chunk <= chunks.last; ++chunk) {
    spoil(chunk);
  }
  arm(now);
}

// No transition of the kernel's: it drags nobody along.
void LocklessIntent::spoil(std::uint64_t chunk) {
  chunks_[chunk].keeps_parity = false;
  set_crash_due(chunks_[chunk]);
  if (is(walk_.raw(chunk), syncing) || is(walk_.raw(chunk), syncing_unwritten)) {
    chunks_[chunk].spoiled = true;
  } else {
    walk_.put(chunk, need_sync);
    out_.mark(static_cast<std::size_t>(walk_.block_of(chunk)));
  }
}

void LocklessIntent::set_crash_due(Chunk& chunk) {
  crash_due_ += chunk.crash_due ? 0U : 1U;
  chunk.crash_due = true;
}

void LocklessIntent::clear_crash_due(Chunk& chunk) {
  crash_due_ -= chunk.crash_due ? 1U : 0U;
  chunk.crash_due = false;
}

void LocklessIntent::discard(SectorRange rows) {
  const std::lock_guard lock(mutex_);
  if (is_degraded()) {
    return;  // a member that comes back would keep what it has in chunks that ask for nothing
  }
  const Span chunks = chunks_inside(rows);
  for (std::uint64_t chunk = chunks.first; chunk <= chunks.last && chunk < chunks_.size(); ++chunk) {
    if (chunks_[chunk].in_flight == 1 && !chunks_[chunk].shared) {
      walk_.apply(Action::discard, chunk, chunk, condition());
      clear_crash_due(chunks_[chunk]);
    }
  }
}

bool LocklessIntent::trusts(std::uint64_t chunk) const {
  const std::uint8_t raw = walk_.raw(chunk);
  return bitmap::parity_is_promised(raw) || is(raw, dirty) || (is(raw, need_sync) && chunks_[chunk].keeps_parity);
}

bool LocklessIntent::trusts_parity(SectorRange rows) const {
  const std::lock_guard lock(mutex_);
  const Span chunks = chunks_of(rows);
  for (std::uint64_t chunk = chunks.first; chunk <= chunks.last; ++chunk) {
    if (!trusts(chunk)) {
      return false;
    }
  }
  return true;
}

std::optional<SectorRange> LocklessIntent::start_sync(Sectors from) {
  const std::lock_guard lock(mutex_);
  const Sectors size = walk_.bitmap().chunk();
  if (is_degraded() || from >= component_) {
    return std::nullopt;
  }
  const auto chunk = walk_.next_due(from / size + ((from % size).is_zero() ? 0 : 1));
  if (!chunk) {
    return std::nullopt;
  }
  chunks_[*chunk].spoiled = false;
  walk_.apply(Action::start_sync, *chunk, *chunk, condition());
  return rows_of(*chunk);
}

void LocklessIntent::end_sync(SectorRange rows, Synced synced, Ticks now) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t at = chunks_of(rows).first;
  Chunk& chunk = chunks_[at];
  const bool right = synced == Synced::yes && !chunk.spoiled;
  if (right) {
    clear_crash_due(chunk);
  }
  chunk.keeps_parity = right && is_degraded();
  walk_.apply(right && !is_degraded() ? Action::end_sync : Action::abort_sync, at, at, condition());
  pages_[page_of(at)].prepared = false;  // this parity came after the flush
  arm(now);
}

bool LocklessIntent::anything_due() const {
  const std::lock_guard lock(mutex_);
  return !is_degraded() && walk_.count(need_sync) + walk_.count(syncing) + walk_.count(need_sync_unwritten) +
                                   walk_.count(syncing_unwritten) !=
                               0;
}

Sectors LocklessIntent::resync_offset() const {
  const std::lock_guard lock(mutex_);
  return crash_due_ == 0 ? Sectors::max() : Sectors(0);
}

void LocklessIntent::arm(Ticks now) {
  if (!daemon_at_ && walk_.count(dirty) != 0) {
    daemon_at_ = now + std::chrono::seconds(std::max(walk_.bitmap().header().daemon_sleep.value(), 1U));
  }
}

bool LocklessIntent::is_ripe(std::uint64_t page, Ticks now) const {
  const Page& p = pages_[page];
  return p.in_flight == 0 && (!p.last_write || now >= *p.last_write + barrier_idle);
}

bool LocklessIntent::prepare_to_clear(Ticks now) {
  const std::lock_guard lock(mutex_);
  arm(now);
  if (is_degraded() || !daemon_at_ || now < *daemon_at_) {
    return false;
  }
  bool any = false;
  for (std::uint64_t page = 0; page < pages_.size(); ++page) {
    pages_[page].prepared = is_ripe(page, now);
    any = any || pages_[page].prepared;
  }
  daemon_at_.reset();
  arm(now);
  return any && walk_.count(dirty) != 0;
}

Status LocklessIntent::clear_prepared(Ticks) {
  const std::lock_guard lock(mutex_);
  for (std::uint64_t page = 0; page < pages_.size() && !is_degraded(); ++page) {
    if (std::exchange(pages_[page].prepared, false)) {
      const Span chunks = chunks_of_page(page);
      walk_.apply(Action::daemon, chunks.first, chunks.last, condition());
    }
  }
  if (walk_.count(dirty) == 0) {
    daemon_at_.reset();
  }
  return Done{};
}

std::optional<Ticks> LocklessIntent::clears_in(Ticks now) const {
  const std::lock_guard lock(mutex_);
  if (is_degraded() || walk_.count(dirty) == 0) {
    return std::nullopt;
  }
  return daemon_at_ ? std::max(*daemon_at_ - now, Ticks(0)) : Ticks(0);
}

void LocklessIntent::degraded() {
  const std::lock_guard lock(mutex_);
  degraded_ = true;
}

Status LocklessIntent::write_everything(Lock& lock) {
  pass_on_waiting(0, walk_.block_of(chunks_.size() - 1));
  out_.mark(0);
  return out_.until_all_durable(lock);
}

Status LocklessIntent::write_header(std::uint64_t events) {
  Lock lock(mutex_);
  walk_.bitmap().set_events(events);
  return write_everything(lock);
}

Status LocklessIntent::write_all(std::uint64_t events) {
  Lock lock(mutex_);
  walk_.apply(Action::abort_sync, 0, all, condition());
  if (!is_degraded()) {
    walk_.apply(Action::daemon, 0, all, condition());
  }
  walk_.bitmap().set_events(events);
  out_.mark_all();
  return write_everything(lock);
}

}  // namespace mdtool
