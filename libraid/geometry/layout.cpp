// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/geometry/layout.h"

#include <array>
#include <bit>
#include <limits>
#include <span>

namespace mdtool {
namespace {

using P = Placement::P;
using Q = Placement::Q;
using Data = Placement::Data;
using Exponents = Placement::Exponents;

struct Code {
  std::uint32_t layout;  // ALGORITHM_* in drivers/md/raid5.h
  Placement placement;
};

// raid5_compute_sector() in drivers/md/raid5.c
constexpr std::array raid5_codes{
    Code{0, {P::descending, Q::none, Data::in_slot_order}}, Code{1, {P::ascending, Q::none, Data::in_slot_order}},
    Code{2, {P::descending, Q::none, Data::after_parity}},  Code{3, {P::ascending, Q::none, Data::after_parity}},
    Code{4, {P::first, Q::none, Data::in_slot_order}},      Code{5, {P::last, Q::none, Data::in_slot_order}},
};

constexpr std::array raid6_codes{
    Code{0, {P::descending, Q::after_p, Data::in_slot_order}},
    Code{1, {P::ascending, Q::after_p, Data::in_slot_order}},
    Code{2, {P::descending, Q::after_p, Data::after_parity}},
    Code{3, {P::ascending, Q::after_p, Data::after_parity}},
    Code{4, {P::first, Q::after_p, Data::in_slot_order}},
    Code{5, {P::last, Q::last, Data::in_slot_order}},
    Code{8, {P::ascending, Q::after_p, Data::in_slot_order, Exponents::slot}},
    Code{9, {P::descending_from_second, Q::after_p, Data::in_slot_order, Exponents::slot}},
    Code{10, {P::descending, Q::before_p, Data::after_parity, Exponents::slot}},
    Code{16, {P::descending, Q::last, Data::in_slot_order}},
    Code{17, {P::ascending, Q::last, Data::in_slot_order}},
    Code{18, {P::descending, Q::last, Data::after_parity}},
    Code{19, {P::ascending, Q::last, Data::after_parity}},
    Code{20, {P::first, Q::last, Data::in_slot_order}},
};

constexpr std::uint64_t min_chunk_sectors = 8;  // STRIPE_SIZE of 4 KiB
constexpr std::uint32_t max_roles = 0xff00;     // MD_DISK_ROLE_MAX: greater values in dev_roles[] are not slots
constexpr std::uint32_t q_exponents = 255;      // 2^255 = 1 again

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

std::optional<Placement> find(std::span<const Code> codes, std::uint32_t layout) {
  for (const Code& code : codes) {
    if (code.layout == layout) {
      return code.placement;
    }
  }
  return std::nullopt;
}

Result<Placement> placement_of(const Geometry& g) {
  if (g.level == 4) {
    return Placement{P::last, Q::none, Data::in_slot_order};
  }
  if (g.level != 5 && g.level != 6) {
    return refused("no geometry for level " + std::to_string(g.level));
  }
  const std::span<const Code> codes = g.level == 5 ? std::span<const Code>(raid5_codes) : raid6_codes;
  const auto placement = find(codes, g.layout);
  if (!placement) {
    return refused("RAID-" + std::to_string(g.level) + " has no layout " + std::to_string(g.layout));
  }
  return *placement;
}

struct Range {
  std::uint32_t low;
  std::uint32_t high;
};

Range possible_slots(const Placement& placement) {
  if (placement.q == Q::none) {
    return {2, max_roles};
  }
  // Where the exponent is the slot number, P and Q use up numbers too.
  return {4, placement.exponents == Exponents::slot ? q_exponents : q_exponents + 2};
}

// The stripe's number among `slots` positions, as far as it matters.
std::uint32_t turn(std::uint64_t stripe, std::uint32_t slots) {
  return static_cast<std::uint32_t>(stripe % slots);
}

// (to - from) in a circle of `slots`.
std::uint32_t distance(std::uint32_t from, std::uint32_t to, std::uint32_t slots) {
  return (to + slots - from) % slots;
}

}  // namespace

Result<Layout> Layout::of(const Geometry& geometry) {
  TRY(placement, placement_of(geometry));
  const Range slots = possible_slots(placement);
  if (geometry.raid_disks < slots.low || geometry.raid_disks > slots.high) {
    return refused(std::to_string(geometry.raid_disks) + " slots: this layout takes " + std::to_string(slots.low) +
                   " to " + std::to_string(slots.high));
  }
  const std::uint64_t chunk = geometry.chunk.count();
  if (chunk < min_chunk_sectors || !std::has_single_bit(chunk)) {
    return refused("a chunk of " + std::to_string(chunk) + " sectors: not a power of two of at least 8");
  }
  Layout layout(geometry, placement);
  layout.geometry_.component_size = geometry.chunk * layout.stripes();
  if (layout.geometry_.component_size.is_zero()) {
    return refused("the component size is below one chunk");
  }
  constexpr std::uint64_t max_sectors = std::numeric_limits<std::uint64_t>::max() / Sectors::bytes_each;
  if (layout.geometry_.component_size.count() > max_sectors / layout.data_disks()) {
    return refused("the array size in bytes does not fit 64 bits");
  }
  return layout;
}

std::uint32_t Layout::rotating_slots() const {
  return placement_.q == Q::last ? geometry_.raid_disks - 1 : geometry_.raid_disks;
}

std::uint32_t Layout::p_slot(std::uint64_t stripe) const {
  const std::uint32_t slots = rotating_slots();
  switch (placement_.p) {
    case P::first:
      return 0;
    case P::last:
      return slots - 1;
    case P::ascending:
      return turn(stripe, slots);
    case P::descending:
      return slots - 1 - turn(stripe, slots);
    case P::descending_from_second:
      return slots - 1 - (turn(stripe, slots) + 1) % slots;
  }
  return 0;
}

ParitySlots Layout::parity(std::uint64_t stripe) const {
  const std::uint32_t n = geometry_.raid_disks;
  const std::uint32_t p = p_slot(stripe);
  switch (placement_.q) {
    case Q::none:
      return {p, std::nullopt};
    case Q::after_p:
      return {p, p + 1 == n ? 0 : p + 1};
    case Q::before_p:
      return {p, p == 0 ? n - 1 : p - 1};
    case Q::last:
      return {p, n - 1};
  }
  return {p, std::nullopt};
}

// Of Data::after_parity: the slot behind P, or behind Q where that follows P.
std::uint32_t Layout::first_data_slot(const ParitySlots& parity_slots) const {
  const std::uint32_t behind = placement_.q == Q::after_p ? *parity_slots.q : parity_slots.p;
  return (behind + 1) % rotating_slots();
}

std::uint32_t Layout::data_slot(std::uint64_t stripe, std::uint32_t data_index) const {
  const ParitySlots skipped = parity(stripe);
  if (placement_.data == Data::after_parity) {
    return (first_data_slot(skipped) + data_index) % rotating_slots();
  }
  const std::uint32_t q = skipped.q.value_or(geometry_.raid_disks);
  const std::uint32_t low = skipped.p < q ? skipped.p : q;
  const std::uint32_t high = skipped.p < q ? q : skipped.p;
  std::uint32_t slot = data_index;
  slot += slot >= low ? 1 : 0;
  slot += slot >= high ? 1 : 0;
  return slot;
}

std::optional<std::uint32_t> Layout::data_index(std::uint64_t stripe, std::uint32_t slot) const {
  const ParitySlots skipped = parity(stripe);
  if (slot >= geometry_.raid_disks || slot == skipped.p || slot == skipped.q) {
    return std::nullopt;
  }
  if (placement_.data == Data::after_parity) {
    return distance(first_data_slot(skipped), slot, rotating_slots());
  }
  const std::uint32_t below_p = slot > skipped.p ? 1 : 0;
  const std::uint32_t below_q = skipped.q && slot > *skipped.q ? 1 : 0;
  return slot - below_p - below_q;
}

std::optional<std::uint32_t> Layout::q_exponent(std::uint64_t stripe, std::uint32_t slot) const {
  const ParitySlots skipped = parity(stripe);
  if (!skipped.q || slot >= geometry_.raid_disks || slot == skipped.p || slot == skipped.q) {
    return std::nullopt;
  }
  if (placement_.exponents == Exponents::slot) {
    return slot;
  }
  // raid6_d0() and set_syndrome_sources() in drivers/md/raid5.c: numbered from the slot behind Q, P skipped.
  const std::uint32_t n = geometry_.raid_disks;
  const std::uint32_t steps = distance(*skipped.q, slot, n) - 1;
  return distance(*skipped.q, skipped.p, n) <= steps ? steps - 1 : steps;
}

Place Layout::data(Sectors array_sector) const {
  const std::uint64_t chunk_number = array_sector / geometry_.chunk;
  const std::uint64_t stripe = chunk_number / data_disks();
  const auto index = static_cast<std::uint32_t>(chunk_number % data_disks());
  return {data_slot(stripe, index), geometry_.chunk * stripe + array_sector % geometry_.chunk};
}

std::optional<Sectors> Layout::array_sector(Place place) const {
  if (place.sector >= geometry_.component_size) {
    return std::nullopt;
  }
  const std::uint64_t stripe = place.sector / geometry_.chunk;
  const auto index = data_index(stripe, place.slot);
  if (!index) {
    return std::nullopt;
  }
  return geometry_.chunk * (stripe * data_disks() + *index) + place.sector % geometry_.chunk;
}

bool Layout::only_parity(std::uint32_t slot) const {
  const bool p_stays = placement_.p == P::first || placement_.p == P::last;
  const bool q_stays = placement_.q == Q::last || (p_stays && placement_.q != Q::none);
  const ParitySlots any = parity(0);
  return (p_stays && slot == any.p) || (q_stays && slot == any.q);
}

}  // namespace mdtool
