// SPDX-License-Identifier: GPL-2.0-or-later
// The lockless write-intent bitmap (version 6, Linux 6.18+): a byte of state per chunk.
// The state machine is in lockless_state.h; this file knows where the bytes are.
#pragma once

#include <vector>

#include "libmeta/bitmap/header.h"
#include "libmeta/bitmap/lockless_state.h"

namespace mdtool::bitmap {

class Lockless {
 public:
  // Reads header and state bytes of one member's copy. With FIRST_USE set the geometry is the one that the kernel would
  // choose. Fails if the header cannot be used to find the bytes; verify_header() judges it then.
  static Result<Lockless> read(const Source&, std::uint64_t offset_bytes, const Expected&);

  const Header& header() const { return header_; }
  // The state bytes are not to be believed: the kernel would initialise them all.
  bool first_use() const { return (header_.state & state_first_use) != 0; }
  Sectors chunk() const { return geometry_.chunk; }
  std::uint64_t chunks() const { return geometry_.chunks; }
  std::uint8_t raw(std::uint64_t chunk) const;  // as on disk; above 7: invalid
  void set(std::uint64_t chunk, ChunkState);
  StateCounts counts() const;  // as they are now in this object
  // Events behind the array's (not looked at with FIRST_USE), or the STALE or WRITE_ERROR flag.
  bool stale(const Expected& expected) const { return missed_updates(header_, expected); }
  Findings verify(const Expected&) const;
  Fields fields() const { return header_fields(header_); }

  // One walk of the state machine over [first, last], invalid bytes included, as far as there are chunks. Does nothing
  // while WRITE_ERROR is set: clear_flags() first.
  void apply(Action, std::uint64_t first, std::uint64_t last, const Condition&);
  void set_events(std::uint64_t events);
  void clear_flags();  // STALE and WRITE_ERROR
  // What the kernel writes after a first start: chunk size in sectors, FIRST_USE and CLEAN gone, daemon_sleep 30.
  void finish_first_use();

  // True if both cut the sync range alike and have the same state bytes, whatever their headers say.
  friend bool same_content(const Lockless&, const Lockless&);
  // Takes merged_state() of both copies for every chunk; need_sync for all if the other is cut differently.
  void merge(const Lockless& other);

  // Header, the gap and the states; starts at offset_bytes() on the member.
  std::vector<std::byte> encode() const { return area_with_header(area_, header_); }
  // The part of encode() from `from_byte` on, and how long all of it is.
  void copy_out(std::uint64_t from_byte, std::span<std::byte> out) const {
    copy_with_header(area_, header_, from_byte, out);
  }
  std::uint64_t area_bytes() const { return area_.size(); }
  std::uint64_t offset_bytes() const { return offset_bytes_; }
  // Bytes from offset_bytes() that belong to the bitmap; encode() may go on to the end of the last sector.
  std::uint64_t used_bytes() const { return lockless_states_offset + geometry_.chunks; }

 private:
  Lockless(const Header& header, std::uint64_t offset_bytes, Geometry geometry)
      : header_(header), offset_bytes_(offset_bytes), geometry_(geometry) {}

  Header header_;
  std::uint64_t offset_bytes_;
  Geometry geometry_;
  std::vector<std::byte> area_;
};

}  // namespace mdtool::bitmap
