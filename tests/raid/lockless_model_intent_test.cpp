// SPDX-License-Identifier: GPL-2.0-or-later
// The lockless intent in random use beside the model of its documentation: the same bytes on every member, always.
#include <gtest/gtest.h>

#include <random>

#include "tests/meta/lockless_model.h"
#include "tests/raid/lockless_running.h"

namespace mdtool {
namespace {

using namespace mdtool::testing;
using bitmap::Action;

// The intent beside the model: the same operations, and the same bytes on every member after each of them.
class Beside {
 public:
  explicit Beside(std::uint32_t seed) : random_(seed) {
    States states(chunks, static_cast<std::uint8_t>(below(2)));
    for (std::uint64_t n = below(60); n > 0; --n) {
      states[below(chunks)] = static_cast<std::uint8_t>(below(9));
    }
    model_.block_bytes = seed % 3 == 0 ? 4096 : 512;
    start(member_with(states).bytes);
  }

  void step() {
    now_ += second * static_cast<int>(below(12));
    switch (below(9)) {
      case 0:
      case 1:
        begin_write();
        break;
      case 2:
      case 3:
        end_write();
        break;
      case 4:
        discard();
        break;
      case 5:
        sync();
        break;
      case 6:
        clean();
        break;
      case 7:
        ASSERT_TRUE(array_->intent->write_header(++events_).has_value());
        model_.waiting.insert(0);  // the header's block
        write_out(0, last_block());
        break;
      default:
        if (below(40) == 0) {
          array_->intent->degraded();
          model_.degraded = true;
        } else if (below(10) == 0) {
          cut();
        }
        break;
    }
    compare();
  }

 private:
  struct Write {
    std::uint64_t first;
    std::uint64_t last;
  };
  std::uint64_t below(std::uint64_t end) { return random_() % end; }
  std::uint64_t last_block() const { return model_.block_of(chunks - 1); }
  static std::uint64_t page(std::uint64_t chunk) { return (1024 + chunk) / 4096; }

  void start(const std::vector<std::byte>& bytes) {
    IntentStart begin = clean_start();
    begin.logical_block_bytes = static_cast<std::uint32_t>(model_.block_bytes);
    array_ = std::make_unique<Running>(bytes, begin);
    disk_ = array_->on_disk();
    model_.states = disk_;
    model_.waiting.clear();
    model_.degraded = false;
    model_.act(Action::reload, 0, chunks);
    usable_ = false;
    writes_.clear();
    last_write_ = {};
  }
  // The kernel, or the tool itself, finds the members as they are at this moment.
  void cut() { start(array_->members.devices[below(3)].bytes()); }

  void write_out(std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t chunk = 0; chunk < chunks; ++chunk) {
      const std::uint64_t block = model_.block_of(chunk);
      if (!usable_ || (block >= first && block <= last && model_.waiting.count(block) != 0)) {
        disk_[chunk] = model_.states[chunk];
      }
    }
    for (std::uint64_t block = first; block <= last; ++block) {
      model_.waiting.erase(block);
    }
    usable_ = true;
  }
  std::uint64_t somewhere() { return below(3) == 0 ? below(chunks) : below(8) * 500 + below(6); }
  Write some_chunks() {
    const std::uint64_t first = somewhere();
    return {first, std::min(first + below(3), chunks - 1)};
  }
  static SectorRange rows(Write w) { return chunk(w.first, w.last - w.first + 1); }

  void begin_write() {
    const Write w = some_chunks();
    ASSERT_TRUE(array_->intent->start_write(rows(w)).has_value());
    model_.act(Action::start_write, w.first, w.last);
    write_out(model_.block_of(w.first), model_.block_of(w.last));
    writes_.push_back(w);
  }
  void end_write() {
    if (writes_.empty()) {
      return;
    }
    const Write w = writes_[below(writes_.size())];
    std::erase_if(writes_, [&, done = false](const Write& x) mutable {
      const bool it = !done && x.first == w.first && x.last == w.last;
      done = done || it;
      return it;
    });
    array_->intent->end_write(rows(w), Written::yes, now_);
    touch(w);
  }
  void touch(Write w) {
    for (std::uint64_t p = page(w.first); p <= page(w.last); ++p) {
      last_write_[p] = now_;
    }
  }
  bool in_flight(std::uint64_t chunk) const {
    return std::ranges::any_of(writes_, [&](const Write& w) { return w.first <= chunk && chunk <= w.last; });
  }
  void discard() {
    const Write w = some_chunks();
    ASSERT_TRUE(array_->intent->start_discard(rows(w)).has_value());
    for (std::uint64_t c = w.first; c <= w.last; ++c) {
      if (model_.states[c] == 1 || model_.states[c] == 7) {
        model_.states[c] = model_.degraded ? 3 : 2;
        model_.waiting.insert(model_.block_of(c));
      }
    }
    write_out(model_.block_of(w.first), model_.block_of(w.last));
    array_->intent->discard(rows(w));
    for (std::uint64_t c = w.first; c <= w.last && !model_.degraded; ++c) {
      if (!in_flight(c)) {
        model_.act(Action::discard, c, c);
      }
    }
    array_->intent->end_write(rows(w), Written::yes, now_);
    touch(w);
  }
  void sync() {
    const std::uint64_t from = somewhere();
    const auto found = std::find_if(model_.states.begin() + static_cast<std::ptrdiff_t>(from), model_.states.end(),
                                    [](std::uint8_t s) { return s == 3 || s == 5; });
    const auto given = array_->intent->start_sync(Sectors(128 * from));
    const auto c = static_cast<std::uint64_t>(found - model_.states.begin());
    if (model_.degraded || c == chunks) {
      ASSERT_EQ(given, std::nullopt);
      return;
    }
    ASSERT_EQ(given, chunk(c));
    const bool right = below(4) != 0;
    model_.act(Action::start_sync, c, c);
    array_->intent->end_sync(*given, right ? Synced::yes : Synced::no, now_);
    model_.act(right ? Action::end_sync : Action::abort_sync, c, c);
  }
  void clean() {
    array_->intent->prepare_to_clear(now_);  // starts the timer at least
    now_ += daemon_sleep * 2;
    array_->maintain(now_);
    const std::vector<std::uint64_t> idle = idle_pages();
    const bool again = array_->intent->clears_in(now_).has_value();
    for (std::uint64_t c = 0; c < chunks && !model_.degraded; ++c) {
      if (std::ranges::count(idle, page(c)) != 0) {
        model_.act(Action::daemon, c, c);
      }
    }
    const bool left = !model_.degraded && std::ranges::count(model_.states, dirty) != 0;
    ASSERT_EQ(again, left);
  }
  std::vector<std::uint64_t> idle_pages() const {
    std::vector<std::uint64_t> idle;
    for (std::uint64_t p = 0; p <= page(chunks - 1); ++p) {
      const bool busy =
          std::ranges::any_of(writes_, [&](const Write& w) { return page(w.first) <= p && p <= page(w.last); });
      if (!busy && now_ >= last_write_[p] + second * 5) {
        idle.push_back(p);
      }
    }
    return idle;
  }
  void compare() {
    for (std::size_t member = 0; member < 3; ++member) {
      ASSERT_EQ(array_->on_disk(member), disk_);
    }
    const auto due = [](std::uint8_t s) { return s >= 3 && s <= 6; };
    ASSERT_EQ(array_->intent->anything_due(), !model_.degraded && std::ranges::any_of(model_.states, due));
    const std::uint64_t c = somewhere();
    const std::uint8_t state = model_.states[c];
    if (!model_.degraded) {
      ASSERT_EQ(array_->intent->trusts_parity(chunk(c)), state == 1 || state == 2 || state == 7);
    }
  }

  std::mt19937 random_;
  LocklessModel model_;
  std::unique_ptr<Running> array_;
  States disk_;
  bool usable_ = false;
  std::vector<Write> writes_;
  std::array<Ticks, 2> last_write_{};
  Ticks now_{0};
  std::uint64_t events_ = 20;
};

TEST(LocklessIntentModel, RandomUseAgreesWithTheDocumentation) {
  for (std::uint32_t seed = 0; seed < 12; ++seed) {
    Beside beside(seed);
    for (int step = 0; step < 300; ++step) {
      SCOPED_TRACE(std::to_string(seed) + "/" + std::to_string(step));
      beside.step();
      if (::testing::Test::HasFatalFailure()) {
        return;
      }
    }
  }
}

}  // namespace
}  // namespace mdtool
