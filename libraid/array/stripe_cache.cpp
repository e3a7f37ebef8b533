// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/stripe_cache.h"

#include <algorithm>
#include <bit>
#include <cstdint>

namespace mdtool {

namespace {

constexpr std::size_t page_bytes = 4096;
// Blocks at equal offsets in their pages would share one cache set.
constexpr std::size_t stagger_bytes = 512;
constexpr std::size_t fewest_workspaces = 2;
constexpr std::size_t most_workspaces = 16;  // below the bits of free_
// Every gathered request cuts a block twice at most.
constexpr std::size_t reserved_cuts = 256;

}  // namespace

Workspace::Workspace(std::uint32_t slots, std::size_t block_bytes) {
  const std::size_t count = std::size_t{slots} + 2;
  const std::size_t stride = block_bytes + stagger_bytes;
  pool_.resize(count * stride + page_bytes);
  const std::size_t misaligned = reinterpret_cast<std::uintptr_t>(pool_.data()) % page_bytes;
  std::byte* at = pool_.data() + (page_bytes - misaligned) % page_bytes;
  buffers_.reserve(count);
  for (std::size_t i = 0; i < count; ++i, at += stride) {
    buffers_.push_back(at);
  }
  sources.reserve(2 * count);
  coefficients.reserve(2 * count);
  exponents.resize(slots);
  lost.reserve(slots);
  unread.resize(slots);
  cuts.reserve(reserved_cuts);
  data_slots.resize(slots);
  fresh.resize(slots);
}

StripeCache::StripeCache(std::uint32_t slots, Sectors rows, std::size_t memory_bytes) : rows_(rows) {
  const std::size_t each = (slots + 2) * rows.bytes();
  const std::size_t count = std::clamp(memory_bytes / each, fewest_workspaces, most_workspaces);
  for (std::size_t i = 0; i < count; ++i) {
    workspaces_.push_back(std::make_unique<Workspace>(slots, rows.bytes()));
  }
  free_ = (std::uint32_t{1} << count) - 1;
}

// The lowest one, which the processor's cache remembers best.
std::size_t StripeCache::take_workspace() {
  std::uint32_t free = free_;
  while (true) {
    if (free == 0) {
      free_.wait(0);
      free = free_;
    } else if (free_.compare_exchange_weak(free, free & (free - 1))) {
      return static_cast<std::size_t>(std::countr_zero(free));
    }
  }
}

void StripeCache::give_back(std::size_t workspace) {
  free_ |= std::uint32_t{1} << workspace;
  free_.notify_one();
}

StripeCache::Lease::Lease(StripeCache& cache, std::uint64_t stripe) : cache_(cache), stripe_(stripe) {
  Line& line = cache_.line_of(stripe_);
  {
    std::unique_lock lock(line.mutex);
    line.changed.wait(lock, [&] { return !line.leased; });
    line.leased = true;
  }
  // Only after the stripe: whoever holds a workspace waits for no stripe.
  workspace_ = cache_.take_workspace();
}

StripeCache::Lease::~Lease() {
  cache_.give_back(workspace_);
  Line& line = cache_.line_of(stripe_);
  {
    const std::lock_guard lock(line.mutex);
    line.leased = false;
  }
  line.changed.notify_all();
}

std::size_t StripeCache::gather(Line& line, std::uint64_t stripe, std::array<Waiting*, most_gathered>& batch) {
  std::size_t count = 0;
  Waiting** link = &line.first;
  while (*link != nullptr && count < batch.size()) {
    Waiting* waiting = *link;
    if (waiting->stripe == stripe) {
      *link = waiting->next;
      batch[count++] = waiting;
    } else {
      link = &waiting->next;
    }
  }
  while (*link != nullptr) {
    link = &(*link)->next;
  }
  line.last = link;
  return count;
}

Status StripeCache::update(std::uint64_t stripe, const WriteRequest& request, const Update& update) {
  Line& line = line_of(stripe);
  Waiting mine{.stripe = stripe, .request = &request};
  std::unique_lock lock(line.mutex);
  *line.last = &mine;
  line.last = &mine.next;
  while (true) {
    line.changed.wait(lock, [&] { return mine.done || !line.leased; });
    if (mine.done) {
      return std::move(mine.status);
    }
    line.leased = true;
    std::array<Waiting*, most_gathered> batch{};
    const std::size_t count = gather(line, stripe, batch);
    lock.unlock();
    const Status status = update_gathered(std::span(batch).first(count), update);
    lock.lock();
    for (Waiting* waiting : std::span(batch).first(count)) {
      waiting->status = status;
      waiting->done = true;
    }
    line.leased = false;
    line.changed.notify_all();
  }
}

Status StripeCache::update_gathered(std::span<Waiting* const> batch, const Update& update) {
  std::array<const WriteRequest*, most_gathered> requests{};
  std::transform(batch.begin(), batch.end(), requests.begin(), [](const Waiting* w) { return w->request; });
  const std::size_t workspace = take_workspace();
  Status status = update(std::span(requests).first(batch.size()), *workspaces_[workspace]);
  give_back(workspace);
  return status;
}

}  // namespace mdtool
