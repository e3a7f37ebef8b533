// SPDX-License-Identifier: GPL-2.0-or-later
// Mutants whose superblocks say the wrong thing.
#include "tests/crash/mutant.h"

namespace mdtool::crash {

namespace {

class Told : public Superblocks {
 public:
  Told(std::unique_ptr<Superblocks> right, const ArraySpec& spec) : right_(std::move(right)), spec_(spec) {}
  std::uint64_t events() const override { return right_->events(); }
  Status write(const ArrayState& state) override { return right_->write(state); }

 protected:
  std::unique_ptr<Superblocks> right_;
  ArraySpec spec_;
};

class NeverActive final : public Told {
 public:
  using Told::Told;
  Status write(const ArrayState& state) override {
    ArrayState clean = state;
    clean.resync_offset = Sectors::max();
    return right_->write(clean);
  }
};

class NeverWritten final : public Told {
 public:
  using Told::Told;
  Status write(const ArrayState&) override { return Done{}; }
};

class NotTheFirst final : public Told {
 public:
  using Told::Told;
  Status write(const ArrayState& state) override {
    const bool first = first_;
    first_ = false;
    return first ? Status(Done{}) : right_->write(state);
  }

 private:
  bool first_ = true;
};

class FailuresUntold final : public Told {
 public:
  using Told::Told;
  Status write(const ArrayState& state) override {
    ArrayState silent = state;
    silent.faulty_slots = {};
    return right_->write(silent);
  }
};

class FailuresUntoldAndEventsStill final : public Told {
 public:
  using Told::Told;
  Status write(const ArrayState& state) override {
    ArrayState silent = state;
    silent.faulty_slots = {};
    silent.events = right_->events();
    return right_->write(silent);
  }
};

class EventsRiseByTwo final : public Told {
 public:
  using Told::Told;
  Status write(const ArrayState& state) override {
    ArrayState jumping = state;
    jumping.events = right_->events() + 2 * (state.events - right_->events());
    return right_->write(jumping);
  }
};

class EventsStepBack final : public Told {
 public:
  using Told::Told;
  Status write(const ArrayState& state) override {
    ArrayState back = state;
    back.events = right_->events() - 1;
    return right_->write(back);
  }
};

// A checkpoint that nothing stands behind.
class HalfSynchronised final : public Told {
 public:
  using Told::Told;
  Status write(const ArrayState& state) override {
    ArrayState half = state;
    if (!state.resync_offset.is_max()) {
      half.resync_offset = Sectors(spec_.component / 2);
    }
    return right_->write(half);
  }
};

template <typename Wrong>
Mutant telling(std::string_view name) {
  return {.name = name, .superblocks = [](std::unique_ptr<Superblocks> right, const ArraySpec& spec) {
            return std::make_unique<Wrong>(std::move(right), spec);
          }};
}

}  // namespace

std::vector<Mutant> superblock_mutants() {
  return {
      telling<NeverActive>("superblocks never say active"),
      telling<NeverWritten>("superblocks are not written"),
      telling<NotTheFirst>("the first superblocks are not written"),
      telling<FailuresUntold>("failed members are not recorded"),
      telling<FailuresUntoldAndEventsStill>("failed members are not recorded and events not raised"),
      telling<EventsRiseByTwo>("events rise by two"),
      telling<EventsStepBack>("events step back"),
      telling<HalfSynchronised>("superblocks claim half of a resync"),
  };
}

}  // namespace mdtool::crash
