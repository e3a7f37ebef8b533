// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/overlay_index.h"

#include <sys/random.h>

#include <limits>

namespace mdtool {
namespace {

constexpr std::size_t first_slots = 64;
constexpr std::size_t most_blocks = std::numeric_limits<std::uint32_t>::max() - 1;

}  // namespace

OverlayIndex::OverlayIndex() {
  // Without it (no entropy yet) the table is only slower for a file that was made to be slow.
  [[maybe_unused]] const ssize_t got = ::getrandom(&seed_, sizeof seed_, GRND_NONBLOCK);
}

// The finalizer of SplitMix64 over a seed that whoever made the file cannot know.
std::size_t OverlayIndex::slot_of(std::uint32_t member, std::uint64_t block) const {
  std::uint64_t x = block ^ seed_ ^ (std::uint64_t{member} << 32 | member);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU + seed_;
  x = (x ^ (x >> 31)) * 0xbf58476d1ce4e5b9U;
  std::size_t slot = static_cast<std::size_t>(x ^ (x >> 29)) & (slots_.size() - 1);
  while (slots_[slot] != 0) {
    const OverlayBlock& there = blocks_[slots_[slot] - 1];
    if (there.block == block && there.member == member) {
      break;
    }
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

std::optional<std::size_t> OverlayIndex::find(std::uint32_t member, std::uint64_t block) const {
  if (slots_.empty()) {
    return std::nullopt;
  }
  const std::uint32_t number = slots_[slot_of(member, block)];
  return number == 0 ? std::nullopt : std::optional<std::size_t>(number - 1);
}

std::optional<std::size_t> OverlayIndex::add(const OverlayBlock& block) {
  if (2 * (used_ + 1) > slots_.size()) {
    grow();
  }
  const std::size_t slot = slot_of(block.member, block.block);
  if (slots_[slot] != 0 || blocks_.size() == most_blocks) {
    return std::nullopt;
  }
  blocks_.push_back(block);
  slots_[slot] = static_cast<std::uint32_t>(blocks_.size());
  ++used_;
  return blocks_.size() - 1;
}

void OverlayIndex::grow() {
  std::vector<std::uint32_t> old(slots_.empty() ? first_slots : 2 * slots_.size());
  old.swap(slots_);
  for (const std::uint32_t number : old) {
    if (number != 0) {
      slots_[slot_of(blocks_[number - 1].member, blocks_[number - 1].block)] = number;
    }
  }
}

}  // namespace mdtool
