// SPDX-License-Identifier: GPL-2.0-or-later
// What the documentation of the lockless bitmap says, as plainly as it says it: the table as printed, and the rules
// beside it over whole blocks. The judge of the implementation, with which it shares nothing but the actions' names.
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <string_view>
#include <vector>

#include "libmeta/bitmap/lockless_state.h"

namespace mdtool::testing {

struct LocklessModel {
  std::vector<std::uint8_t> states;
  std::uint64_t block_bytes = 512;
  bool raid456 = true;
  bool degraded = false;
  std::set<std::uint64_t> waiting{};

  std::uint64_t block_of(std::uint64_t chunk) const { return (1024 + chunk) / block_bytes; }

  void act(bitmap::Action action, std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t chunk = first; chunk <= last && chunk < states.size(); ++chunk) {
      const int before = states[chunk];
      const int after = becomes(before, action);
      if (after == before) {
        continue;
      }
      states[chunk] = static_cast<std::uint8_t>(after);
      const bool parity_in_work_is_written = action == bitmap::Action::start_write && after == 4;
      if (after == 2 || after == 3) {
        write_out_later(chunk);
      } else if (after == 5 || parity_in_work_is_written) {
        waiting.insert(block_of(chunk));
      }
    }
  }

 private:
  int becomes(int before, bitmap::Action action) const {
    // Startwrite Startsync Endsync Abortsync Reload Daemon Discard Stale ProactiveSync ClearUnwritten
    constexpr std::array<std::string_view, 8> table{"2-------5-", "2-----03--", "----3103--", "-4----0---",
                                                    "-4233-03--", "36-00-00-0", "46700-00-0", "2-----00-0"};
    if (before > 7) {
      return 3;
    }
    const char entry = table[static_cast<std::size_t>(before)][static_cast<std::size_t>(action)];
    if (degraded && before == 2 && action == bitmap::Action::start_sync) {
      return 4;
    }
    const int after = entry == '-' ? before : entry - '0';
    if (action == bitmap::Action::start_write && entry == '2' && (degraded || (raid456 && before == 0))) {
      return 3;
    }
    return after;
  }

  void write_out_later(std::uint64_t chunk) {
    const bool was_waiting = !waiting.insert(block_of(chunk)).second;
    if (degraded) {
      return;
    }
    bool company = was_waiting;
    for (std::uint64_t other = 0; other < states.size(); ++other) {
      const bool hot = states[other] == 2 || states[other] == 3;
      company = company || (other != chunk && block_of(other) == block_of(chunk) && hot);
    }
    for (std::uint64_t other = 0; company && other < states.size(); ++other) {
      if (block_of(other) != block_of(chunk)) {
        continue;
      }
      if (states[other] == 0) {
        states[other] = raid456 ? 3 : 2;
      } else if (states[other] == 1 || states[other] == 7) {
        states[other] = 2;
      }
    }
  }
};

}  // namespace mdtool::testing
