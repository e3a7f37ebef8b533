// SPDX-License-Identifier: GPL-2.0-or-later
// What may be on the members after a power cut at a place of the log: for each sector its durable content or any write
// to it that was not durable yet; members have caches of their own. Knows no array.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "tests/crash/simulated_device.h"

namespace mdtool::crash {

// Up to so many unflushed sector writes every subset of them is a state of its own.
constexpr std::size_t most_exhaustive = 12;
constexpr std::size_t seeded_subsets = 64;

class CrashPoint {
 public:
  struct Place {
    std::uint32_t member;
    std::uint64_t sector;
  };

  // Before the first event. The log outlives this.
  CrashPoint(std::vector<Image> durable, const Log& log, std::uint64_t seed);

  std::size_t position() const { return position_; }
  bool at_end() const { return position_ == log_->events().size(); }
  const Event& next() const { return log_->events()[position_]; }
  // Past the next event.
  void advance();

  // How many crash states are told apart here: all subsets of the unflushed writes while those are few.
  std::uint64_t states() const;
  std::size_t unflushed() const { return pending_.size(); }
  // Equal for equal members' contents.
  std::uint64_t fingerprint(std::uint64_t state) const;

  std::vector<Place> unflushed_places() const;
  // Images that are the same as durable(), for a state to be put on, recovered, and taken off again.
  std::vector<Image>& scratch() { return scratch_; }
  // Puts the state on images that are durable() now, and tells which sectors it touched.
  void apply(std::uint64_t state, std::vector<Image>& images, std::vector<Place>& touched) const;
  // Takes sectors of images back to durable().
  void restore(std::vector<Image>& images, const std::vector<Place>& touched) const;
  const std::vector<Image>& durable() const { return durable_; }

 private:
  struct Pending {
    Place place;
    const std::byte* bytes;
    std::uint64_t hash;
    bool stuck = false;  // a flush that failed lost it for later flushes
  };
  bool includes(std::uint64_t state, std::size_t i) const;
  // A later write to the same sector is included.
  bool is_hidden(std::uint64_t state, std::size_t i) const;
  void add(const Event&);
  void harden(const Event&);
  void flush(std::uint32_t member);
  void make_durable(const Pending&);

  std::vector<Image> durable_, scratch_;
  const Log* log_;
  std::uint64_t seed_;
  std::size_t position_ = 0;
  std::uint64_t durable_hash_ = 0;  // of what differs from the images at the start
  std::vector<Pending> pending_;
};

std::uint64_t mixed(std::uint64_t value);
std::uint64_t hash_of_sector(std::uint32_t member, std::uint64_t sector, const std::byte* bytes);

}  // namespace mdtool::crash
