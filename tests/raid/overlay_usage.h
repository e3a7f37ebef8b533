// SPDX-License-Identifier: GPL-2.0-or-later
// What using an array above its overlay leaves there, made by hand: data with its parity, bitmap, superblocks.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "libraid/engine/sync.h"
#include "tests/raid/overlaid_members.h"
#include "tests/raid/scratch.h"

namespace mdtool::test {

inline std::size_t device_of(const Member& m) {
  return static_cast<std::size_t>(std::stoi(m.candidate->identity));
}

// What an array that is used above the overlay leaves there: data and parity of some ranges, bitmap, superblocks.
class Usage {
 public:
  explicit Usage(Bench& bench) : bench_(bench), a_(bench.above().array()), layout_(bench.above().layout()) {}

  // New data in these rows, and parity to it.
  void write(SectorRange rows, std::uint64_t seed) {
    std::vector<SyncMember> members(a_.slots());
    for (std::uint32_t slot = 0; slot < a_.slots(); ++slot) {
      const Member* m = a_.in_slot(slot);
      if (m == nullptr || lost_.contains(slot)) {
        continue;
      }
      const Sectors offset = m->description().data_offset;
      members[slot] = {&device(*m), offset, Sectors::max(), {}};
      const auto bytes = pattern(static_cast<std::size_t>(rows.count.bytes()), seed * 64 + slot);
      ASSERT_TRUE(device(*m).write((offset + rows.first).bytes(), bytes));
    }
    ParitySync sync(layout_, std::move(members), kernels());
    const auto synced = sync.sync(rows);
    ASSERT_TRUE(synced) << synced.error().text;
    written_.push_back(rows);
  }

  // The member of this slot fails: from now on nothing reaches it, and the others call it missing.
  void lose(std::uint32_t slot) { lost_.insert(slot); }

  enum class End { clean, dirty };
  void stop(std::uint64_t events_later, End end) {
    const std::uint64_t events = a_.array().events + events_later;
    SuperblockChange change;
    change.events = events;
    change.resync_offset = end == End::clean ? Sectors::max() : Sectors();
    change.missing_slots.assign(lost_.begin(), lost_.end());
    const auto bytes = bitmap_bytes(events, end);
    for (std::uint32_t slot = 0; slot < a_.slots(); ++slot) {
      const Member* m = a_.in_slot(slot);
      if (m == nullptr || lost_.contains(slot)) {
        continue;
      }
      if (bytes && m->description().bitmap_offset_bytes) {
        ASSERT_TRUE(device(*m).write(*m->description().bitmap_offset_bytes, *bytes));
      }
      const Metadata& superblock = *m->candidate->chosen()->metadata;
      ASSERT_TRUE(device(*m).write(superblock.offset_bytes(), superblock.changed(change)->encode()));
      ASSERT_TRUE(device(*m).flush());
    }
    bench_.look_again();
  }

 private:
  BlockDevice& device(const Member& m) { return *bench_.above_devices()[device_of(m)]; }

  std::optional<std::vector<std::byte>> bitmap_bytes(std::uint64_t events, End end) const {
    auto classic = a_.bitmap.classic;
    auto lockless = a_.bitmap.lockless;
    if (!classic && !lockless) {
      return std::nullopt;
    }
    if (lockless && lockless->first_use()) {
      lockless->finish_first_use();
      for (std::uint64_t i = 0; i < lockless->chunks(); ++i) {
        lockless->set(i, bitmap::ChunkState::unwritten);
      }
    }
    const Sectors chunk = a_.bitmap.chunk();
    const bool bits_stay = end == End::dirty || !lost_.empty() || !a_.complete;
    for (const SectorRange& rows : written_) {
      for (std::uint64_t i = rows.first / chunk; i <= (rows.end() - Sectors(1)) / chunk; ++i) {
        if (classic && bits_stay) {
          classic->set(i);
        }
        if (lockless) {
          lockless->set(i, bits_stay ? bitmap::ChunkState::dirty : bitmap::ChunkState::clean);
        }
      }
    }
    if (classic) {
      classic->set_events(events, bits_stay ? classic->header().events_cleared.value() : events);
      return classic->encode();
    }
    lockless->set_events(events);
    return lockless->encode();
  }

  Bench& bench_;
  const Assembly& a_;
  Layout layout_;
  std::set<std::uint32_t> lost_;
  std::vector<SectorRange> written_;
};

// Three ranges: within a chunk, over the border of two stripes, at the very end.
inline void use(Bench& bench, Usage::End end = Usage::End::clean, std::uint64_t events_later = 7) {
  Usage usage(bench);
  const Geometry g = bench.above().layout().geometry();
  const Sectors last = g.chunk * (g.component_size / g.chunk);
  usage.write({Sectors(8), Sectors(16)}, 1);
  usage.write({g.chunk * 2 - Sectors(8), Sectors(24)}, 2);
  usage.write({last - Sectors(8), Sectors(8)}, 3);
  usage.stop(events_later, end);
}

}  // namespace mdtool::test
