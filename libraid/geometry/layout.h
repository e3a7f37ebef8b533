// SPDX-License-Identifier: GPL-2.0-or-later
// Where array sectors live, for levels 4, 5 and 6. Pure arithmetic: no devices, no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libmeta/result.h"
#include "libmeta/sectors.h"

namespace mdtool {

struct Geometry {
  std::int32_t level = 0;      // 4, 5 or 6
  std::uint32_t layout = 0;    // md's code; ignored for level 4
  std::uint32_t raid_disks = 0;
  Sectors chunk;               // power of two, at least 8
  Sectors component_size;      // per member as the superblock says; rounded down to whole chunks here
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

class Layout {
 public:
  // Refuses what it cannot map: unknown level or layout, too few or too many slots, a bad chunk, sizes that overflow.
  static Result<Layout> of(const Geometry&);

  const Geometry& geometry() const { return geometry_; }
  std::uint32_t data_disks() const { return geometry_.raid_disks - parity_disks(); }
  std::uint32_t parity_disks() const { return geometry_.level == 6 ? 2 : 1; }
  std::uint64_t stripes() const { return geometry_.component_size / geometry_.chunk; }
  Sectors array_size() const;
  Place data(Sectors array_sector) const;                   // of the sector; contiguous to the end of its chunk
  ParitySlots parity(std::uint64_t stripe) const;
  std::uint32_t data_slot(std::uint64_t stripe, std::uint32_t data_index) const;
  // The data index of a slot in a stripe, or none for P and Q.
  std::optional<std::uint32_t> data_index(std::uint64_t stripe, std::uint32_t slot) const;
  // The exponent k of the slot's block in Q = sum of 2^k * D; none for P and Q themselves.
  std::optional<std::uint32_t> q_exponent(std::uint64_t stripe, std::uint32_t slot) const;
  // The inverse of data(); none where the place holds parity.
  std::optional<Sectors> array_sector(Place) const;
  // True if this slot never holds data in this layout (level 4's parity disk, Q of the *_6 layouts, ...).
  bool only_parity(std::uint32_t slot) const;

 private:
  explicit Layout(const Geometry& g) : geometry_(g) {}
  Geometry geometry_;
};

// mdadm's long name ("left-symmetric"), also for layouts of levels 0 and 10; none where the level has no layouts
// or the code is unknown.
std::optional<std::string> layout_name(std::int32_t level, std::uint32_t layout);
// "raid5", "linear", ...; none if unknown.
std::optional<std::string> level_name(std::int32_t level);

}  // namespace mdtool
