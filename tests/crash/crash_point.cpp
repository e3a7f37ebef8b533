// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/crash_point.h"

#include <algorithm>
#include <cstring>

namespace mdtool::crash {

namespace {

std::byte* sector_at(std::vector<Image>& images, CrashPoint::Place place) {
  return images[place.member].data() + place.sector * sector_bytes;
}

bool same(CrashPoint::Place a, CrashPoint::Place b) {
  return a.member == b.member && a.sector == b.sector;
}

}  // namespace

// The finalizer of splitmix64.
std::uint64_t mixed(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15U;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31);
}

std::uint64_t hash_of_sector(std::uint32_t member, std::uint64_t sector, const std::byte* bytes) {
  std::uint64_t hash = mixed((std::uint64_t{member} << 48) ^ sector);
  for (std::size_t i = 0; i < sector_bytes; i += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + i, sizeof(word));
    hash = (hash ^ word) * 0xff51afd7ed558ccdU;
    hash ^= hash >> 32;
  }
  return mixed(hash);
}

CrashPoint::CrashPoint(std::vector<Image> durable, const Log& log, std::uint64_t seed)
    : durable_(std::move(durable)), scratch_(durable_), log_(&log), seed_(seed) {}

void CrashPoint::advance() {
  const Event& e = next();
  switch (e.kind) {
    case EventKind::write:
      add(e);
      break;
    case EventKind::harden:
      harden(e);
      break;
    case EventKind::flush:
      flush(e.member);
      break;
    case EventKind::flush_failed:
      for (Pending& p : pending_) {
        p.stuck = p.stuck || p.place.member == e.member;
      }
      break;
  }
  ++position_;
}

void CrashPoint::add(const Event& e) {
  for (std::uint64_t i = 0; i < e.sectors; ++i) {
    const Place place{e.member, e.sector + i};
    const std::byte* bytes = log_->sector_of(e, i);
    pending_.push_back({place, bytes, hash_of_sector(place.member, place.sector, bytes)});
  }
}

void CrashPoint::harden(const Event& e) {
  const auto covered = [&](const Pending& p) {
    return p.place.member == e.member && p.place.sector >= e.sector && p.place.sector < e.sector + e.sectors;
  };
  for (const Pending& p : pending_) {
    if (covered(p)) {
      make_durable(p);
    }
  }
  std::erase_if(pending_, covered);
}

void CrashPoint::flush(std::uint32_t member) {
  std::vector<Pending> left;
  for (const Pending& p : pending_) {
    if (p.place.member != member || p.stuck) {
      left.push_back(p);
      continue;
    }
    make_durable(p);
    std::erase_if(left, [&](const Pending& older) { return same(older.place, p.place); });
  }
  pending_ = std::move(left);
}

void CrashPoint::make_durable(const Pending& p) {
  std::byte* to = sector_at(durable_, p.place);
  durable_hash_ ^= hash_of_sector(p.place.member, p.place.sector, to) ^ p.hash;
  std::memcpy(to, p.bytes, sector_bytes);
  std::memcpy(sector_at(scratch_, p.place), p.bytes, sector_bytes);
}

std::vector<CrashPoint::Place> CrashPoint::unflushed_places() const {
  std::vector<Place> places;
  for (const Pending& p : pending_) {
    places.push_back(p.place);
  }
  return places;
}

std::uint64_t CrashPoint::states() const {
  const std::size_t n = pending_.size();
  if (n <= most_exhaustive) {
    return std::uint64_t{1} << n;
  }
  // None, all, every proper prefix, all but one, only one, each member all or none, seeded ones.
  return 2 + (n - 1) + n + n + 2 * durable_.size() + seeded_subsets;
}

bool CrashPoint::includes(std::uint64_t state, std::size_t i) const {
  const std::size_t n = pending_.size();
  if (n <= most_exhaustive) {
    return (state >> i & 1) != 0;
  }
  if (state < 2) {
    return state == 1;
  }
  state -= 2;
  if (state < n - 1) {
    return i <= state;
  }
  state -= n - 1;
  if (state < n) {
    return i != state;
  }
  state -= n;
  if (state < n) {
    return i == state;
  }
  state -= n;
  if (state < 2 * durable_.size()) {
    return (pending_[i].place.member == state / 2) == (state % 2 == 0);
  }
  return (mixed(seed_ ^ mixed(position_) ^ mixed(state) ^ i / 64) >> i % 64 & 1) != 0;
}

bool CrashPoint::is_hidden(std::uint64_t state, std::size_t i) const {
  for (std::size_t later = i + 1; later < pending_.size(); ++later) {
    if (same(pending_[later].place, pending_[i].place) && includes(state, later)) {
      return true;
    }
  }
  return false;
}

std::uint64_t CrashPoint::fingerprint(std::uint64_t state) const {
  std::uint64_t hash = durable_hash_;
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    const Pending& p = pending_[i];
    if (includes(state, i) && !is_hidden(state, i)) {
      const std::byte* old = durable_[p.place.member].data() + p.place.sector * sector_bytes;
      hash ^= hash_of_sector(p.place.member, p.place.sector, old) ^ p.hash;
    }
  }
  return hash;
}

void CrashPoint::apply(std::uint64_t state, std::vector<Image>& images, std::vector<Place>& touched) const {
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    const Pending& p = pending_[i];
    if (includes(state, i) && !is_hidden(state, i)) {
      std::memcpy(sector_at(images, p.place), p.bytes, sector_bytes);
      touched.push_back(p.place);
    }
  }
}

void CrashPoint::restore(std::vector<Image>& images, const std::vector<Place>& touched) const {
  for (const Place& place : touched) {
    std::memcpy(sector_at(images, place), durable_[place.member].data() + place.sector * sector_bytes, sector_bytes);
  }
}

}  // namespace mdtool::crash
