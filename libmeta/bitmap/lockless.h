// SPDX-License-Identifier: GPL-2.0-or-later
// The lockless write-intent bitmap (version 6, Linux 6.18+): a byte of state per chunk.
// The state machine is in lockless_state.h; this file knows where the bytes are.
#pragma once

#include <vector>

#include "libmeta/bitmap/header.h"
#include "libmeta/bitmap/lockless_state.h"

namespace mdtool::bitmap {

constexpr std::size_t lockless_states_offset = 1024;  // bytes from the start of the area to chunk 0's state

class Lockless {
 public:
  // Reads header and state bytes of one member's copy. With FIRST_USE set the geometry is the one that the kernel would
  // choose. Fails if the header cannot be used to find the bytes.
  static Result<Lockless> read(const Source&, std::uint64_t offset_bytes, const Expected&);

  const Header& header() const { return header_; }
  bool first_use() const { return (header_.state & state_first_use) != 0; }
  Sectors chunk() const { return chunk_; }
  std::uint64_t chunks() const { return chunks_; }
  std::uint8_t raw(std::uint64_t chunk) const;   // as on disk; above 7: invalid
  void set(std::uint64_t chunk, ChunkState);
  StateCounts counts() const;                    // as they are now in this object
  bool stale(const Expected&) const;
  Findings verify(const Expected&) const;
  Fields fields() const { return header_fields(header_); }

  // One walk of the state machine over [first, last], invalid bytes included.
  void apply(Action, std::uint64_t first, std::uint64_t last, const Condition&);
  void set_events(std::uint64_t events);
  void clear_flags();  // STALE
  // What the kernel writes after a first start: chunk size in sectors, FIRST_USE and CLEAN gone, daemon_sleep 30.
  void finish_first_use();

  std::vector<std::byte> encode() const;  // header, the gap and the states; starts at offset_bytes() on the member
  std::uint64_t offset_bytes() const { return offset_bytes_; }

 private:
  Lockless() = default;
  Header header_{};
  std::uint64_t offset_bytes_ = 0;
  Sectors chunk_;
  std::uint64_t chunks_ = 0;
  std::vector<std::byte> area_;
};

}  // namespace mdtool::bitmap
