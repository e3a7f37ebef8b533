// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/oracle.h"

#include <algorithm>
#include <set>

#include "tests/crash/array_spec.h"

namespace mdtool::crash {

namespace {

constexpr std::uint64_t version_of_zeroes = std::numeric_limits<std::uint64_t>::max();

}  // namespace

std::size_t Oracle::issue(Kind kind, std::uint64_t first, std::uint64_t count, std::size_t at) {
  changes_.push_back({kind, first, count, at});
  return changes_.size() - 1;
}

const std::byte* Oracle::content(std::uint64_t sector, std::uint64_t version) const {
  std::unique_ptr<std::byte[]>& bytes = contents_[{sector, version}];
  if (!bytes) {
    bytes = std::make_unique<std::byte[]>(sector_bytes);
    if (version != version_of_zeroes) {
      fill_sector(bytes.get(), sector, version);
    }
  }
  return bytes.get();
}

std::vector<std::byte> Oracle::bytes_of(std::size_t change) const {
  const Change& c = changes_[change];
  std::vector<std::byte> bytes(c.count * sector_bytes);
  for (std::uint64_t i = 0; i < c.count; ++i) {
    fill_sector(bytes.data() + i * sector_bytes, c.first + i, change + 1);
  }
  return bytes;
}

std::vector<std::uint64_t> Oracle::changed_sectors() const {
  std::set<std::uint64_t> sectors;
  for (const Change& c : changes_) {
    for (std::uint64_t i = 0; i < c.count; ++i) {
      sectors.insert(c.first + i);
    }
  }
  return {sectors.begin(), sectors.end()};
}

std::vector<std::size_t> Oracle::places() const {
  std::vector<std::size_t> places;
  for (const Change& c : changes_) {
    places.push_back(c.issued);
    places.push_back(c.acknowledged);
  }
  for (const Flush& f : flushes_) {
    places.push_back(f.acknowledged);
  }
  return places;
}

std::vector<std::uint64_t> Oracle::acknowledged_since(std::size_t from, std::size_t position) const {
  std::vector<std::uint64_t> sectors;
  for (const Change& c : changes_) {
    const bool counts = c.kind != Kind::discard && c.issued >= from && c.acknowledged <= position;
    for (std::uint64_t i = 0; counts && i < c.count; ++i) {
      sectors.push_back(c.first + i);
    }
  }
  return sectors;
}

Oracle::Allowed Oracle::allowed(std::uint64_t sector, std::size_t position) const {
  std::size_t covered = 0;  // by a flush: what had been acknowledged when it was submitted
  bool any_flush = false;
  for (const Flush& f : flushes_) {
    if (f.acknowledged <= position) {
      covered = std::max(covered, f.submitted);
      any_flush = true;
    }
  }
  Allowed allowed{sector, {content(sector, 0)}};
  for (std::size_t i = 0; i < changes_.size(); ++i) {
    const Change& c = changes_[i];
    if (sector < c.first || sector >= c.first + c.count || c.issued > position) {
      continue;
    }
    const bool durable = any_flush && c.acknowledged <= covered;
    if (durable) {
      allowed.contents.clear();
      allowed.has_first = false;
    }
    allowed.contents.push_back(content(sector, c.kind == Kind::data ? i + 1 : version_of_zeroes));
    allowed.anything = !durable && (c.kind == Kind::discard || allowed.anything);
    allowed.holds_user_data = c.kind == Kind::discard ? false : durable || allowed.holds_user_data;
  }
  return allowed;
}

}  // namespace mdtool::crash
