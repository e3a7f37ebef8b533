// SPDX-License-Identifier: GPL-2.0-or-later
// What users of the array were told, and what each of its sectors may therefore hold after a power cut at a place of
// the log. Knows arrays only as numbered sectors.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <vector>

#include "tests/crash/simulated_device.h"

namespace mdtool::crash {

class Oracle {
 public:
  enum class Kind : std::uint8_t { data, zeroes, discard };
  static constexpr std::size_t never = std::numeric_limits<std::size_t>::max();

  // A change of these array sectors begins at this place of the log; the bytes that it writes, by sector. Acknowledged
  // when acknowledge() says so; one that fails never is.
  std::size_t issue(Kind, std::uint64_t first, std::uint64_t count, std::size_t at);
  void acknowledge(std::size_t change, std::size_t at) { changes_[change].acknowledged = at; }
  // What issue() calls the content: for Kind::data a version of fill_sector().
  std::vector<std::byte> bytes_of(std::size_t change) const;
  // A flush of the array that was submitted there and acknowledged here.
  void flushed(std::size_t submitted, std::size_t acknowledged) { flushes_.push_back({submitted, acknowledged}); }

  // Sectors that any change names, in order.
  std::vector<std::uint64_t> changed_sectors() const;

  // Places of the log where something begins to count: a change issued or acknowledged, a flush acknowledged.
  std::vector<std::size_t> places() const;

  // The sectors of changes other than discards that were issued at or after `from` and acknowledged by `position`.
  std::vector<std::uint64_t> acknowledged_since(std::size_t from, std::size_t position) const;

  struct Allowed {
    std::uint64_t sector = 0;
    std::vector<const std::byte*> contents;
    bool has_first = true;         // what was there at the start is among them
    bool anything = false;         // discarded, and not flushed since: where it has to be reconstructed
    bool holds_user_data = false;  // acknowledged, flushed and not discarded
  };
  // For a crash when `position` events had happened. The contents live as long as the oracle.
  Allowed allowed(std::uint64_t sector, std::size_t position) const;

 private:
  struct Change {
    Kind kind;
    std::uint64_t first, count;
    std::size_t issued;
    std::size_t acknowledged = never;
  };
  struct Flush {
    std::size_t submitted, acknowledged;
  };
  const std::byte* content(std::uint64_t sector, std::uint64_t version) const;

  std::vector<Change> changes_;
  std::vector<Flush> flushes_;
  // By sector and version. Bytes never move.
  mutable std::map<std::pair<std::uint64_t, std::uint64_t>, std::unique_ptr<std::byte[]>> contents_;
};

}  // namespace mdtool::crash
