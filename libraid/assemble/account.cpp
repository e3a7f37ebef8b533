// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/account.h"

#include <algorithm>

#include "libraid/assemble/account_parts.h"
#include "libraid/assemble/start_rules.h"
#include "libraid/assemble/views.h"

namespace mdtool {

namespace {

std::optional<std::uint64_t> own_bitmap_events(const Member& m) {
  const auto& offset = m.description().bitmap_offset_bytes;
  if (!offset || m.role != Role::active) {
    return std::nullopt;
  }
  const auto header = bitmap::read_header(*m.candidate->metadata, *offset);
  return header ? std::optional<std::uint64_t>(header->events) : std::nullopt;
}

std::vector<Evidence> evidence_of(const Assembly& a) {
  std::vector<Evidence> all(a.members.size());
  for (std::size_t i = 0; i < a.members.size(); ++i) {
    if (a.members[i].candidate != nullptr) {
      all[i].view = view_letters(a.members[i].description(), a.slots());
      all[i].bitmap_events = own_bitmap_events(a.members[i]);
    }
  }
  return all;
}

std::uint64_t chunks_due(const BitmapView& view) {
  if (view.classic) {
    return view.classic->set_count();
  }
  const bitmap::StateCounts counts = view.lockless->counts();
  const auto of = [&](bitmap::ChunkState state) { return counts.by_state[static_cast<std::size_t>(state)]; };
  using enum bitmap::ChunkState;
  return of(dirty) + of(need_sync) + of(syncing) + counts.invalid;
}

// The slot that it had when it left has another device in it now, or had one in between: the array lists it still, or
// its own superblock is here and says so.
bool slot_taken(const Assembly& a, const MemberDescription& left) {
  const std::vector<std::uint16_t>& roles = a.array().dev_roles;
  for (std::uint32_t number = 0; number < roles.size(); ++number) {
    if (left.slot && roles[number] == *left.slot && number != left.dev_number) {
      return true;
    }
  }
  const bool held_later = std::any_of(a.members.begin(), a.members.end(), [&](const Member& m) {
    return m.candidate != nullptr && m.state != MemberState::unusable && m.description().role == Role::active &&
           m.description().slot == left.slot && m.description().dev_number != left.dev_number &&
           m.description().events > left.events;
  });
  return left.slot && (held_later || a.in_slot(*left.slot) != nullptr);
}

bool bitmap_vouches(const Assembly& a, const Departure& departure, const MemberDescription& left) {
  const BitmapView& view = a.bitmap;
  if (departure.slot_taken || view.trust != Trust::believed || !left.bitmap_offset_bytes || left.recovery) {
    return false;
  }
  return view.lockless || (view.classic && left.events >= view.classic->header().events_cleared);
}

std::vector<std::uint32_t> slots_in_view(const MemberDescription& viewer) {
  std::vector<std::uint32_t> slots;
  for (std::uint16_t role : viewer.dev_roles) {
    if (role < role_max_regular) {
      slots.push_back(role);
    }
  }
  std::sort(slots.begin(), slots.end());
  slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
  return slots;
}

// Whoever stayed were too few from the moment on in which it left, and nobody came back since: no write was completed.
bool stood_still(const Assembly& a, const MemberDescription& left) {
  std::vector<std::uint32_t> stayed = slots_in_view(left);
  std::erase(stayed, left.slot.value_or(role_spare));
  const std::vector<std::uint32_t> now = slots_in_view(a.array());
  return a.array().level > 0 && !enough_slots(a, stayed) &&
         std::includes(stayed.begin(), stayed.end(), now.begin(), now.end());
}

void count_stale_bytes(const Assembly& a, std::uint64_t due_bytes, Departure& departure,
                       const MemberDescription& left) {
  const MemberDescription& fresh = a.array();
  if (!departure.slot_taken && stood_still(a, left)) {
    departure.source = Departure::Source::standstill;
  } else if (bitmap_vouches(a, departure, left)) {
    departure.source = Departure::Source::bitmap;
    departure.stale_bytes = due_bytes;
  } else if (!departure.slot_taken && left.events == fresh.events && left.utime_seconds == fresh.utime_seconds &&
             left.clean() && fresh.clean()) {
    departure.source = Departure::Source::events;
  } else {
    departure.stale_bytes = a.array_bytes();
  }
}

std::string what_was_written(const Assembly& a, const Departure& departure) {
  switch (departure.source) {
    case Departure::Source::bitmap:
      return departure.stale_bytes == 0 ? "nothing was written since, says the bitmap"
                                        : "at most " + size_text(departure.stale_bytes) + " of " +
                                              size_text(a.array_bytes()) + " were written since, says the bitmap";
    case Departure::Source::standstill:
      return "without it the array could not run: nothing was written since but what was in flight then";
    case Departure::Source::events:
      return "its events and its time are the array's: nothing was written since";
    case Departure::Source::none:
      break;
  }
  if (departure.slot_taken) {
    return "another device has had its slot since: all of it counts as stale";
  }
  return a.bitmap.trust == Trust::absent ? "no bitmap says what was written since: all of it counts as stale"
                                         : "the bitmap does not reach back that far: all of it counts as stale";
}

std::string since_text(const Departure& departure) {
  if (departure.last_seconds < departure.left_seconds) {
    return "its last update is later than the array's, by " +
           duration_text(departure.left_seconds - departure.last_seconds);
  }
  return "the array went on for " + duration_text(departure.last_seconds - departure.left_seconds);
}

// It claims a slot and is not where the array is now.
bool has_left(const Assembly& a, const Member& m) {
  if (m.candidate == nullptr || m.description().role != Role::active || m.description().replacement) {
    return false;
  }
  return m.state == MemberState::stale || m.state == MemberState::faulty ||
         (m.state == MemberState::spare && !m.reason.empty()) ||
         (m.state == MemberState::unusable && m.description().events < a.array().events);
}

Departure departure_of(const Assembly& a, std::uint64_t due_bytes, std::size_t index) {
  const MemberDescription& left = a.members[index].description();
  const MemberDescription& fresh = a.array();
  Departure departure;
  departure.member = index;
  departure.events_behind = fresh.events > left.events ? fresh.events - left.events : 0;
  departure.left_seconds = left.utime_seconds;
  departure.last_seconds = fresh.utime_seconds;
  departure.slot_taken = slot_taken(a, left);
  count_stale_bytes(a, due_bytes, departure, left);
  departure.text = "left after event " + std::to_string(left.events) + " of " + std::to_string(fresh.events) + "; " +
                   since_text(departure) + "; " + what_was_written(a, departure);
  return departure;
}

bool in_a_half(const std::vector<std::vector<std::size_t>>& halves, std::size_t index) {
  return std::any_of(halves.begin(), halves.end(),
                     [&](const auto& half) { return std::binary_search(half.begin(), half.end(), index); });
}

// Who is in a half did not leave the other.
std::vector<Departure> departures_of(const Assembly& a, const std::vector<std::vector<std::size_t>>& halves) {
  std::vector<Departure> departures;
  const std::uint64_t due_bytes = unsynchronised_bytes(a).value_or(a.array_bytes());
  for (std::size_t i = 0; i < a.members.size(); ++i) {
    if (has_left(a, a.members[i]) && !in_a_half(halves, i)) {
      departures.push_back(departure_of(a, due_bytes, i));
    }
  }
  std::stable_sort(departures.begin(), departures.end(), [](const Departure& x, const Departure& y) {
    return std::tuple(x.events_behind, y.left_seconds) < std::tuple(y.events_behind, x.left_seconds);
  });
  return departures;
}

}  // namespace

std::uint64_t data_members(const Assembly& array) {
  const MemberDescription& d = array.array();
  const bool in_member_sectors = d.level == 4 || d.level == 5 || d.level == 6;
  if (!in_member_sectors || d.size.is_zero()) {
    return 1;
  }
  return std::max<std::uint64_t>(Sectors::from_bytes(array.array_bytes()) / d.size, 1);
}

std::optional<std::uint64_t> unsynchronised_bytes(const Assembly& array) {
  if (array.bitmap.trust != Trust::believed || array.bitmap.chunk().is_zero()) {
    return std::nullopt;
  }
  const std::uint64_t whole = array.array_bytes();
  const std::uint64_t of_a_chunk = array.bitmap.chunk().bytes() * data_members(array);
  const std::uint64_t due = chunks_due(array.bitmap);
  return due > whole / of_a_chunk ? whole : due * of_a_chunk;
}

Account account_of(const Assembly& array, std::span<const Candidate> candidates) {
  Account account;
  const std::vector<ViewGroup> groups = view_groups(array);
  account.evidence = evidence_of(array);
  account.halves = halves_of(array, groups);
  account.departures = departures_of(array, account.halves);
  account.contradictions = contradictions_of(array, groups, account);
  account.choices = choices_of(array, groups, account, candidates);
  return account;
}

}  // namespace mdtool
