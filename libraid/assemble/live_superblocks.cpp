// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/live_superblocks.h"

#include <algorithm>

namespace mdtool {

// After a cut members may be one event apart, and the bitmap one ahead of them. Who is behind catches up first: the
// next event, on its way from member to member, would put him two behind, and out of the array.
void LiveSuperblocks::catch_up(const ArrayState& state) {
  std::uint64_t highest = 0;
  for (const SuperblockPlace& place : places_) {
    highest = std::max(highest, place.slot ? place.superblock->describe().events : 0);
  }
  raise_to(highest, state);
  if (events_ > highest) {
    raise_to(events_, state);
  }
}

void LiveSuperblocks::raise_to(std::uint64_t events, const ArrayState& state) {
  ArrayState level = state;
  level.events = events;
  for (SuperblockPlace& place : places_) {
    if (working(place) && place.superblock->describe().events < events) {
      write_one(place, level);
    }
  }
}

Status LiveSuperblocks::write(const ArrayState& state) {
  if (!written_) {
    catch_up(state);
  }
  if (!written_ && left_.any()) {
    ArrayState step = state;
    --step.events;
    TRY(first, write_round(step));
  }
  TRY(done, write_round(state));
  written_ = true;
  return Done{};
}

bool LiveSuperblocks::working(const SuperblockPlace& place) const {
  return place.device != nullptr && (!place.slot || members_->working(*place.slot));
}

SuperblockChange LiveSuperblocks::change_for(const ArrayState& state) const {
  SuperblockChange change;
  change.events = state.events;
  change.utime_seconds = now_seconds_();
  change.resync_offset = state.resync_offset;
  change.missing_slots = left_.missing_slots;
  change.departed = left_.departed;
  change.faulty_slots.assign(state.faulty_slots.begin(), state.faulty_slots.end());
  return change;
}

Status LiveSuperblocks::write_round(const ArrayState& state) {
  std::size_t written = 0;
  for (SuperblockPlace& place : places_) {
    if (working(place) && write_one(place, state)) {
      written += place.slot ? 1 : 0;
    }
  }
  if (written == 0) {
    return Error{ErrorKind::io, "no member takes its superblock any more"};
  }
  return Done{};
}

bool LiveSuperblocks::write_one(SuperblockPlace& place, const ArrayState& state) {
  SuperblockChange change = change_for(state);
  change.recovery = place.recovery;
  change.corrected_reads =
      place.slot && *place.slot < state.corrected_reads.size() ? state.corrected_reads[*place.slot] : 0;
  const auto bytes = place.superblock->changed(change)->encode();
  Status done = place.device->write_durable(place.superblock->offset_bytes(), bytes);
  if (!done && place.slot) {
    members_->fail(*place.slot, Error(done.error()).in("superblock"));
  } else if (!done) {
    place.device = nullptr;
  }
  return done.has_value();
}

}  // namespace mdtool
