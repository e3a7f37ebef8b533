// SPDX-License-Identifier: GPL-2.0-or-later
// The verdict explained: who left when and what was written since, what can be started and at what cost, and what
// contradicts what. Reads superblocks and bitmaps that were read before; opens nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libraid/assemble/assembly.h"

namespace mdtool {

// What a member's superblock and its own copy of the bitmap say, beside its description.
struct Evidence {
  std::string view;                            // a letter for each slot: view_letters(); empty for an empty slot
  std::optional<std::uint64_t> bitmap_events;  // of this member's own copy
};

// One member that is not where the freshest superblocks are, and what it missed.
struct Departure {
  std::size_t member = 0;  // index into Assembly::members
  std::uint64_t events_behind = 0;
  std::uint64_t left_seconds = 0;  // its own last update, since 1970
  std::uint64_t last_seconds = 0;  // the array's last update
  // Array bytes that may have been written since, at most: from the bitmap where it vouches for that, else all of the
  // array. 0: provably nothing.
  std::uint64_t stale_bytes = 0;
  // What stale_bytes comes from. standstill: it was one too many, and the array could not be written without it.
  enum class Source { bitmap, standstill, events, none } source = Source::none;
  // Another device has had its slot since: the bitmap does not vouch for anything then.
  bool slot_taken = false;
  std::string text;  // a sentence for people, without the member's name
};

// One way to have the array, and its price.
struct Choice {
  // "start", "resync", "start-degraded", "leave-out", "re-add", "recover", "lazy-recovery", "copy", "repair-bitmap",
  // "without-bitmap", "force", "force-other-half", "give-slots", "add-in-place", "finish-reshape", "find-members"
  std::string id;
  std::string what;                          // a sentence
  std::string cost;                          // a sentence; what is lost or cannot be known
  std::string command;                       // to be typed; member paths as given; empty: nothing can be typed
  std::vector<std::size_t> members;          // indices into Assembly::members that would take part
  std::optional<std::uint64_t> stale_bytes;  // possibly stale, where a number can be given
};

struct Account {
  std::vector<Evidence> evidence;     // one for each of Assembly::members
  std::vector<Departure> departures;  // the last to leave first
  std::vector<Choice> choices;        // the cheapest first
  // Two or more groups of members that were each written without the other: indices into Assembly::members. Empty
  // unless the array is split.
  std::vector<std::vector<std::size_t>> halves;
  Findings contradictions;  // each with an id and the next step
};

// `candidates` are all members that were named, those of no array too. Reads the bitmaps' headers.
Account account_of(const Assembly& array, std::span<const Candidate> candidates);
// Contradictions beyond one array: clones, a member of two arrays, an old superblock under a new one, a lost one.
Findings contradictions_among(std::span<const Candidate> candidates, std::span<const Assembly> arrays);

// Array bytes that hang on each byte of the bitmap's sync range.
std::uint64_t data_members(const Assembly& array);
// Array bytes that the bitmap calls written and not synchronised; none where it is not believed.
std::optional<std::uint64_t> unsynchronised_bytes(const Assembly& array);

}  // namespace mdtool
