// SPDX-License-Identifier: GPL-2.0-or-later
// Mutants whose write intent says too little, too late, or of the wrong rows.
#include <algorithm>

#include "tests/crash/mutant.h"

namespace mdtool::crash {

namespace {

// Says what the right one says. What goes wrong is in those derived from it.
class Said : public Intent {
 public:
  Said(std::unique_ptr<Intent> right, const ArraySpec& spec) : right_(std::move(right)), spec_(spec) {}
  Status start_write(SectorRange rows) override { return right_->start_write(rows); }
  void end_write(SectorRange rows, Written written, Ticks now) override { right_->end_write(rows, written, now); }
  Status start_discard(SectorRange rows) override { return right_->start_discard(rows); }
  void discard(SectorRange rows) override { right_->discard(rows); }
  bool trusts_parity(SectorRange rows) const override { return right_->trusts_parity(rows); }
  std::optional<SectorRange> start_sync(Sectors from) override { return right_->start_sync(from); }
  void end_sync(SectorRange rows, Synced synced, Ticks now) override { right_->end_sync(rows, synced, now); }
  bool anything_due() const override { return right_->anything_due(); }
  Sectors resync_offset() const override { return right_->resync_offset(); }
  bool prepare_to_clear(Ticks now) override { return right_->prepare_to_clear(now); }
  Status clear_prepared(Ticks now) override { return right_->clear_prepared(now); }
  std::optional<Ticks> clears_in(Ticks now) const override { return right_->clears_in(now); }
  void degraded() override { right_->degraded(); }
  Status write_header(std::uint64_t events) override { return right_->write_header(events); }
  Status write_all(std::uint64_t events) override { return right_->write_all(events); }

 protected:
  Sectors component() const { return Sectors(spec_.component); }
  Sectors chunk() const { return Sectors(spec_.bitmap_chunk); }

  std::unique_ptr<Intent> right_;
  ArraySpec spec_;
};

class MarksNothing final : public Said {
 public:
  using Said::Said;
  Status start_write(SectorRange) override { return Done{}; }
  void end_write(SectorRange, Written, Ticks) override {}
};

class MarksTheNext final : public Said {
 public:
  using Said::Said;
  Status start_write(SectorRange rows) override { return right_->start_write(off(rows)); }
  void end_write(SectorRange rows, Written written, Ticks now) override { right_->end_write(off(rows), written, now); }

 private:
  SectorRange off(SectorRange rows) const {
    const Sectors first((rows.first + chunk()).count() % spec_.component);
    return {first, std::min(rows.count, component() - first)};
  }
};

class MarksTheFirstOnly final : public Said {
 public:
  using Said::Said;
  Status start_write(SectorRange rows) override { return right_->start_write(first_of(rows)); }
  void end_write(SectorRange rows, Written written, Ticks now) override {
    right_->end_write(first_of(rows), written, now);
  }

 private:
  SectorRange first_of(SectorRange rows) const {
    return {rows.first, std::min(rows.count, chunk() - rows.first % chunk())};
  }
};

// A builder that failed counts as done.
class TakesAllForSynchronised final : public Said {
 public:
  using Said::Said;
  void end_sync(SectorRange rows, Synced, Ticks now) override { right_->end_sync(rows, Synced::yes, now); }
};

// A write is over when it begins, and what is over is cleared at once.
class ClearsWhileWriting final : public Said {
 public:
  using Said::Said;
  Status start_write(SectorRange rows) override {
    TRY(marked, right_->start_write(rows));
    right_->end_write(rows, Written::yes, late_);
    for (int pass = 0; pass < passes; ++pass) {
      late_ += std::chrono::hours(1);
      if (right_->prepare_to_clear(late_)) {
        TRY(cleared, right_->clear_prepared(late_));
      }
    }
    return Done{};
  }
  void end_write(SectorRange, Written, Ticks) override {}

 private:
  static constexpr int passes = 4;
  Ticks late_ = std::chrono::hours(1);
};

class ClearsWithoutFlush final : public Said {
 public:
  using Said::Said;
  void end_write(SectorRange rows, Written written, Ticks now) override {
    right_->end_write(rows, written, now);
    for (int pass = 0; pass < passes; ++pass) {
      late_ += std::chrono::hours(1);
      if (right_->prepare_to_clear(late_)) {
        static_cast<void>(right_->clear_prepared(late_));
      }
    }
  }

 private:
  static constexpr int passes = 4;
  Ticks late_ = std::chrono::hours(1);
};

class TrustsAllParity final : public Said {
 public:
  using Said::Said;
  bool trusts_parity(SectorRange) const override { return true; }
};

class SyncedTooEarly final : public Said {
 public:
  using Said::Said;
  std::optional<SectorRange> start_sync(Sectors from) override {
    const auto rows = right_->start_sync(from);
    if (rows) {
      right_->end_sync(*rows, Synced::yes, Ticks(0));
      // As if the builder were done with the last stripe: it gets one row only.
      return SectorRange{rows->first, Sectors(1)};
    }
    return rows;
  }
  void end_sync(SectorRange, Synced, Ticks) override {}
};

class NothingIsDue final : public Said {
 public:
  using Said::Said;
  bool anything_due() const override { return false; }
};

class SkipsTheFirstDue final : public Said {
 public:
  using Said::Said;
  std::optional<SectorRange> start_sync(Sectors from) override {
    const auto rows = right_->start_sync(from);
    if (rows && !skipped_) {
      skipped_ = true;
      right_->end_sync(*rows, Synced::yes, Ticks(0));
      return right_->start_sync(rows->end());
    }
    return rows;
  }

 private:
  bool skipped_ = false;
};

class AlwaysClean final : public Said {
 public:
  using Said::Said;
  Sectors resync_offset() const override { return Sectors::max(); }
};

// As the kernel does with the last chunk of a discard.
class DiscardsPartsToo final : public Said {
 public:
  using Said::Said;
  void discard(SectorRange rows) override {
    const Sectors first = rows.first - rows.first % chunk();
    const Sectors end = std::min(component(), chunk() * ((rows.end() + chunk() - Sectors(1)) / chunk()));
    right_->discard({first, end - first});
  }
};

class WritesAreDiscards final : public Said {
 public:
  using Said::Said;
  Status start_write(SectorRange rows) override { return right_->start_discard(rows); }
};

class BitmapForgetsAtStop final : public Said {
 public:
  using Said::Said;
  Status write_all(std::uint64_t events) override {
    for (Sectors row; row < component(); row += chunk()) {
      const SectorRange rows{row, std::min(chunk(), component() - row)};
      static_cast<void>(right_->start_discard(rows));
      right_->discard(rows);
      right_->end_write(rows, Written::yes, Ticks(0));
    }
    return right_->write_all(events);
  }
};

template <typename Wrong>
Mutant saying(std::string_view name) {
  return {.name = name, .intent = [](std::unique_ptr<Intent> right, const ArraySpec& spec) {
            return std::make_unique<Wrong>(std::move(right), spec);
          }};
}

}  // namespace

std::vector<Mutant> intent_mutants() {
  return {
      saying<MarksNothing>("writes are not marked"),
      saying<MarksTheNext>("writes mark the next chunk"),
      saying<MarksTheFirstOnly>("writes mark their first chunk only"),
      saying<TakesAllForSynchronised>("a chunk that could not be synchronised counts as done"),
      saying<ClearsWhileWriting>("marks are cleared before the data is written"),
      saying<ClearsWithoutFlush>("marks are cleared before the data is flushed"),
      saying<TrustsAllParity>("parity that was never built is trusted"),
      saying<SyncedTooEarly>("a chunk counts as synchronised after its first row"),
      saying<NothingIsDue>("nothing is ever due"),
      saying<SkipsTheFirstDue>("the first chunk that is due is passed over"),
      saying<AlwaysClean>("the array is called clean while a resync is due"),
      saying<DiscardsPartsToo>("a discard takes parts of chunks with it"),
      saying<WritesAreDiscards>("writes are marked as discards are"),
      saying<BitmapForgetsAtStop>("a stop calls all chunks unwritten"),
  };
}

}  // namespace mdtool::crash
