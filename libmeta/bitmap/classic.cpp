// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/bitmap/classic.h"

#include <cassert>
#include <string>

namespace mdtool::bitmap {
namespace {

// Versions 4 and 5; version 3 as a little-endian machine wrote it.
std::size_t byte_of(std::uint64_t chunk) {
  return header_bytes + static_cast<std::size_t>(chunk / 8);
}
std::byte mask_of(std::uint64_t chunk) {
  return std::byte{1} << static_cast<unsigned>(chunk % 8);
}

}  // namespace

Result<Classic> Classic::read(const Source& source, std::uint64_t offset_bytes, const Expected& expected) {
  TRY(header, read_header(source, offset_bytes));
  if (kind_of(header) != Kind::classic) {
    return Error{ErrorKind::format, "version " + std::to_string(header.version) + " is no classic bitmap"};
  }
  TRY(geometry, geometry_of(header, expected).in("write-intent bitmap"));
  Classic bitmap(header, offset_bytes, geometry);
  TRY(area, read_area(source, offset_bytes, bitmap.used_bytes()));
  bitmap.area_ = std::move(area);
  return bitmap;
}

bool Classic::is_set(std::uint64_t chunk) const {
  assert(chunk < chunks());
  return (area_[byte_of(chunk)] & mask_of(chunk)) != std::byte{0};
}

std::uint64_t Classic::set_count() const {
  std::uint64_t count = 0;
  for (std::uint64_t chunk = 0; chunk < chunks(); ++chunk) {
    count += is_set(chunk) ? 1 : 0;
  }
  return count;
}

void Classic::set(std::uint64_t chunk) {
  assert(chunk < chunks());
  area_[byte_of(chunk)] |= mask_of(chunk);
}

void Classic::clear(std::uint64_t chunk) {
  assert(chunk < chunks());
  area_[byte_of(chunk)] &= ~mask_of(chunk);
}

void Classic::set_all() {
  for (std::uint64_t chunk = 0; chunk < chunks(); ++chunk) {
    set(chunk);
  }
}

void Classic::set_events(std::uint64_t events, std::uint64_t events_cleared) {
  header_.events = events;
  header_.events_cleared = events_cleared;
}

void Classic::clear_flags() {
  header_.state = header_.state & ~(state_stale | state_write_error);
}

bool same_content(const Classic& a, const Classic& b) {
  if (a.geometry_ != b.geometry_) {
    return false;
  }
  for (std::uint64_t chunk = 0; chunk < a.chunks(); ++chunk) {
    if (a.is_set(chunk) != b.is_set(chunk)) {
      return false;
    }
  }
  return true;
}

void Classic::merge(const Classic& other) {
  if (geometry_ != other.geometry_) {
    set_all();
    return;
  }
  for (std::uint64_t chunk = 0; chunk < chunks(); ++chunk) {
    if (other.is_set(chunk)) {
      set(chunk);
    }
  }
}

}  // namespace mdtool::bitmap
