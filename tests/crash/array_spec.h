// SPDX-License-Identifier: GPL-2.0-or-later
// The laboratory's small arrays: where their sectors lie (by arithmetic of its own, which shares nothing with the
// engine's), what is in them, and members that hold one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libmeta/bitmap/header.h"
#include "tests/crash/simulated_device.h"

namespace mdtool::crash {

struct ArraySpec {
  std::int32_t level = 5;
  std::uint32_t layout = 2;  // left-symmetric; 0: left-asymmetric (RAID-5 only)
  std::uint32_t slots = 4;
  std::uint64_t chunk = 8;       // sectors
  std::uint64_t component = 64;  // sectors, whole chunks
  enum class Metadata : std::uint8_t { v1_2, v0_90 } metadata = Metadata::v1_2;
  bitmap::Kind bitmap = bitmap::Kind::classic;
  std::uint64_t bitmap_chunk = 8;        // sectors
  std::optional<std::uint32_t> missing;  // this slot has no member
  bool interrupted = false;              // as after a power cut: dirty, with wrong parity where that is to be expected
  std::uint64_t seed = 1;

  std::uint32_t parity_disks() const { return level == 6 ? 2 : 1; }
  std::uint32_t data_disks() const { return slots - parity_disks(); }
  std::uint64_t rows() const { return component; }
  std::uint64_t array_sectors() const { return component * data_disks(); }
  std::uint64_t stripe_sectors() const { return chunk * data_disks(); }
  std::uint64_t bitmap_chunks() const { return (component + bitmap_chunk - 1) / bitmap_chunk; }
  std::uint64_t data_offset() const { return metadata == Metadata::v1_2 ? 32 : 0; }  // sectors
  std::uint64_t member_sectors() const;
  std::uint64_t superblock_sector() const;
  std::uint64_t superblock_sectors() const { return metadata == Metadata::v1_2 ? 2 : 8; }
  std::uint64_t bitmap_sector() const { return superblock_sector() + 8; }
  std::string name() const;

  // The slot and component sector of an array sector; and the reverse, none for parity.
  struct Place {
    std::uint32_t slot;
    std::uint64_t row;
  };
  Place place(std::uint64_t array_sector) const;
  std::optional<std::uint64_t> array_sector(Place) const;
  // The row of a member's sector, where that belongs to the data area.
  std::optional<std::uint64_t> row_of(std::uint64_t member_sector) const;
  std::uint32_t p_slot(std::uint64_t row) const;
  // The slot of the data block with this exponent of 2 in Q, which is also its index.
  std::uint32_t data_slot(std::uint64_t row, std::uint32_t index) const;
};

constexpr std::uint64_t first_events = 20;

// The bytes that an array sector holds in one of its versions; 0 is what it held at the start.
void fill_sector(std::byte* out, std::uint64_t array_sector, std::uint64_t version);

// Members by slot; the image of a missing one is empty.
std::vector<Image> make_members(const ArraySpec&);

// A believed state of the lockless bitmap's chunk at the start, for every kind of chunk there is.
std::uint8_t first_state(const ArraySpec&, std::uint64_t bitmap_chunk);

// Rows whose parity nobody promises at the start, and that are wrong then.
bool starts_wrong(const ArraySpec&, std::uint64_t row);

}  // namespace mdtool::crash
