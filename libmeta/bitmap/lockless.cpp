// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/bitmap/lockless.h"

#include <algorithm>
#include <cassert>
#include <string>

namespace mdtool::bitmap {
namespace {

std::size_t byte_of(std::uint64_t chunk) {
  return lockless_states_offset + static_cast<std::size_t>(chunk);
}

}  // namespace

Result<Lockless> Lockless::read(const Source& source, std::uint64_t offset_bytes, const Expected& expected) {
  TRY(header, read_header(source, offset_bytes));
  if (kind_of(header) != Kind::lockless) {
    return Error{ErrorKind::format, "version " + std::to_string(header.version) + " is no lockless bitmap"};
  }
  TRY(geometry, geometry_of(header, expected).in("lockless bitmap"));
  Lockless bitmap(header, offset_bytes, geometry);
  TRY(area, read_area(source, offset_bytes, bitmap.used_bytes()));
  bitmap.area_ = std::move(area);
  return bitmap;
}

std::uint8_t Lockless::raw(std::uint64_t chunk) const {
  assert(chunk < chunks());
  return std::to_integer<std::uint8_t>(area_[byte_of(chunk)]);
}

void Lockless::set(std::uint64_t chunk, ChunkState state) {
  assert(chunk < chunks());
  area_[byte_of(chunk)] = static_cast<std::byte>(state);
}

StateCounts Lockless::counts() const {
  StateCounts counts;
  for (std::uint64_t chunk = 0; chunk < chunks(); ++chunk) {
    const std::uint8_t state = raw(chunk);
    ++(state < chunk_state_count ? counts.by_state[state] : counts.invalid);
  }
  return counts;
}

Findings Lockless::verify(const Expected& expected) const {
  Findings findings = verify_header(header_, expected);
  const std::uint64_t invalid = counts().invalid;
  if (invalid != 0 && !first_use()) {
    findings.push_back({Severity::warning, "bitmap-invalid-state", "",
                        std::to_string(invalid) + " of " + std::to_string(chunks()) +
                            " state bytes are none of the eight states: these chunks count as in need of a sync",
                        Effect::none});
  }
  return findings;
}

void Lockless::apply(Action action, std::uint64_t first, std::uint64_t last, const Condition& condition) {
  if ((header_.state & state_write_error) != 0) {
    return;
  }
  for (std::uint64_t chunk = first; chunk < chunks() && chunk <= last; ++chunk) {
    set(chunk, next_state(raw(chunk), action, condition));
  }
}

void Lockless::set_events(std::uint64_t events) {
  header_.events = events;
}

void Lockless::clear_flags() {
  header_.state = header_.state & ~(state_stale | state_write_error);
}

void Lockless::finish_first_use() {
  header_.chunksize = static_cast<std::uint32_t>(chunk().count());
  header_.daemon_sleep = lockless_daemon_sleep;
  header_.state = header_.state & ~(state_first_use | state_clean);
}

bool same_content(const Lockless& a, const Lockless& b) {
  if (a.geometry_ != b.geometry_) {
    return false;
  }
  const auto states = [](const Lockless& bitmap) {
    return std::span(bitmap.area_).subspan(lockless_states_offset, static_cast<std::size_t>(bitmap.chunks()));
  };
  return std::ranges::equal(states(a), states(b));
}

void Lockless::merge(const Lockless& other) {
  const bool cut_alike = geometry_ == other.geometry_;
  for (std::uint64_t chunk = 0; chunk < chunks(); ++chunk) {
    const auto unknown = static_cast<std::uint8_t>(ChunkState::need_sync);
    area_[byte_of(chunk)] = std::byte{cut_alike ? merged_state(raw(chunk), other.raw(chunk)) : unknown};
  }
}

}  // namespace mdtool::bitmap
