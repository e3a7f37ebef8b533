// SPDX-License-Identifier: GPL-2.0-or-later
// The copy-on-write layer: what is read through it, what a cut leaves of it, and many threads at once.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>
#include <thread>
#include <utility>

#include "libraid/io/faulty.h"
#include "libraid/io/overlay.h"
#include "tests/raid/overlay_image.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

constexpr std::size_t sector = 512;
constexpr std::size_t block = overlay_block_bytes;

std::vector<OverlayMember> two_members(std::uint64_t size_bytes) {
  return {{"a", "A", size_bytes, {}}, {"b", "B", size_bytes, {}}};
}

std::unique_ptr<OverlayStore> new_store(std::uint64_t size_bytes, std::uint64_t pages) {
  auto store = test::store_over(std::make_unique<MemoryDevice>(test::empty_overlay(two_members(size_bytes), pages)));
  EXPECT_TRUE(store) << store.error().text;
  return std::move(*store);
}

std::vector<std::byte> all_of(const Source& source) {
  return *read_bytes(source, 0, static_cast<std::size_t>(source.size_bytes()));
}

TEST(OverlayDevice, reads_as_a_device_that_was_written_and_leaves_the_member_alone) {
  // Ends inside of a sector, as no member does but any image may.
  const MemoryDevice below(pattern(5 * block + 700, 1));
  const auto store = new_store(below.size_bytes(), 1);
  OverlayDevice device(*store, 1, below);
  MemoryDevice model(below.bytes());
  std::mt19937_64 random(7);
  for (int i = 0; i < 3000; ++i) {
    const std::uint64_t unit = i % 3 == 0 ? 1 : sector;
    const std::uint64_t offset = random() % model.size_bytes() / unit * unit;
    const std::uint64_t most =
        std::min<std::uint64_t>(model.size_bytes() - offset, i % 50 == 0 ? 3 * block : 3 * sector);
    const std::uint64_t length = i % 7 == 0 ? model.size_bytes() - offset : random() % (most + 1);
    if (i % 5 == 0) {
      ASSERT_TRUE(device.zero(offset, length));
      ASSERT_TRUE(model.zero(offset, length));
    } else {
      const auto bytes = pattern(static_cast<std::size_t>(length), random());
      ASSERT_TRUE(device.write(offset, bytes));
      ASSERT_TRUE(model.write(offset, bytes));
    }
    const std::uint64_t from = random() % model.size_bytes();
    const auto count = static_cast<std::size_t>(random() % (model.size_bytes() - from + 1));
    ASSERT_EQ(*read_bytes(device, from, count), *read_bytes(model, from, count)) << i;
  }
  EXPECT_EQ(all_of(device), model.bytes());
  EXPECT_EQ(below.bytes(), pattern(5 * block + 700, 1));
  EXPECT_EQ(all_of(OverlayDevice(*store, 0, below)), below.bytes());
}

TEST(OverlayDevice, whole_sectors_are_written_and_read_where_the_member_cannot_be) {
  MemoryDevice memory(pattern(4 * block));
  FaultyDevice below(memory);
  below.add({.operation = Operation::read, .offset_bytes = block, .length_bytes = block});
  const auto store = new_store(below.size_bytes(), 1);
  OverlayDevice device(*store, 0, below);
  const auto bytes = pattern(3 * sector, 5);
  ASSERT_TRUE(device.write(block + sector, bytes));
  EXPECT_EQ(*read_bytes(device, block + sector, bytes.size()), bytes);
  EXPECT_FALSE(read_bytes(device, block, 2 * sector));
  EXPECT_FALSE(device.write(block + 10 * sector + 1, std::span(bytes).first(10)));
  ASSERT_TRUE(device.zero(block, block));
  EXPECT_EQ(*read_bytes(device, block, block), std::vector<std::byte>(block));
}

TEST(OverlayDevice, nothing_beyond_the_end) {
  const MemoryDevice below(pattern(block));
  const auto store = new_store(block, 1);
  OverlayDevice device(*store, 0, below);
  std::vector<std::byte> bytes(2 * sector);
  EXPECT_EQ(device.write(block - sector, bytes).error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(device.read(~std::uint64_t{0}, bytes).error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(device.zero(sector, ~std::uint64_t{0}).error().kind, ErrorKind::out_of_range);
}

TEST(OverlayDevice, a_zeroed_range_takes_no_room_in_the_file) {
  const MemoryDevice below(pattern(64 * block));
  auto file = std::make_unique<MemoryDevice>(test::empty_overlay(two_members(below.size_bytes()), 1));
  const MemoryDevice& bytes = *file;
  const auto store = std::move(*test::store_over(std::move(file)));
  OverlayDevice device(*store, 0, below);
  ASSERT_TRUE(device.zero(0, below.size_bytes()));
  ASSERT_TRUE(device.flush());
  EXPECT_EQ(all_of(device), std::vector<std::byte>(64 * block));
  const std::size_t blocks = 3 * overlay_disk::page_bytes;
  EXPECT_EQ(std::ranges::count(std::span(bytes.bytes()).subspan(blocks), std::byte{0}),
            static_cast<std::ptrdiff_t>(bytes.size_bytes() - blocks));
}

// A file behind a cache: writes to sectors and flushes, in order.
class CachedFile final : public BlockDevice {
 public:
  struct Event {
    bool flush;
    std::uint64_t offset;
    std::vector<std::byte> bytes;
  };
  CachedFile(std::vector<std::byte> bytes, std::vector<Event>& log) : memory_(std::move(bytes)), log_(&log) {}
  std::uint64_t size_bytes() const override { return memory_.size_bytes(); }
  Status read(std::uint64_t offset, std::span<std::byte> out) const override { return memory_.read(offset, out); }
  Status write(std::uint64_t offset, std::span<const std::byte> in) override {
    log_->push_back({false, offset, {in.begin(), in.end()}});
    return memory_.write(offset, in);
  }
  Status flush() override {
    log_->push_back({true, 0, {}});
    if (const auto meanwhile = std::exchange(meanwhile_, nullptr)) {
      meanwhile();
    }
    return Done{};
  }
  // Once, while the next flush is under way: what it does is not covered by that flush.
  void during_flush(std::function<void()> what) { meanwhile_ = std::move(what); }

 private:
  MemoryDevice memory_;
  std::vector<Event>* log_;
  std::function<void()> meanwhile_;
};

// What each sector of the one member may read as: the last version that a flush covered, and all later ones.
class Versions {
 public:
  explicit Versions(const MemoryDevice& below) : below_(below.bytes()) {}
  void wrote(std::uint64_t number, std::vector<std::byte> bytes) { of(number).push_back(std::move(bytes)); }
  void flushed() {
    for (auto& [number, versions] : sectors_) {
      versions.erase(versions.begin(), versions.end() - 1);
    }
  }
  // The versions that a crash now may leave.
  std::map<std::uint64_t, std::vector<std::vector<std::byte>>> now() const { return sectors_; }

 private:
  std::vector<std::vector<std::byte>>& of(std::uint64_t number) {
    auto& versions = sectors_[number];
    if (versions.empty()) {
      const auto from = below_.begin() + static_cast<std::ptrdiff_t>(number * sector);
      versions.emplace_back(from, from + static_cast<std::ptrdiff_t>(sector));
    }
    return versions;
  }
  std::vector<std::byte> below_;
  std::map<std::uint64_t, std::vector<std::vector<std::byte>>> sectors_;
};

enum class Keep { nothing, everything, some };

// Each unflushed sector on its own is there or not.
std::vector<std::byte> after_cut(std::vector<std::byte> file, std::span<const CachedFile::Event> log, Keep keep,
                                 std::mt19937_64& random) {
  std::size_t durable = log.size();
  while (durable > 0 && !log[durable - 1].flush) {
    --durable;
  }
  for (std::size_t i = 0; i < log.size(); ++i) {
    for (std::size_t at = 0; at < log[i].bytes.size(); at += sector) {
      const bool lands = i < durable || keep == Keep::everything || (keep == Keep::some && random() % 2 == 0);
      if (lands) {
        const std::size_t length = std::min(sector, log[i].bytes.size() - at);
        std::ranges::copy(std::span(log[i].bytes).subspan(at, length),
                          file.begin() + static_cast<std::ptrdiff_t>(log[i].offset + at));
      }
    }
  }
  return file;
}

struct Moment {
  std::size_t events;
  std::map<std::uint64_t, std::vector<std::vector<std::byte>>> allowed;
};

// Random sectors of more blocks than one index page has; returns what may be read after a cut at each moment.
std::vector<Moment> work(OverlayDevice& device, Versions& versions, const std::vector<CachedFile::Event>& log,
                         int operations, int flush_each, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Moment> moments;
  for (int i = 0; i < operations; ++i) {
    const std::uint64_t number = random() % (160 * overlay_block_sectors) / 21 * 21;
    const auto bytes = pattern(sector, random());
    if (i % flush_each == flush_each - 1) {
      EXPECT_TRUE(device.flush());
      versions.flushed();
    } else if (i % 11 == 0) {
      versions.wrote(number, std::vector<std::byte>(sector));
      EXPECT_TRUE(device.zero(number * sector, sector));
    } else {
      versions.wrote(number, bytes);
      EXPECT_TRUE(device.write(number * sector, bytes));
    }
    if (i % 13 == 0) {
      moments.push_back({log.size(), versions.now()});
    }
  }
  return moments;
}

void expect_allowed(const OverlayDevice& device, const Moment& moment) {
  for (const auto& [number, versions] : moment.allowed) {
    const auto now = read_bytes(device, number * sector, sector);
    ASSERT_TRUE(now) << now.error().text;
    ASSERT_NE(std::ranges::find(versions, *now), versions.end()) << "sector " << number;
  }
}

TEST(OverlayDevice, a_cut_leaves_every_sector_as_it_was_or_as_it_was_written) {
  const MemoryDevice below(pattern(160 * block));
  const auto empty = test::empty_overlay(two_members(below.size_bytes()), 2);
  std::vector<CachedFile::Event> log;
  const auto store = std::move(*test::store_over(std::make_unique<CachedFile>(empty, log)));
  log.clear();
  OverlayDevice device(*store, 0, below);
  Versions versions(below);
  const auto moments = work(device, versions, log, 700, 17, 3);
  std::mt19937_64 random(5);
  for (const Moment& moment : moments) {
    for (const Keep keep : {Keep::nothing, Keep::everything, Keep::some}) {
      auto file = after_cut(empty, std::span(log).first(moment.events), keep, random);
      const auto again = test::store_over(std::make_unique<MemoryDevice>(std::move(file)));
      ASSERT_TRUE(again) << again.error().text;
      OverlayDevice found(**again, 0, below);
      expect_allowed(found, moment);
    }
  }
}

TEST(OverlayDevice, a_cut_in_the_middle_of_a_flush_does_too_and_work_goes_on_from_there) {
  const MemoryDevice below(pattern(160 * block));
  const auto empty = test::empty_overlay(two_members(below.size_bytes()), 3);
  std::vector<CachedFile::Event> log;
  const auto store = std::move(*test::store_over(std::make_unique<CachedFile>(empty, log)));
  log.clear();
  OverlayDevice device(*store, 0, below);
  Versions versions(below);
  work(device, versions, log, 400, 1000, 9);
  const Moment before{log.size(), versions.now()};
  ASSERT_TRUE(device.flush());
  ASSERT_GE(log.size(), before.events + 10);
  std::mt19937_64 random(1);
  for (std::size_t i = 4 * before.events; i < 4 * log.size(); ++i) {
    auto file = after_cut(empty, std::span(log).first(i / 4), Keep::some, random);
    std::vector<CachedFile::Event> later;
    const auto again = test::store_over(std::make_unique<CachedFile>(file, later));
    ASSERT_TRUE(again) << again.error().text;
    OverlayDevice found(**again, 0, below);
    expect_allowed(found, before);
    // What the cut left behind must not come back with what is written now.
    Versions now = versions;
    for (const auto& [number, unused] : before.allowed) {
      now.wrote(number, *read_bytes(found, number * sector, sector));
    }
    now.flushed();
    work(found, now, later, 250, 100, i);
    ASSERT_TRUE(found.flush());
    now.flushed();
    const auto third = test::store_over(std::make_unique<MemoryDevice>(after_cut(file, later, Keep::nothing, random)));
    ASSERT_TRUE(third) << third.error().text;
    expect_allowed(OverlayDevice(**third, 0, below), {0, now.now()});
  }
}

TEST(OverlayDevice, index_pages_behind_one_that_a_cut_lost_do_not_come_back) {
  const std::uint64_t groups = overlay_disk::groups_offset(encode_overlay_members(two_members(400 * block)).size());
  const MemoryDevice below(pattern(400 * block));
  auto file = std::make_unique<MemoryDevice>(test::empty_overlay(two_members(below.size_bytes()), 2));
  MemoryDevice& bytes = *file;
  const auto store = std::move(*test::store_over(std::move(file)));
  OverlayDevice device(*store, 0, below);
  for (std::uint64_t i = 0; i < 200; ++i) {
    ASSERT_TRUE(device.write(i * block, pattern(sector, i)));
  }
  ASSERT_TRUE(device.flush());
  ASSERT_TRUE(bytes.zero(groups, sector));
  auto second = std::make_unique<MemoryDevice>(bytes.bytes());
  const MemoryDevice& second_bytes = *second;
  const auto again = std::move(*test::store_over(std::move(second)));
  OverlayDevice found(*again, 0, below);
  EXPECT_EQ(all_of(found), below.bytes());
  for (std::uint64_t i = 200; i < 330; ++i) {
    ASSERT_TRUE(found.write(i * block, pattern(sector, i)));
  }
  ASSERT_TRUE(found.flush());
  const auto third = test::store_over(std::make_unique<MemoryDevice>(second_bytes.bytes()));
  ASSERT_TRUE(third) << third.error().text;
  EXPECT_EQ((*third)->blocks_of(0).size(), 130U);
  EXPECT_EQ(all_of(OverlayDevice(**third, 0, below)), all_of(found));
}

TEST(OverlayDevice, what_is_written_during_a_flush_waits_for_the_next) {
  const MemoryDevice below(pattern(4 * block));
  const auto empty = test::empty_overlay(two_members(below.size_bytes()), 1);
  std::vector<CachedFile::Event> log;
  auto cached = std::make_unique<CachedFile>(empty, log);
  CachedFile& file = *cached;
  const auto store = std::move(*test::store_over(std::move(cached)));
  log.clear();
  OverlayDevice device(*store, 0, below);
  const auto first = pattern(sector, 4), second = pattern(sector, 5);
  ASSERT_TRUE(device.write(0, first));
  file.during_flush([&] { EXPECT_TRUE(device.write(sector, second)); });
  ASSERT_TRUE(device.flush());
  // The cut comes when all of the index has reached the disk, and nothing of what came during the flush.
  auto lost = log;
  std::erase_if(lost, [&](const CachedFile::Event& event) { return event.bytes == second; });
  ASSERT_EQ(lost.size() + 1, log.size());
  std::mt19937_64 random(1);
  const auto again = test::store_over(std::make_unique<MemoryDevice>(after_cut(empty, lost, Keep::nothing, random)));
  ASSERT_TRUE(again);
  const OverlayDevice found(**again, 0, below);
  EXPECT_EQ(*read_bytes(found, 0, sector), first);
  EXPECT_EQ(*read_bytes(found, sector, sector), *read_bytes(below, sector, sector));
  ASSERT_TRUE(device.flush());
  const auto later = test::store_over(std::make_unique<MemoryDevice>(after_cut(empty, log, Keep::nothing, random)));
  ASSERT_TRUE(later);
  EXPECT_EQ(*read_bytes(OverlayDevice(**later, 0, below), sector, sector), second);
}

TEST(OverlayDevice, a_durable_write_is_durable_without_a_flush) {
  const MemoryDevice below(pattern(4 * block));
  const auto empty = test::empty_overlay(two_members(below.size_bytes()), 1);
  std::vector<CachedFile::Event> log;
  const auto store = std::move(*test::store_over(std::make_unique<CachedFile>(empty, log)));
  log.clear();
  OverlayDevice device(*store, 0, below);
  const auto bytes = pattern(2 * sector, 4);
  ASSERT_TRUE(device.write_durable(block - sector, bytes));
  std::mt19937_64 random(1);
  const auto again = test::store_over(std::make_unique<MemoryDevice>(after_cut(empty, log, Keep::nothing, random)));
  ASSERT_TRUE(again);
  EXPECT_EQ(*read_bytes(OverlayDevice(**again, 0, below), block - sector, bytes.size()), bytes);
}

TEST(OverlayDevice, a_write_that_fails_is_told_and_the_next_may_succeed) {
  const MemoryDevice below(pattern(4 * block));
  auto faulty = std::make_unique<FaultyDevice>(
      std::make_unique<MemoryDevice>(test::empty_overlay(two_members(below.size_bytes()), 1)));
  FaultyDevice& file = *faulty;
  const auto store = std::move(*test::store_over(std::move(faulty)));
  OverlayDevice device(*store, 0, below);
  file.add({.operation = Operation::write, .times = 1, .errno_value = ENOSPC});
  const auto bytes = pattern(sector, 4);
  EXPECT_FALSE(device.write(0, bytes));
  EXPECT_EQ(*read_bytes(device, 0, sector), *read_bytes(below, 0, sector));
  EXPECT_TRUE(device.write(0, bytes));
  EXPECT_TRUE(device.flush());
  EXPECT_EQ(*read_bytes(device, 0, sector), bytes);
}

TEST(OverlayDevice, a_flush_that_failed_once_is_never_made_good_by_another) {
  const MemoryDevice below(pattern(4 * block));
  auto faulty = std::make_unique<FaultyDevice>(
      std::make_unique<MemoryDevice>(test::empty_overlay(two_members(below.size_bytes()), 1)));
  FaultyDevice& file = *faulty;
  const auto store = std::move(*test::store_over(std::move(faulty)));
  OverlayDevice a(*store, 0, below), b(*store, 1, below);
  ASSERT_TRUE(a.write(0, pattern(sector, 4)));
  file.add({.operation = Operation::flush, .times = 1});
  EXPECT_FALSE(a.flush());
  EXPECT_FALSE(a.flush());
  EXPECT_FALSE(b.flush());
  EXPECT_FALSE(b.write(0, pattern(sector, 4)));
}

TEST(OverlayDevice, many_threads_write_flush_and_read_at_once) {
  constexpr std::size_t threads = 6;
  const MemoryDevice below(pattern(96 * block));
  const auto store = new_store(below.size_bytes(), 2);
  std::vector<std::thread> running;
  std::atomic<int> wrong = 0;
  for (std::size_t t = 0; t < threads; ++t) {
    running.emplace_back([&, t] {
      OverlayDevice device(*store, static_cast<std::uint32_t>(t % 2), below);
      // Neighbouring sectors of the same blocks belong to different threads.
      for (std::size_t i = t; i + threads <= 96 * overlay_block_sectors; i += 5 * threads) {
        const auto bytes = pattern(sector, i);
        bool good = static_cast<bool>(device.write(i * sector, bytes));
        good = good && (i % 40 != t || device.flush());
        good = good && *read_bytes(device, i * sector, sector) == bytes;
        wrong += good ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : running) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
  ASSERT_TRUE(store->flush());
  for (std::size_t t = 0; t < threads; ++t) {
    const OverlayDevice device(*store, static_cast<std::uint32_t>(t % 2), below);
    for (std::size_t i = t; i + threads <= 96 * overlay_block_sectors; i += 5 * threads) {
      ASSERT_EQ(*read_bytes(device, i * sector, sector), pattern(sector, i)) << i;
    }
  }
}

}  // namespace
}  // namespace mdtool
