// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/live_array.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <set>
#include <thread>

#include "libraid/io/faulty.h"
#include "tests/raid/plain_rows.h"

namespace mdtool {
namespace {

constexpr Sectors chunk(32);
constexpr std::uint64_t stripes = 6;
constexpr Sectors data_offset(16);

// What the array told its bitmap and superblocks, in order.
struct Told {
  std::mutex mutex;
  std::vector<std::string> calls;
  void add(std::string call) {
    const std::lock_guard lock(mutex);
    calls.push_back(std::move(call));
  }
};

// Remembers which chunks of rows are untrusted; everything else is only noted down.
class NotedIntent final : public Intent {
 public:
  explicit NotedIntent(Told& told) : told_(told) {}
  std::set<std::uint64_t> untrusted;  // stripes
  std::atomic<int> in_flight = 0;
  bool ripe = false;
  bool cut_off = false;  // writes were in flight when the array was used last

  Status start_write(SectorRange rows) override {
    ++in_flight;
    told_.add("start " + std::to_string(rows.first.count()) + "+" + std::to_string(rows.count.count()));
    return Done{};
  }
  void end_write(SectorRange, Written written, Ticks) override {
    --in_flight;
    told_.add(written == Written::yes ? "end" : "end failed");
  }
  Status start_discard(SectorRange) override {
    ++in_flight;
    told_.add("start discard");
    return Done{};
  }
  void discard(SectorRange rows) override {
    told_.add("discard " + std::to_string(rows.first.count()) + "+" + std::to_string(rows.count.count()));
  }
  bool trusts_parity(SectorRange rows) const override {
    const std::lock_guard lock(told_.mutex);
    return untrusted.count(rows.first / chunk) == 0;
  }
  std::optional<SectorRange> start_sync(Sectors from) override {
    const std::lock_guard lock(told_.mutex);
    const auto at = untrusted.lower_bound((from + chunk - Sectors(1)) / chunk);
    if (at == untrusted.end()) {
      return std::nullopt;
    }
    return SectorRange{chunk * *at, chunk};
  }
  void end_sync(SectorRange rows, Synced synced, Ticks) override {
    if (synced == Synced::yes) {
      const std::lock_guard lock(told_.mutex);
      untrusted.erase(rows.first / chunk);
    }
    told_.add(synced == Synced::yes ? "synced" : "not synced");
  }
  bool anything_due() const override {
    const std::lock_guard lock(told_.mutex);
    return !untrusted.empty();
  }
  Sectors resync_offset() const override { return cut_off ? Sectors(0) : Sectors::max(); }
  bool prepare_to_clear(Ticks) override { return std::exchange(ripe, false); }
  Status clear_prepared(Ticks) override {
    told_.add("clear");
    return Done{};
  }
  std::optional<Ticks> clears_in(Ticks) const override { return std::nullopt; }
  void degraded() override { told_.add("degraded"); }
  Status write_header(std::uint64_t events) override {
    told_.add("header " + std::to_string(events));
    return Done{};
  }
  Status write_all(std::uint64_t events) override {
    told_.add("all " + std::to_string(events));
    return Done{};
  }

 private:
  Told& told_;
};

class NotedSuperblocks final : public Superblocks {
 public:
  explicit NotedSuperblocks(Told& told) : told_(told) {}
  std::uint64_t events() const override { return 10; }
  Status write(const ArrayState& state) override {
    std::string call = state.resync_offset.is_max() ? "clean " : "active ";
    call += std::to_string(state.events);
    for (const std::uint32_t slot : state.faulty_slots) {
      call += " -" + std::to_string(slot);
    }
    for (std::size_t slot = 0; slot < state.corrected_reads.size(); ++slot) {
      if (state.corrected_reads[slot] != 0) {
        call += " " + std::to_string(state.corrected_reads[slot]) + "@" + std::to_string(slot);
      }
    }
    told_.add(call);
    return Done{};
  }

 private:
  Told& told_;
};

// Every flush is noted, too.
class FlushNoting final : public BlockDevice {
 public:
  FlushNoting(BlockDevice& device, Told& told) : device_(device), told_(told) {}
  std::uint64_t size_bytes() const override { return device_.size_bytes(); }
  Status read(std::uint64_t offset, std::span<std::byte> out) const override {
    ++reads;
    return device_.read(offset, out);
  }
  Status write(std::uint64_t offset, std::span<const std::byte> in) override {
    ++writes;
    return device_.write(offset, in);
  }
  Status flush() override {
    told_.add("flush");
    return device_.flush();
  }
  mutable std::atomic<int> reads = 0;
  std::atomic<int> writes = 0;

 private:
  BlockDevice& device_;
  Told& told_;
};

struct Rig {
  Layout layout;
  test::Members members;
  std::vector<std::byte> content;
  Told told;
  std::vector<std::unique_ptr<FaultyDevice>> faulty;
  std::vector<std::unique_ptr<FlushNoting>> noting;
  NotedIntent* intent = nullptr;
  Ticks now{0};
  std::unique_ptr<LiveArray> array;

  Rig(std::int32_t level, std::uint32_t slots, const std::vector<std::uint32_t>& missing = {},
      std::vector<std::pair<std::uint32_t, SectorRange>> bad = {})
      : layout(*Layout::of({level, 2, slots, chunk, chunk * stripes})),
        members(test::make_members(layout, data_offset, 4711)),
        content(members.content) {
    std::vector<SlotMember> slot_members(slots);
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
      faulty.push_back(std::make_unique<FaultyDevice>(*members.devices[slot]));
      noting.push_back(std::make_unique<FlushNoting>(*faulty[slot], told));
      if (std::ranges::find(missing, slot) == missing.end()) {
        slot_members[slot] = {noting[slot].get(), "m" + std::to_string(slot), data_offset, Sectors::max(), {}};
      }
    }
    for (const auto& [slot, range] : bad) {
      slot_members[slot].bad.push_back(range);
    }
    auto owned = std::make_unique<NotedIntent>(told);
    intent = owned.get();
    LiveParts parts{std::make_unique<LiveMembers>(std::move(slot_members), layout.parity_disks()), std::move(owned),
                    std::make_unique<NotedSuperblocks>(told), [this] { return now; }};
    array = std::make_unique<LiveArray>(layout, std::move(parts), *parity::supported_kernels().front());
  }

  void write(Sectors first, Sectors count, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::byte> bytes(count.bytes());
    std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
    const Status written = array->write(first.bytes(), bytes);
    ASSERT_TRUE(written) << written.error().text;
    std::ranges::copy(bytes, content.begin() + static_cast<std::ptrdiff_t>(first.bytes()));
  }
  void expect_content() const {
    std::vector<std::byte> seen(content.size());
    const Status read = array->read(0, seen);
    ASSERT_TRUE(read) << read.error().text;
    EXPECT_TRUE(seen == content);
  }
  // Rows whose parity is not what the data says, whoever computed it; members in `absent` are not looked at.
  std::vector<std::uint64_t> wrong_rows(const std::set<std::uint32_t>& absent = {}) const {
    std::vector<const Source*> sources;
    for (const auto& device : members.devices) {
      sources.push_back(device.get());
    }
    std::vector<std::uint64_t> wrong;
    for (std::uint64_t row = 0; row < (chunk * stripes).count(); ++row) {
      auto sectors = test::read_row(sources, data_offset, Sectors(row));
      const std::uint64_t stripe = row / chunk.count();
      for (const std::uint32_t slot : absent) {
        if (const auto index = layout.data_index(stripe, slot)) {
          const std::size_t at = ((stripe * layout.data_disks() + *index) * chunk.count() + row % chunk.count()) * 512;
          std::memcpy(sectors[slot].data(), content.data() + at, 512);
        }
      }
      const test::PlainParity right = test::plain_parity(layout, stripe, sectors);
      const ParitySlots parity = layout.parity(stripe);
      if ((absent.count(parity.p) == 0 && sectors[parity.p] != right.p) ||
          (parity.q && absent.count(*parity.q) == 0 && sectors[*parity.q] != right.q)) {
        wrong.push_back(row);
      }
    }
    return wrong;
  }
  int reads() const {
    int sum = 0;
    for (const auto& device : noting) {
      sum += device->reads.exchange(0);
    }
    return sum;
  }
};

std::uint32_t rig_slot_of_data(std::int32_t level, std::uint32_t slots, std::uint32_t index) {
  return Layout::of({level, 2, slots, chunk, chunk * stripes})->data_slot(0, index);
}

std::vector<std::string> without_flushes(std::vector<std::string> calls) {
  std::erase(calls, "flush");
  return calls;
}

TEST(LiveArray, KeepsContentAndParityThroughWritesOfAllShapes) {
  for (const auto& [level, slots] : std::vector<std::pair<int, unsigned>>{{4, 3}, {5, 3}, {5, 5}, {6, 4}, {6, 7}}) {
    Rig rig(level, slots);
    const std::uint64_t sectors = rig.layout.array_size().count();
    std::mt19937 random(static_cast<unsigned>(level) * 100 + slots);
    for (unsigned i = 0; i < 150; ++i) {
      const std::uint64_t first = random() % sectors;
      const std::uint64_t longest = i % 3 == 0 ? sectors : 40;
      rig.write(Sectors(first), Sectors(1 + random() % std::min(longest, sectors - first)), i);
    }
    rig.expect_content();
    EXPECT_TRUE(rig.wrong_rows().empty());
  }
}

TEST(LiveArray, KeepsWhatMissingMembersHoldThroughWrites) {
  const std::vector<std::pair<int, std::vector<std::uint32_t>>> cases = {
      {4, {0}}, {5, {2}}, {6, {1}}, {6, {0, 3}}, {6, {3, 4}}};
  for (const auto& [level, missing] : cases) {
    Rig rig(level, 5, missing);
    const std::uint64_t sectors = rig.layout.array_size().count();
    rig.expect_content();
    std::mt19937 random(7);
    for (unsigned i = 0; i < 150; ++i) {
      const std::uint64_t first = random() % sectors;
      const std::uint64_t longest = i % 3 == 0 ? sectors : 40;
      rig.write(Sectors(first), Sectors(1 + random() % std::min(longest, sectors - first)), i);
    }
    rig.expect_content();
    EXPECT_TRUE(rig.wrong_rows({missing.begin(), missing.end()}).empty()) << level;
  }
}

TEST(LiveArray, ReadsAsLittleAsItCan) {
  Rig rig(5, 5);
  rig.write(Sectors(0), chunk * 4, 1);
  EXPECT_EQ(rig.reads(), 0) << "a full stripe needs no old block";
  rig.write(Sectors(0), Sectors(8), 2);
  EXPECT_EQ(rig.reads(), 2) << "one block of four: the old block and the old parity";
  rig.write(Sectors(0), chunk * 3, 3);
  EXPECT_EQ(rig.reads(), 1) << "three blocks of four: the fourth";
  EXPECT_TRUE(rig.wrong_rows().empty());
}

TEST(LiveArray, UsesNoUnprovenParity) {
  Rig rig(5, 5);
  rig.intent->untrusted = {0};
  const std::uint32_t p = rig.layout.parity(0).p;
  for (std::uint64_t row = 0; row < chunk.count(); ++row) {
    test::spoil(*rig.members.devices[p], (data_offset + Sectors(row)).bytes(),
                (data_offset + Sectors(row)).bytes() + 9);
  }
  rig.write(Sectors(3), Sectors(2), 1);
  const auto wrong = rig.wrong_rows();
  EXPECT_EQ(wrong.size(), chunk.count() - 2) << "the rows that were written are right";
  EXPECT_TRUE(std::ranges::find(wrong, 3U) == wrong.end() && std::ranges::find(wrong, 4U) == wrong.end());
  // The builder puts the others right and says so.
  ASSERT_TRUE(rig.array->maintain());
  EXPECT_TRUE(rig.wrong_rows().empty());
  EXPECT_TRUE(rig.intent->untrusted.empty());
}

// Where parity was never built, a degraded RAID-6 has two of them that contradict each other.
TEST(LiveArray, MakesBothParitiesAgreeWhereAMissingBlockIsKept) {
  Rig rig(6, 5, {rig_slot_of_data(6, 5, 0)});
  rig.intent->untrusted = {0};
  const ParitySlots parity = rig.layout.parity(0);
  test::spoil(*rig.members.devices[*parity.q], data_offset.bytes(), (data_offset + chunk).bytes());
  rig.write(chunk + Sectors(3), Sectors(2), 1);
  // The member of the data just written goes, too.
  const std::uint32_t written = rig.layout.data_slot(0, 1);
  rig.faulty[written]->add({.operation = Operation::read});
  rig.faulty[written]->add({.operation = Operation::write});
  std::vector<std::byte> seen(2 * 512);
  rig.intent->untrusted.clear();
  ASSERT_TRUE(rig.array->read((chunk + Sectors(3)).bytes(), seen));
  EXPECT_TRUE(std::equal(seen.begin(), seen.end(),
                         rig.content.begin() + static_cast<std::ptrdiff_t>((chunk + Sectors(3)).bytes())));
}

TEST(LiveArray, ReturnsNoBlockFromParityThatACutMayHaveLeftWrong) {
  Rig rig(5, 5);
  rig.intent->untrusted = {0};
  const Place place = rig.layout.data(Sectors(8));
  rig.faulty[place.slot]->add(
      {.operation = Operation::read, .offset_bytes = (data_offset + place.sector).bytes(), .length_bytes = 512});
  std::vector<std::byte> sector(512);
  ASSERT_TRUE(rig.array->read(Sectors(8).bytes(), sector)) << "parity that is only not complete";
  EXPECT_EQ(rig.noting[place.slot]->writes, 0) << "what is not proven is not written back";
  rig.intent->cut_off = true;
  const Status read = rig.array->read(Sectors(8).bytes(), sector);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind, ErrorKind::io);
  EXPECT_TRUE(rig.array->read(Sectors(16).bytes(), sector)) << "a neighbour that can be read";
}

TEST(LiveArray, MarksItselfActiveOnceAndCleanAfterIdleTime) {
  Rig rig(5, 3);
  rig.write(Sectors(0), Sectors(1), 1);
  rig.write(Sectors(1), Sectors(1), 2);
  EXPECT_EQ(rig.told.calls,
            (std::vector<std::string>{"header 11", "active 11", "start 0+32", "end", "start 0+32", "end"}));
  rig.told.calls.clear();
  rig.now = Ticks(199);
  ASSERT_TRUE(rig.array->maintain());
  EXPECT_TRUE(rig.told.calls.empty());
  rig.now = Ticks(200);
  ASSERT_TRUE(rig.array->maintain());
  EXPECT_EQ(rig.told.calls, (std::vector<std::string>{"flush", "flush", "flush", "header 12", "clean 12"}));
  EXPECT_FALSE(rig.array->condition().active);
}

TEST(LiveArray, FlushesDataBeforeBitsAreCleared) {
  Rig rig(6, 4);
  rig.write(Sectors(0), Sectors(1), 1);
  rig.told.calls.clear();
  rig.intent->ripe = true;
  ASSERT_TRUE(rig.array->maintain());
  EXPECT_EQ(rig.told.calls, (std::vector<std::string>{"flush", "flush", "flush", "flush", "clear"}));
}

TEST(LiveArray, StopsWithoutAWriteIfThereWasNone) {
  Rig rig(5, 3);
  std::vector<std::byte> sector(512);
  ASSERT_TRUE(rig.array->read(0, sector));
  ASSERT_TRUE(rig.array->stop());
  EXPECT_TRUE(without_flushes(rig.told.calls).empty());
  for (const auto& device : rig.noting) {
    EXPECT_EQ(device->writes, 0);
  }
}

TEST(LiveArray, RaisesNoEventsToStopWhatIsClean) {
  Rig rig(5, 3);
  rig.write(Sectors(0), Sectors(1), 1);
  rig.now = Ticks(200);
  ASSERT_TRUE(rig.array->maintain());
  rig.told.calls.clear();
  ASSERT_TRUE(rig.array->stop());
  EXPECT_EQ(without_flushes(rig.told.calls), (std::vector<std::string>{"all 12"}));

  rig.write(Sectors(0), Sectors(1), 2);
  rig.told.calls.clear();
  ASSERT_TRUE(rig.array->stop());
  EXPECT_EQ(without_flushes(rig.told.calls), (std::vector<std::string>{"all 14", "header 14", "clean 14"}));
}

TEST(LiveArray, RecordsAFailedMemberBeforeItAcknowledges) {
  for (const Operation operation : {Operation::write, Operation::flush}) {
    Rig rig(5, 4);
    rig.write(Sectors(0), Sectors(1), 1);
    rig.told.calls.clear();
    rig.faulty[1]->add({.operation = operation});
    if (operation == Operation::write) {
      rig.write(Sectors(0), rig.layout.array_size(), 2);
    } else {
      ASSERT_TRUE(rig.array->flush());
    }
    const auto calls = without_flushes(rig.told.calls);
    const auto recorded = std::ranges::find(calls, "active 12 -1");
    ASSERT_NE(recorded, calls.end());
    EXPECT_EQ(*(recorded - 2), "degraded");
    if (operation == Operation::write) {
      EXPECT_EQ(calls.back(), "end") << "recorded before the write ends";
    }
    rig.expect_content();
    rig.write(Sectors(5), Sectors(70), 3);
    rig.expect_content();
    EXPECT_TRUE(rig.wrong_rows({1}).empty());
    EXPECT_TRUE(rig.array->condition().degraded);
  }
}

TEST(LiveArray, WritesNothingMoreOnceTooManyAreGone) {
  Rig rig(5, 4);
  rig.faulty[0]->add({.operation = Operation::write});
  rig.faulty[2]->add({.operation = Operation::write});
  const std::vector<std::byte> bytes(rig.content.size());
  const Status written = rig.array->write(0, bytes);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().kind, ErrorKind::refused);
  for (auto& device : rig.noting) {
    device->writes = 0;
  }
  EXPECT_FALSE(rig.array->write(0, std::span(bytes).first(512)));
  EXPECT_FALSE(rig.array->flush());
  EXPECT_FALSE(rig.array->stop());
  for (const auto& device : rig.noting) {
    EXPECT_EQ(device->writes, 0);
  }
  EXPECT_TRUE(rig.array->condition().failed);
}

TEST(LiveArray, RewritesWhatAMemberCannotRead) {
  for (const std::int32_t level : {5, 6}) {
    Rig rig(level, 5);
    const Place place = rig.layout.data(Sectors(3));
    rig.faulty[place.slot]->add({.operation = Operation::read,
                                 .offset_bytes = (data_offset + place.sector).bytes(),
                                 .length_bytes = 512,
                                 .times = 3});
    rig.expect_content();
    const LiveCondition condition = rig.array->condition();
    EXPECT_EQ(condition.corrected_reads[place.slot], 8U);
    EXPECT_FALSE(condition.degraded);
    EXPECT_EQ(rig.noting[place.slot]->writes, 1);
    ASSERT_TRUE(rig.array->stop());
    EXPECT_NE(std::ranges::find(rig.told.calls, "clean 11 8@" + std::to_string(place.slot)), rig.told.calls.end());
  }
}

TEST(LiveArray, TakesAMemberOutThatCannotReadWhatItJustWrote) {
  Rig rig(5, 5);
  const Place place = rig.layout.data(Sectors(3));
  rig.faulty[place.slot]->add({.operation = Operation::read});
  rig.expect_content();
  EXPECT_TRUE(rig.array->condition().degraded);
  ASSERT_TRUE(rig.array->maintain());
  EXPECT_NE(std::ranges::find(rig.told.calls, "clean 11 -" + std::to_string(place.slot)), rig.told.calls.end());
}

TEST(LiveArray, SurvivesUnreadableBlocksWhileWriting) {
  for (std::uint32_t slot = 0; slot < 5; ++slot) {
    for (const std::int32_t level : {5, 6}) {
      Rig rig(level, 5);
      rig.faulty[slot]->add({.operation = Operation::read,
                             .offset_bytes = (data_offset + Sectors(4)).bytes(),
                             .length_bytes = 3 * 512,
                             .times = 2});
      rig.write(Sectors(2), Sectors(5), 1);
      rig.write(Sectors(2) + chunk, Sectors(5), 2);
      rig.expect_content();
      EXPECT_TRUE(rig.wrong_rows().empty()) << slot;
      EXPECT_FALSE(rig.array->condition().degraded);
    }
  }
}

TEST(LiveArray, LeavesListedBadBlocksAlone) {
  const SectorRange bad{Sectors(5), Sectors(4)};
  Rig rig(5, 4, {}, {{1, bad}});
  const auto before = *read_bytes(*rig.members.devices[1], (data_offset + bad.first).bytes(), bad.count.bytes());
  rig.expect_content();
  rig.write(Sectors(0), rig.layout.array_size(), 1);
  rig.write(Sectors(6), Sectors(40), 2);
  rig.expect_content();
  EXPECT_EQ(*read_bytes(*rig.members.devices[1], (data_offset + bad.first).bytes(), bad.count.bytes()), before);
  for (const std::uint64_t row : rig.wrong_rows()) {
    EXPECT_TRUE(bad.first <= Sectors(row) && Sectors(row) < bad.end()) << row;
  }
}

TEST(LiveArray, ZeroesWholeStripesAndWritesTheRest) {
  Rig rig(6, 5);
  const std::size_t first = 3 * 512;
  const std::size_t length = rig.content.size() - 7 * 512;
  ASSERT_TRUE(rig.array->zero(first, length));
  std::fill_n(rig.content.begin() + first, length, std::byte{0});
  rig.expect_content();
  EXPECT_TRUE(rig.wrong_rows().empty());
}

TEST(LiveArray, DiscardsWholeStripesOnly) {
  Rig rig(5, 4);
  const Sectors width = chunk * 3;
  ASSERT_TRUE(rig.array->discard(512, width.bytes() * 3));
  std::fill_n(rig.content.begin() + static_cast<std::ptrdiff_t>(width.bytes()), 2 * width.bytes(), std::byte{0});
  rig.expect_content();
  EXPECT_TRUE(rig.wrong_rows().empty());
  EXPECT_NE(std::ranges::find(rig.told.calls, "discard 32+64"), rig.told.calls.end());
  rig.told.calls.clear();
  ASSERT_TRUE(rig.array->discard(512, width.bytes()));
  EXPECT_TRUE(rig.told.calls.empty()) << "no whole stripe inside: nothing to do";
}

TEST(LiveArray, RefusesPartsOfSectorsAndWhatLiesBeyondTheEnd) {
  Rig rig(5, 3);
  std::vector<std::byte> bytes(1024);
  EXPECT_EQ(rig.array->write(1, bytes).error().kind, ErrorKind::usage);
  EXPECT_EQ(rig.array->read(0, std::span(bytes).first(100)).error().kind, ErrorKind::usage);
  EXPECT_EQ(rig.array->write(rig.array->size_bytes() - 512, bytes).error().kind, ErrorKind::out_of_range);
  EXPECT_TRUE(without_flushes(rig.told.calls).empty());
}

// Writers of neighbouring sectors, readers, and the builder, all at once: what each writer wrote last is there.
TEST(LiveArray, ServesManyThreads) {
  for (const std::vector<std::uint32_t>& missing : {std::vector<std::uint32_t>{}, {1}}) {
    Rig rig(6, 5, missing);
    if (missing.empty()) {
      rig.intent->untrusted = {0, 1, 2};
    }
    const std::uint64_t sectors = rig.layout.array_size().count();
    constexpr unsigned writers = 4;
    std::vector<std::thread> threads;
    std::atomic<bool> done = false;
    std::vector<std::vector<std::byte>> last(sectors);
    for (unsigned w = 0; w < writers; ++w) {
      threads.emplace_back([&, w] {
        std::mt19937 random(w);
        for (int i = 0; i < 400; ++i) {
          const std::uint64_t sector = random() % (sectors / writers) * writers + w;
          std::vector<std::byte> bytes(512, static_cast<std::byte>(random()));
          EXPECT_TRUE(rig.array->write(sector * 512, bytes));
          std::vector<std::byte> seen(512);
          EXPECT_TRUE(rig.array->read(sector * 512, seen));
          EXPECT_EQ(seen, bytes);
          last[sector] = bytes;
        }
      });
    }
    std::thread builder([&] {
      while (!done) {
        EXPECT_TRUE(rig.array->maintain());
      }
    });
    for (auto& thread : threads) {
      thread.join();
    }
    done = true;
    builder.join();
    for (std::uint64_t s = 0; s < sectors; ++s) {
      std::ranges::copy(last[s], rig.content.begin() + static_cast<std::ptrdiff_t>(s * 512));
    }
    rig.expect_content();
    EXPECT_TRUE(rig.wrong_rows({missing.begin(), missing.end()}).empty());
    EXPECT_EQ(rig.intent->in_flight, 0);
  }
}

}  // namespace
}  // namespace mdtool
