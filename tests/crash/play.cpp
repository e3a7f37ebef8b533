// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <cstring>

#include "tests/crash/crash_point.h"
#include "tests/crash/workload.h"

namespace mdtool::crash {

namespace {

struct Span {
  std::uint64_t first, count;  // array sectors
};

class Player {
 public:
  Player(const Workload& w, const Mutant* mutant, const PlannedTrouble& trouble)
      : spec_(w.spec), random_(w.seed), recording_(std::make_unique<Recording>()), lenient_(trouble.nth != 0) {
    recording_->first = make_members(spec_);
    recording_->newest = recording_->first;
    if (trouble.nth != 0) {
      faults_.arm(trouble.trouble, trouble.nth);
    }
    machine_ = std::make_unique<Machine>(spec_, recording_->newest, recording_->log, faults_, 0, mutant);
  }

  Played play(const std::vector<Step>& steps) {
    for (const Step step : steps) {
      take(step);
      may_undo_ = may_undo_ && (step == Step::resync || step == Step::build_parity || step == Step::undo);
    }
    read_back();
    close();
    live_.reset();
    machine_.reset();
    if (const auto& fired = faults_.fired()) {
      recording_->deaths.push_back({fired->position, fired->member, false});
    }
    return {std::move(recording_), faults_.fired().has_value()};
  }

 private:
  void take(Step step) {
    switch (step) {
      case Step::write_sector:
      case Step::write_part:
      case Step::write_stripe:
      case Step::write_across:
        return write(place_of(step));
      case Step::flush:
        return flush();
      case Step::discard:
        return discard();
      case Step::zero:
        return zero();
      case Step::idle:
        return expect(live() ? live_->idle() : Status(Done{}), "idle");
      case Step::fail:
        return fail();
      case Step::reopen:
        live();
        return close();
      case Step::resync:
        return maintain({});
      case Step::build_parity:
        return maintain({MaintenanceTask::Kind::build_parity, build_extent(), BuiltState::automatic, {}});
      case Step::undo:
        return undo();
    }
  }

  std::uint64_t next_random() { return mixed(random_ += 0x9e37); }
  std::size_t now() const { return recording_->log.events().size(); }

  void complain(std::string text) {
    if (!recording_->complaint) {
      recording_->complaint = std::move(text);
    }
  }

  // Only where nothing was made to fail everything has to go well.
  void expect(const Status& status, const char* what) {
    if (!status && !lenient_) {
      complain(std::string(what) + ": " + status.error().text);
    }
  }

  bool live() {
    if (live_) {
      return true;
    }
    close_undo();
    if (auto looked = machine_->look(); !looked) {
      expect(looked, "look");
      return false;
    }
    auto opened = LiveMachine::open(*machine_, {});
    if (!opened) {
      // Interrupted before, and a member lost since: dirty and degraded.
      if (opened.error().kind != ErrorKind::refused || !spec_.interrupted || recording_->deaths.empty()) {
        expect(opened.error(), "open");
      }
      return false;
    }
    live_ = std::move(*opened);
    return true;
  }

  void close() {
    if (!live_) {
      return;
    }
    const std::size_t submitted = now();
    const Status stopped = live_->array().stop();
    expect(stopped, "stop");
    if (stopped) {
      recording_->oracle.flushed(submitted, now());
    }
    live_.reset();
  }

  // What was undone so far may be undone until somebody else writes.
  void close_undo() {
    if (recording_->undo && recording_->undo_until == 0) {
      recording_->undo_until = now();
    }
  }

  // Most writes fall into the first stripes, so that they meet.
  std::uint64_t some_stripe(std::uint64_t kept_free) {
    const std::uint64_t stripes = spec_.component / spec_.chunk - kept_free;
    const std::uint64_t random = next_random();
    return random % 4 == 0 ? (random >> 8) % stripes : (random >> 8) % 2;
  }

  Span place_of(Step step) {
    const std::uint64_t width = spec_.stripe_sectors();
    const std::uint64_t random = next_random();
    switch (step) {
      case Step::write_sector:
        return {some_stripe(0) * width + random % width, 1};
      case Step::write_part:
        return {some_stripe(0) * width + random % spec_.data_disks() * spec_.chunk + random / 16 % 4, 4};
      case Step::write_stripe:
        return {some_stripe(0) * width, width};
      default:
        return {some_stripe(1) * width + width - 3, 5};
    }
  }

  void write(Span s) {
    if (!live()) {
      return;
    }
    Oracle& oracle = recording_->oracle;
    const std::size_t change = oracle.issue(Oracle::Kind::data, s.first, s.count, now());
    const std::vector<std::byte> bytes = oracle.bytes_of(change);
    const Status done = live_->array().write(s.first * sector_bytes, bytes);
    expect(done, "write");
    acknowledge(done, change);
    if (!done) {
      return;
    }
    std::vector<std::byte> back(bytes.size());
    const Status read = live_->array().read(s.first * sector_bytes, back);
    expect(read, "read");
    if (read && back != bytes) {
      complain("what was just written at array sector " + std::to_string(s.first) + " reads different");
    }
  }

  void acknowledge(const Status& done, std::size_t change) {
    if (done) {
      recording_->oracle.acknowledge(change, now());
    }
  }

  void flush() {
    if (!live()) {
      return;
    }
    const std::size_t submitted = now();
    const Status done = live_->array().flush();
    expect(done, "flush");
    if (done) {
      recording_->oracle.flushed(submitted, now());
    }
  }

  // From the middle of a stripe to the middle of another: the whole stripes between are discarded.
  void discard() {
    if (!live()) {
      return;
    }
    const std::uint64_t width = spec_.stripe_sectors();
    const std::uint64_t first = some_stripe(3);
    const bool ragged = next_random() % 2 == 0;
    const std::uint64_t stripes = ragged ? 1 + next_random() % 2 : 2;
    const std::size_t change =
        recording_->oracle.issue(Oracle::Kind::discard, (first + (ragged ? 1 : 0)) * width, stripes * width, now());
    const Status done =
        ragged ? live_->array().discard(((first + 1) * width - 2) * sector_bytes, (stripes * width + 4) * sector_bytes)
               : live_->array().discard(first * width * sector_bytes, stripes * width * sector_bytes);
    expect(done, "discard");
    acknowledge(done, change);
  }

  void zero() {
    if (!live()) {
      return;
    }
    const std::uint64_t width = spec_.stripe_sectors();
    const Span s{some_stripe(2) * width + next_random() % width, width / 2 + next_random() % width};
    const std::size_t change = recording_->oracle.issue(Oracle::Kind::zeroes, s.first, s.count, now());
    const Status done = live_->array().zero(s.first * sector_bytes, s.count * sector_bytes);
    expect(done, "zero");
    acknowledge(done, change);
  }

  void fail() {
    const std::size_t gone = recording_->deaths.size() + (spec_.missing ? 1 : 0);
    const auto slot = static_cast<std::uint32_t>(next_random() % spec_.slots);
    if (gone >= spec_.parity_disks() || lenient_ || spec_.missing == slot || faults_.is_dead(slot)) {
      return;
    }
    recording_->deaths.push_back({now(), slot, true});
    faults_.kill(slot);
  }

  WriteIntent::Extent build_extent() {
    return spec_.bitmap == bitmap::Kind::lockless && next_random() % 2 == 0 ? WriteIntent::Extent::unwritten
                                                                            : WriteIntent::Extent::everything;
  }

  void maintain(const MaintenanceTask& task) {
    close();
    close_undo();
    may_undo_ = false;
    const bool first = now() == 0;
    if (auto looked = machine_->look(); !looked) {
      return expect(looked, "look");
    }
    std::unique_ptr<UndoRecorder> undo;
    auto done = machine_->maintain(task, &undo);
    // What cannot be built, dirty or degraded, is refused.
    if (!done && done.error().kind != ErrorKind::refused) {
      expect(done.error(), "maintenance");
    }
    if (undo && first) {
      recording_->undo = std::move(undo);
      may_undo_ = true;
    }
  }

  void undo() {
    if (may_undo_) {
      UndoRecorder& undo = *recording_->undo;
      recording_->undo_began = now();
      expect(machine_->undo(undo.contents(now()), undo.slots), "undo");
      recording_->undo_ended = now();
    }
  }

  // Everything that was ever changed, as users see it now.
  void read_back() {
    if (!live_ || lenient_) {
      return;
    }
    const std::size_t position = now();
    for (const std::uint64_t sector : recording_->oracle.changed_sectors()) {
      std::array<std::byte, sector_bytes> bytes;
      const Status done = live_->array().read(sector * sector_bytes, bytes);
      // What a cut before all this left unproven may be lost with a member.
      if (!spec_.interrupted || recording_->deaths.empty()) {
        expect(done, "read");
      }
      // Without a cut the last content is the only one.
      const Oracle::Allowed allowed = recording_->oracle.allowed(sector, position);
      if (done && std::memcmp(bytes.data(), allowed.contents.back(), sector_bytes) != 0) {
        complain("array sector " + std::to_string(sector) + " reads different from what was last written");
      }
    }
  }

  const ArraySpec& spec_;
  std::uint64_t random_;
  std::unique_ptr<Recording> recording_;
  bool lenient_;
  bool may_undo_ = false;
  FaultScript faults_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<LiveMachine> live_;
};

}  // namespace

Played play(const Workload& w, const Mutant* mutant, const PlannedTrouble& trouble) {
  return Player(w, mutant, trouble).play(w.steps);
}

}  // namespace mdtool::crash
