// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/explorer.h"

#include <algorithm>

#include "tests/crash/rows.h"

namespace mdtool::crash {

namespace {

// One state in so many is also looked at with a member lost.
constexpr std::uint64_t absent_one_in = 4;
// At each place of a recovery's log so many states are looked at.
constexpr std::uint64_t most_of_a_recovery = 4;

bool is_durability(const Event& e) {
  return e.kind == EventKind::flush || e.kind == EventKind::harden;
}

}  // namespace

Tally& Tally::operator+=(const Tally& other) {
  workloads += other.workloads;
  positions += other.positions;
  enumerated += other.enumerated;
  checked += other.checked;
  nested += other.nested;
  recorded_events += other.recorded_events;
  return *this;
}

Explorer::Explorer(const ArraySpec& spec, const Recording& recording, std::uint64_t seed, const Mutant* mutant,
                   const Exploration& how)
    : spec_(spec),
      recording_(recording),
      seed_(seed),
      how_(how),
      judge_(spec, recording.first, recording.oracle, mutant),
      wrong_(spec.rows()) {
  for (std::uint64_t row = 0; row < spec.rows(); ++row) {
    wrong_[row] = starts_wrong(spec, row) ? 1 : 0;
  }
  told_ = recording.oracle.places();
  for (const Recording::Death& death : recording.deaths) {
    told_.push_back(death.position);
  }
  std::sort(told_.begin(), told_.end());
}

void Explorer::seek(std::size_t position) {
  std::uint64_t dead = 0;
  std::optional<std::size_t> degraded_since = spec_.missing ? std::optional<std::size_t>(0) : std::nullopt;
  for (const Recording::Death& death : recording_.deaths) {
    if (death.position <= position) {
      dead |= std::uint64_t{1} << death.slot;
      degraded_since =
          death.for_good ? std::min(degraded_since.value_or(death.position), death.position) : degraded_since;
    }
  }
  judge_.seek(position, dead, degraded_since);
  undo_possible_ = recording_.undo && dead == 0 && (recording_.undo_until == 0 || position <= recording_.undo_until);
  undo_only_ = position > recording_.undo_began && position < recording_.undo_ended;
  seen_.clear();
}

std::optional<Found> Explorer::explore() {
  tally_.workloads = 1;
  tally_.recorded_events = recording_.log.events().size();
  if (recording_.complaint) {
    return Found{{}, *recording_.complaint};
  }
  if (Complaint c = judge_.out_of_bounds(recording_.log)) {
    return Found{{}, *c};
  }
  CrashPoint point(recording_.first, recording_.log, seed_);
  std::vector<CrashPoint::Place> pending;
  for (;;) {
    if (point.position() == 0 || undo_possible_ || std::binary_search(told_.begin(), told_.end(), point.position())) {
      seek(point.position());
    }
    std::uint64_t state = 0;
    if (!how_.only || how_.only->position == point.position()) {
      if (Complaint c = explore_position(point, state)) {
        return Found{{point.position(), state}, *c};
      }
    }
    if (point.at_end()) {
      return std::nullopt;
    }
    const bool hardens = is_durability(point.next());
    pending = hardens ? point.unflushed_places() : std::vector<CrashPoint::Place>();
    point.advance();
    update_rows(pending, point.durable(), wrong_);
  }
}

Complaint Explorer::explore_position(CrashPoint& point, std::uint64_t& state) {
  ++tally_.positions;
  const std::uint64_t states = point.states();
  std::vector<Image>& scratch = point.scratch();
  // Where users were just told something, the first state is always one of them.
  const std::uint64_t first = seen_.empty() ? 0 : mixed(seed_ ^ mixed(point.position())) % how_.one_in;
  for (state = how_.only ? how_.only->state : first; state < states; state += how_.only ? states : how_.one_in) {
    ++tally_.enumerated;
    const std::uint64_t hash = point.fingerprint(state);
    if (!seen_.insert(hash).second) {
      continue;
    }
    if (Complaint c = check_state(point, {state, mixed(hash ^ seed_ ^ point.position())}, scratch)) {
      return c;
    }
  }
  return std::nullopt;
}

std::uint64_t Explorer::pick_absent(std::uint64_t hash) const {
  if (hash % absent_one_in != 0 || undo_only_) {
    return 0;
  }
  const std::uint64_t slot = hash / absent_one_in % spec_.slots;
  return spec_.missing == slot ? 0 : std::uint64_t{1} << slot;
}

RecoveryPath Explorer::pick_path(std::uint64_t hash, std::uint64_t absent) const {
  if (undo_only_ || (undo_possible_ && absent == 0 && hash % 2 == 0)) {
    return RecoveryPath::undo;
  }
  return hash / 2 % 2 == 0 ? RecoveryPath::live : RecoveryPath::resync;
}

Complaint Explorer::check_state(const CrashPoint& point, const Trial& trial, std::vector<Image>& scratch) {
  const std::uint64_t more = trial.hash / 1024;
  const bool nested = trial.hash / 64 % how_.nested_one_in == 0 || how_.only;
  const UndoRecorder* undo = recording_.undo.get();
  if (Complaint c = check_variant(point, trial, scratch, {0, pick_path(more, 0), undo, 1, undo_only_, {}}, nested)) {
    return c;
  }
  const std::uint64_t absent = pick_absent(trial.hash);
  if (absent == 0) {
    return std::nullopt;
  }
  Complaint c = check_variant(point, trial, scratch, {absent, pick_path(more / 2, absent), undo, 1, false, {}}, nested);
  return c ? "with slots " + std::to_string(absent) + " (mask) lost: " + *c : c;
}

void Explorer::update_rows(const std::vector<CrashPoint::Place>& places, const std::vector<Image>& images,
                           WrongRows& wrong) const {
  for (const CrashPoint::Place& place : places) {
    if (const auto row = spec_.row_of(place.sector); row && !spec_.missing) {
      wrong[*row] = row_is_right(spec_, images, *row) ? 0 : 1;
    }
  }
}

Complaint Explorer::check_variant(const CrashPoint& point, const Trial& trial, std::vector<Image>& scratch,
                                  const Situation& situation, bool nested) {
  ++tally_.checked;
  std::vector<CrashPoint::Place> touched;
  point.apply(trial.state, scratch, touched);
  WrongRows wrong = wrong_;
  update_rows(touched, scratch, wrong);
  Complaint complaint = judge_.judge(scratch, wrong, situation, recovery_);
  for (const Event& e : recovery_.log.events()) {
    for (std::uint64_t i = 0; e.kind == EventKind::write && i < e.sectors; ++i) {
      touched.push_back({e.member, e.sector + i});
    }
  }
  point.restore(scratch, touched);
  if (!complaint && nested && !recovery_.log.events().empty()) {
    complaint = check_recovery(point, trial, situation);
  }
  return complaint;
}

// I8: a cut during the recovery that was just recorded.
Complaint Explorer::check_recovery(const CrashPoint& outer, const Trial& trial, const Situation& situation) {
  std::vector<Image> after_cut = outer.durable();
  std::vector<CrashPoint::Place> touched;
  outer.apply(trial.state, after_cut, touched);
  WrongRows wrong = wrong_;
  update_rows(touched, after_cut, wrong);
  CrashPoint point(after_cut, recovery_.log, trial.hash);
  std::vector<Image>& scratch = point.scratch();
  std::unordered_set<std::uint64_t> seen;
  for (;;) {
    const std::uint64_t states = point.states();
    const std::uint64_t stride = how_.only ? 1 : (states + most_of_a_recovery - 1) / most_of_a_recovery;
    for (std::uint64_t state = mixed(trial.hash ^ point.position()) % stride; state < states; state += stride) {
      ++tally_.enumerated;
      const std::uint64_t hash = mixed(point.fingerprint(state) ^ trial.hash);
      if (!seen.insert(hash).second) {
        continue;
      }
      ++tally_.checked;
      ++tally_.nested;
      std::vector<CrashPoint::Place> places;
      point.apply(state, scratch, places);
      WrongRows now = wrong;
      update_rows(places, scratch, now);
      Situation again = situation;
      again.path = situation.path == RecoveryPath::undo && point.position() < recovery_.undone ? RecoveryPath::undo
                   : hash / 2 % 2 == 0                                                         ? RecoveryPath::live
                                                                                               : RecoveryPath::resync;
      again.cuts = 2;
      again.uncertain = recovery_.uncertain;
      again.undoing = again.path == RecoveryPath::undo && (point.position() > 0 || situation.undoing);
      Complaint c = judge_.judge(scratch, now, again, second_recovery_);
      for (const Event& e : second_recovery_.log.events()) {
        for (std::uint64_t i = 0; e.kind == EventKind::write && i < e.sectors; ++i) {
          places.push_back({e.member, e.sector + i});
        }
      }
      point.restore(scratch, places);
      if (c) {
        return "I8: cut again after " + std::to_string(point.position()) + " events of recovery, state " +
               std::to_string(state) + ": " + *c;
      }
    }
    if (point.at_end()) {
      return std::nullopt;
    }
    const std::vector<CrashPoint::Place> pending =
        is_durability(point.next()) ? point.unflushed_places() : std::vector<CrashPoint::Place>();
    point.advance();
    update_rows(pending, point.durable(), wrong);
  }
}

}  // namespace mdtool::crash
