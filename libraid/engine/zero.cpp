// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/engine/zero.h"

#include <algorithm>
#include <random>

namespace mdtool {

namespace {

constexpr Sectors block(8);
constexpr Sectors mebibyte(2048);
constexpr std::uint64_t read_bytes_at_once = 64U << 10;

struct Effort {
  Sectors ends;                   // read in full at the very beginning and the very end
  std::size_t ranges_looked_at;   // at their first and last block
  std::size_t places_in_between;  // blocks anywhere
};

Effort effort_of(Sampling sampling) {
  return sampling == Sampling::thorough ? Effort{mebibyte, 128, 256} : Effort{block, 16, 16};
}

SectorRange clipped(SectorRange within, Sectors first, Sectors count) {
  const Sectors end = std::min(first + count, within.end());
  return {first, end - first};
}

void add_ends(std::vector<SectorRange>& places, SectorRange range, Sectors length) {
  length = std::min(length, range.count);
  places.push_back({range.first, length});
  places.push_back({range.end() - length, length});
}

// The same places for the same ranges: a seed that only they decide.
void add_spread(std::vector<SectorRange>& places, std::span<const SectorRange> ranges, std::size_t count) {
  std::vector<std::uint64_t> ends;
  std::uint64_t total = 0;
  for (const SectorRange& r : ranges) {
    ends.push_back(total += r.count.count());
  }
  std::mt19937_64 generator(total + ranges.front().first.count());
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t at = generator() % total;
    const auto range = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), at) - ends.begin());
    const SectorRange& r = ranges[range];
    const Sectors inside(at - (ends[range] - r.count.count()));
    places.push_back(clipped(r, r.first + block * (inside / block), block));
  }
}

std::vector<SectorRange> sample_places(std::span<const SectorRange> ranges, Sampling sampling) {
  std::vector<SectorRange> places;
  if (ranges.empty()) {
    return places;
  }
  const Effort effort = effort_of(sampling);
  add_ends(places, ranges.front(), effort.ends);
  add_ends(places, ranges.back(), effort.ends);
  const std::size_t looked_at = std::min(ranges.size(), effort.ranges_looked_at);
  for (std::size_t i = 0; i < looked_at; ++i) {
    add_ends(places, ranges[i * ranges.size() / looked_at], block);
  }
  add_spread(places, ranges, effort.places_in_between);
  std::sort(places.begin(), places.end(), [](const SectorRange& a, const SectorRange& b) { return a.first < b.first; });
  return places;
}

Result<std::optional<std::uint64_t>> not_zero_in(const Source& source, std::uint64_t offset_bytes,
                                                 std::uint64_t length_bytes) {
  std::vector<std::byte> buffer(std::min(length_bytes, read_bytes_at_once));
  for (std::uint64_t done = 0; done < length_bytes;) {
    const std::span piece = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), length_bytes - done));
    TRY(read, source.read(offset_bytes + done, piece));
    const auto found = std::find_if(piece.begin(), piece.end(), [](std::byte b) { return b != std::byte{}; });
    if (found != piece.end()) {
      return std::optional(offset_bytes + done + static_cast<std::uint64_t>(found - piece.begin()));
    }
    done += piece.size();
  }
  return std::optional<std::uint64_t>();
}

}  // namespace

Result<std::optional<std::uint64_t>> sample_not_zero(const Source& source, std::uint64_t offset_bytes,
                                                     std::span<const SectorRange> ranges, Sampling sampling) {
  for (const SectorRange& place : sample_places(ranges, sampling)) {
    TRY(found, not_zero_in(source, offset_bytes + place.first.bytes(), place.count.bytes()));
    if (found) {
      return found;
    }
  }
  return std::optional<std::uint64_t>();
}

Status Zeroing::zero(SectorRange range) {
  for (const ZeroMember& m : members_) {
    TRY(zeroed, m.device->zero(m.offset_bytes + range.first.bytes(), range.count.bytes()).in(m.path));
    bytes_zeroed_ += range.count.bytes();
  }
  return Done{};
}

Status Zeroing::flush() {
  for (const ZeroMember& m : members_) {
    TRY(flushed, m.device->flush().in(m.path));
  }
  return Done{};
}

Status Zeroing::verify_samples(std::span<const SectorRange> ranges, Sampling sampling) const {
  for (const ZeroMember& m : members_) {
    TRY(found, sample_not_zero(*m.past_cache, m.offset_bytes, ranges, sampling).in(m.path));
    if (found) {
      return Error{ErrorKind::io, m.path + ": byte " + std::to_string(*found) +
                                      " is not zero although the device reported it zeroed: it does not keep that "
                                      "promise, and no other zero of it is believed. Zeroes that are written "
                                      "instead may be kept"};
    }
  }
  return Done{};
}

}  // namespace mdtool
