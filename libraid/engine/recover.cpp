// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/engine/recover.h"

#include <algorithm>

#include "libraid/parity/recover.h"

namespace mdtool {

namespace {

// What is read of each member at a time: one stripe of this size stays within L2.
constexpr std::size_t piece_bytes = std::size_t{64} * 1024;
// Page-aligned members collide in one L1 set.
constexpr std::size_t stagger_bytes = 512;
constexpr std::size_t pitch_bytes = piece_bytes + stagger_bytes;
// A device that fails a long read may still give most of it; md itself works in these units.
constexpr Sectors smallest_piece(8);

struct Position {
  bool inside;
  Sectors until;  // first sector where `inside` may change
};

Position position_in(const std::vector<SectorRange>& ranges, Sectors sector) {
  const auto next =
      std::partition_point(ranges.begin(), ranges.end(), [&](const SectorRange& r) { return r.end() <= sector; });
  if (next == ranges.end()) {
    return {false, Sectors::max()};
  }
  return next->first <= sector ? Position{true, next->end()} : Position{false, next->first};
}

bool contains(const std::vector<std::uint32_t>& slots, std::uint32_t slot) {
  return std::find(slots.begin(), slots.end(), slot) != slots.end();
}

}  // namespace

void append_range(std::vector<SectorRange>& ranges, SectorRange next) {
  if (!ranges.empty() && ranges.back().end() >= next.first) {
    ranges.back().count = std::max(ranges.back().end(), next.end()) - ranges.back().first;
  } else {
    ranges.push_back(next);
  }
}

MemberRecovery::MemberRecovery(const Layout& layout, std::vector<RecoverMember> members, const parity::Kernels& kernels)
    : layout_(layout),
      members_(std::move(members)),
      kernels_(&kernels),
      pool_(members_.size() * pitch_bytes),
      read_(members_.size()),
      written_(members_.size()) {}

Result<RecoverOutcome> MemberRecovery::fill(SectorRange range) {
  RecoverOutcome outcome;
  while (!range.count.is_zero()) {
    const SectorRange piece = uniform_piece(range);
    TRY(done, fill_piece(piece, outcome));
    range = {piece.end(), range.end() - piece.end()};
  }
  return outcome;
}

// The start of the range, as far as the same members can be read there and all of it is one stripe.
SectorRange MemberRecovery::uniform_piece(SectorRange range) const {
  const Sectors chunk = layout_.geometry().chunk;
  Sectors end = std::min(range.end(), range.first + (chunk - range.first % chunk));
  end = std::min(end, range.first + Sectors::from_bytes(piece_bytes));
  for (const RecoverMember& m : members_) {
    end = std::min({end, position_in(m.lacks, range.first).until, position_in(m.bad, range.first).until});
  }
  return {range.first, end - range.first};
}

bool MemberRecovery::lacks(std::uint32_t slot, Sectors sector) const {
  return members_[slot].device != nullptr && position_in(members_[slot].lacks, sector).inside;
}

std::vector<std::uint32_t> MemberRecovery::unreadable_slots(Sectors sector) const {
  std::vector<std::uint32_t> slots;
  for (std::uint32_t slot = 0; slot < members_.size(); ++slot) {
    const RecoverMember& m = members_[slot];
    if (m.device == nullptr || position_in(m.lacks, sector).inside || position_in(m.bad, sector).inside) {
      slots.push_back(slot);
    }
  }
  return slots;
}

Status MemberRecovery::fill_piece(SectorRange range, RecoverOutcome& outcome) {
  std::vector<std::uint32_t> lost = unreadable_slots(range.first);
  const bool wanted =
      std::any_of(lost.begin(), lost.end(), [&](std::uint32_t slot) { return lacks(slot, range.first); });
  if (!wanted) {
    return Done{};
  }
  if (lost.size() > layout_.parity_disks()) {
    leave(range, outcome);
    return Done{};
  }
  const std::vector<std::uint32_t> failed = read_blocks(range, lost);
  if (!failed.empty() && range.count > smallest_piece) {
    return fill_in_parts(range, outcome);
  }
  lost.insert(lost.end(), failed.begin(), failed.end());
  if (lost.size() > layout_.parity_disks()) {
    leave(range, outcome);
    return Done{};
  }
  return compute_and_write(range, lost, outcome);
}

Status MemberRecovery::fill_in_parts(SectorRange range, RecoverOutcome& outcome) {
  for (Sectors at = range.first; at < range.end(); at += smallest_piece) {
    TRY(done, fill_piece({at, std::min(smallest_piece, range.end() - at)}, outcome));
  }
  return Done{};
}

// Every block but the lost ones into the pool; which of them could not be read.
std::vector<std::uint32_t> MemberRecovery::read_blocks(SectorRange range, const std::vector<std::uint32_t>& lost) {
  std::vector<std::uint32_t> failed;
  const std::size_t bytes = range.count.bytes();
  for (std::uint32_t slot = 0; slot < members_.size(); ++slot) {
    if (contains(lost, slot)) {
      continue;
    }
    const RecoverMember& m = members_[slot];
    if (m.device->read((m.data_offset + range.first).bytes(), {pool_.data() + slot * pitch_bytes, bytes})) {
      read_[slot] += bytes;
    } else {
      failed.push_back(slot);
    }
  }
  return failed;
}

Status MemberRecovery::compute_and_write(SectorRange range, const std::vector<std::uint32_t>& lost,
                                         RecoverOutcome& outcome) {
  const std::uint64_t stripe = range.first / layout_.geometry().chunk;
  const ParitySlots parity = layout_.parity(stripe);
  std::vector<parity::MutableBlock> blocks(members_.size());
  std::vector<std::optional<std::uint32_t>> exponents(members_.size());
  for (std::uint32_t slot = 0; slot < members_.size(); ++slot) {
    blocks[slot] = pool_.data() + slot * pitch_bytes;
    exponents[slot] = layout_.q_exponent(stripe, slot);
  }
  const std::size_t bytes = range.count.bytes();
  const parity::Row row{blocks, exponents, parity.p, parity.q, bytes};
  TRY(computed, parity::recover(*kernels_, row, lost));
  if (lost.size() < layout_.parity_disks() && !parity::consistent(*kernels_, row)) {
    append_range(outcome.disagreeing, range);
  }
  for (const std::uint32_t slot : lost) {
    if (!lacks(slot, range.first)) {
      continue;
    }
    const RecoverMember& m = members_[slot];
    TRY(written, m.device->write((m.data_offset + range.first).bytes(), {blocks[slot], bytes})
                     .in("slot " + std::to_string(slot)));
    written_[slot] += bytes;
  }
  return Done{};
}

void MemberRecovery::leave(SectorRange range, RecoverOutcome& outcome) const {
  for (std::uint32_t slot = 0; slot < members_.size(); ++slot) {
    if (lacks(slot, range.first)) {
      outcome.left.push_back({slot, range});
    }
  }
}

Status MemberRecovery::flush() {
  for (std::uint32_t slot = 0; slot < members_.size(); ++slot) {
    if (members_[slot].device != nullptr && !members_[slot].lacks.empty()) {
      TRY(done, members_[slot].device->flush().in("slot " + std::to_string(slot)));
    }
  }
  return Done{};
}

}  // namespace mdtool
