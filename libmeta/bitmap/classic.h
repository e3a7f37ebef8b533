// SPDX-License-Identifier: GPL-2.0-or-later
// The classic write-intent bitmap (versions 3, 4, 5): a bit per chunk of the sync range. Of a clustered one, node 0's.
#pragma once

#include <vector>

#include "libmeta/bitmap/header.h"

namespace mdtool::bitmap {

class Classic {
 public:
  // Reads header and bits of one member's copy. Fails if the header cannot be used to find the bits (no classic
  // version, chunk size below 512 or no power of two, or more bits than fit into the room or the source); everything
  // else is left to verify(), and verify_header() judges what could not be used.
  static Result<Classic> read(const Source&, std::uint64_t offset_bytes, const Expected&);

  const Header& header() const { return header_; }
  Sectors chunk() const { return geometry_.chunk; }  // sync-range sectors per bit
  std::uint64_t chunks() const { return geometry_.chunks; }
  bool is_set(std::uint64_t chunk) const;  // as on disk
  std::uint64_t set_count() const;
  // The bitmap missed updates (events behind the array's, or its STALE or WRITE_ERROR flag): every chunk counts as set.
  bool stale(const Expected& expected) const { return missed_updates(header_, expected); }
  // What the kernel would say at start, worst effect refuses_array.
  Findings verify(const Expected& expected) const { return verify_header(header_, expected); }
  Fields fields() const { return header_fields(header_); }

  void set(std::uint64_t chunk);
  void clear(std::uint64_t chunk);
  void set_all();
  void set_events(std::uint64_t events, std::uint64_t events_cleared);
  void clear_flags();  // STALE and WRITE_ERROR

  // True if both cut the sync range alike and have the same bits set, whatever their headers and padding say.
  friend bool same_content(const Classic&, const Classic&);
  // Sets every bit that is set in the other copy; every bit at all if that is cut differently.
  void merge(const Classic& other);

  // Header and bits, the whole bytes as read apart from what was changed; starts at offset_bytes() on the member.
  std::vector<std::byte> encode() const { return area_with_header(area_, header_); }
  // The part of encode() from `from_byte` on, and how long all of it is.
  void copy_out(std::uint64_t from_byte, std::span<std::byte> out) const {
    copy_with_header(area_, header_, from_byte, out);
  }
  std::uint64_t area_bytes() const { return area_.size(); }
  std::uint64_t offset_bytes() const { return offset_bytes_; }
  // Bytes from offset_bytes() that belong to the bitmap; encode() may go on to the end of the last sector.
  std::uint64_t used_bytes() const { return header_bytes + (geometry_.chunks + 7) / 8; }

 private:
  Classic(const Header& header, std::uint64_t offset_bytes, Geometry geometry)
      : header_(header), offset_bytes_(offset_bytes), geometry_(geometry) {}

  Header header_;
  std::uint64_t offset_bytes_;
  Geometry geometry_;
  std::vector<std::byte> area_;  // header and bits as on disk
};

}  // namespace mdtool::bitmap
