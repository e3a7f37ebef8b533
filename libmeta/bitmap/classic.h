// SPDX-License-Identifier: GPL-2.0-or-later
// The classic write-intent bitmap (versions 3, 4, 5): a bit per chunk of the sync range.
#pragma once

#include <vector>

#include "libmeta/bitmap/header.h"

namespace mdtool::bitmap {

class Classic {
 public:
  // Reads header and bits of one member's copy. Fails if the header cannot be used to find the bits (chunk size 0 or
  // no power of two, or more bits than fit into the room or the source); everything else is left to verify().
  static Result<Classic> read(const Source&, std::uint64_t offset_bytes, const Expected&);

  const Header& header() const { return header_; }
  Sectors chunk() const;                        // sync-range sectors per bit
  std::uint64_t chunks() const { return chunks_; }
  bool is_set(std::uint64_t chunk) const;       // as on disk
  std::uint64_t set_count() const;
  // The bitmap missed updates (events behind the array's, or its STALE flag): every chunk counts as set.
  bool stale(const Expected&) const;
  // What the kernel would say at start, worst effect refuses_array.
  Findings verify(const Expected&) const;
  Fields fields() const { return header_fields(header_); }

  void set(std::uint64_t chunk);
  void clear(std::uint64_t chunk);
  void set_all();
  void set_events(std::uint64_t events, std::uint64_t events_cleared);
  void clear_flags();  // STALE

  // Header and bits, the whole bytes as read apart from what was changed; starts at offset_bytes() on the member.
  std::vector<std::byte> encode() const;
  std::uint64_t offset_bytes() const { return offset_bytes_; }

 private:
  Classic() = default;
  Header header_{};
  std::uint64_t offset_bytes_ = 0;
  std::uint64_t chunks_ = 0;
  std::vector<std::byte> area_;  // header and bits as on disk
};

}  // namespace mdtool::bitmap
