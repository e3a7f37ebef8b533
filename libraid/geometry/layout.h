// SPDX-License-Identifier: GPL-2.0-or-later
// Where array sectors live, for levels 4, 5 and 6. Pure arithmetic: no devices, no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "libmeta/result.h"
#include "libmeta/sectors.h"

namespace mdtool {

struct Geometry {
  std::int32_t level = 0;    // 4, 5 or 6
  std::uint32_t layout = 0;  // md's code; ignored for level 4
  std::uint32_t raid_disks = 0;
  Sectors chunk;           // power of two, at least 8
  Sectors component_size;  // per member as the superblock says; rounded down to whole chunks here
};

struct Place {
  std::uint32_t slot = 0;
  Sectors sector;  // component sectors: from data_offset
  friend bool operator==(const Place&, const Place&) = default;
};

struct ParitySlots {
  std::uint32_t p = 0;
  std::optional<std::uint32_t> q;
};

// How a layout fills the slots of a stripe: each of md's layouts is a combination of these.
struct Placement {
  enum class P : std::uint8_t { first, last, ascending, descending, descending_from_second };
  enum class Q : std::uint8_t { none, after_p, before_p, last };  // last: P and data rotate over the slots below it
  enum class Data : std::uint8_t { in_slot_order, after_parity };
  enum class Exponents : std::uint8_t { order_after_q, slot };
  P p = P::last;
  Q q = Q::none;
  Data data = Data::in_slot_order;
  Exponents exponents = Exponents::order_after_q;
};

class Layout {
 public:
  // Refuses what it cannot map: unknown level or layout, too few or too many slots, a bad chunk, a component below one
  // chunk, an array whose size in bytes does not fit 64 bits.
  static Result<Layout> of(const Geometry&);

  // As given, with component_size rounded down to whole chunks.
  const Geometry& geometry() const { return geometry_; }
  std::uint32_t data_disks() const { return geometry_.raid_disks - parity_disks(); }
  std::uint32_t parity_disks() const { return geometry_.level == 6 ? 2 : 1; }
  std::uint64_t stripes() const { return geometry_.component_size / geometry_.chunk; }
  Sectors array_size() const { return geometry_.component_size * data_disks(); }
  Place data(Sectors array_sector) const;  // of the sector; contiguous to the end of its chunk
  ParitySlots parity(std::uint64_t stripe) const;
  std::uint32_t data_slot(std::uint64_t stripe, std::uint32_t data_index) const;
  // The data index of a slot in a stripe, or none for P and Q.
  std::optional<std::uint32_t> data_index(std::uint64_t stripe, std::uint32_t slot) const;
  // The exponent k of the slot's block in Q = sum of 2^k * D, below 255; none for P and Q themselves and where the
  // level has no Q.
  std::optional<std::uint32_t> q_exponent(std::uint64_t stripe, std::uint32_t slot) const;
  // The inverse of data(); none where the place holds parity or lies beyond the component.
  std::optional<Sectors> array_sector(Place) const;
  // True if this slot never holds data in this layout (level 4's parity disk, Q of the *_6 layouts, ...).
  bool only_parity(std::uint32_t slot) const;

 private:
  Layout(const Geometry& geometry, Placement placement) : geometry_(geometry), placement_(placement) {}
  std::uint32_t rotating_slots() const;
  std::uint32_t p_slot(std::uint64_t stripe) const;
  std::uint32_t first_data_slot(const ParitySlots&) const;

  Geometry geometry_;
  Placement placement_;
};

// mdadm's long name ("left-symmetric"), also for layouts of levels 0 and 10; none where the level has no layouts
// or the code is unknown.
std::optional<std::string> layout_name(std::int32_t level, std::uint32_t layout);
// "raid5", "linear", ...; none if unknown.
std::optional<std::string> level_name(std::int32_t level);

}  // namespace mdtool
