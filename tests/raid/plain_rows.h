// SPDX-License-Identifier: GPL-2.0-or-later
// Members of a small array made, and judged, byte by byte with the plainest arithmetic: what engines are tested
// against.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

#include "libraid/geometry/layout.h"
#include "libraid/io/memory.h"

namespace mdtool::test {

inline unsigned plain_double(unsigned x) {
  return ((x << 1) ^ ((x & 0x80) != 0 ? 0x1d : 0)) & 0xff;
}

inline unsigned plain_multiply_by_power(unsigned x, std::uint32_t power) {
  for (std::uint32_t i = 0; i < power; ++i) {
    x = plain_double(x);
  }
  return x;
}

struct Members {
  std::vector<std::unique_ptr<MemoryDevice>> devices;  // by slot
  std::vector<std::byte> content;                      // of the array
};

struct PlainParity {
  std::vector<std::byte> p, q;
};

// P and Q of one sector of every member; `sectors` by slot.
inline PlainParity plain_parity(const Layout& layout, std::uint64_t stripe,
                                const std::vector<std::vector<std::byte>>& sectors) {
  PlainParity out{std::vector<std::byte>(512), std::vector<std::byte>(512)};
  for (std::uint32_t slot = 0; slot < sectors.size(); ++slot) {
    if (!layout.data_index(stripe, slot)) {
      continue;
    }
    const std::uint32_t power = layout.q_exponent(stripe, slot).value_or(0);
    for (std::size_t i = 0; i < 512; ++i) {
      out.p[i] ^= sectors[slot][i];
      out.q[i] ^= static_cast<std::byte>(plain_multiply_by_power(std::to_integer<unsigned>(sectors[slot][i]), power));
    }
  }
  return out;
}

inline std::vector<std::vector<std::byte>> read_row(const std::vector<const Source*>& members, Sectors data_offset,
                                                    Sectors sector) {
  std::vector<std::vector<std::byte>> row;
  for (const Source* m : members) {
    row.emplace_back(512);
    EXPECT_TRUE(m->read((data_offset + sector).bytes(), row.back()));
  }
  return row;
}

// True if P (and Q) of this member sector agree with the data.
inline bool row_is_right(const Layout& layout, const std::vector<const Source*>& members, Sectors data_offset,
                         Sectors sector) {
  const std::uint64_t stripe = sector / layout.geometry().chunk;
  const auto row = read_row(members, data_offset, sector);
  const PlainParity right = plain_parity(layout, stripe, row);
  const ParitySlots slots = layout.parity(stripe);
  return row[slots.p] == right.p && (!slots.q || row[*slots.q] == right.q);
}

inline void spoil(BlockDevice& device, std::uint64_t from, std::uint64_t to) {
  std::vector<std::byte> bytes(to - from);
  EXPECT_TRUE(device.read(from, bytes));
  for (std::byte& b : bytes) {
    b ^= std::byte{0x5a};
  }
  EXPECT_TRUE(device.write(from, bytes));
}

// Random content with right parity.
inline Members make_members(const Layout& layout, Sectors data_offset, unsigned seed) {
  Members out;
  std::mt19937 random(seed);
  const Geometry& g = layout.geometry();
  out.content.resize(layout.array_size().bytes());
  for (std::byte& b : out.content) {
    b = static_cast<std::byte>(random());
  }
  for (std::uint32_t slot = 0; slot < g.raid_disks; ++slot) {
    out.devices.push_back(std::make_unique<MemoryDevice>(
        std::vector<std::byte>((data_offset + g.component_size).bytes(), std::byte{0xee})));
  }
  for (Sectors at; at < layout.array_size(); at += Sectors(1)) {
    const Place place = layout.data(at);
    EXPECT_TRUE(out.devices[place.slot]->write((data_offset + place.sector).bytes(),
                                               std::span(out.content).subspan(at.bytes(), 512)));
  }
  std::vector<const Source*> sources;
  for (const auto& d : out.devices) {
    sources.push_back(d.get());
  }
  for (Sectors at; at < g.component_size; at += Sectors(1)) {
    const std::uint64_t stripe = at / g.chunk;
    const PlainParity right = plain_parity(layout, stripe, read_row(sources, data_offset, at));
    const ParitySlots slots = layout.parity(stripe);
    EXPECT_TRUE(out.devices[slots.p]->write((data_offset + at).bytes(), right.p));
    if (slots.q) {
      EXPECT_TRUE(out.devices[*slots.q]->write((data_offset + at).bytes(), right.q));
    }
  }
  return out;
}

}  // namespace mdtool::test
