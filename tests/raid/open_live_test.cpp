// SPDX-License-Identifier: GPL-2.0-or-later
// From members that a kernel made to a running array and back: what is written, what is not, what is refused.
#include "libraid/assemble/open_live.h"

#include <gtest/gtest.h>

#include "libraid/io/faulty.h"
#include "tests/raid/loaded_array.h"
#include "tests/raid/plain_rows.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

using test::Image;

constexpr std::uint64_t update_seconds = 1'800'000'000;

const parity::Kernels& kernels() {
  return *parity::supported_kernels().front();
}

// Members in memory, the array that they make, and the running array above them.
class Running {
 public:
  explicit Running(const std::vector<Image>& images, const std::vector<std::size_t>& missing = {})
      : look_(test::look_without(images, missing)) {}

  Assembly& assembly() { return look_.arrays.front(); }

  Status open(const Forces& forces = {}) {
    TRY(plan, plan_live(assembly(), forces));
    plan_ = plan;
    LiveDevices devices;
    for (const LiveMember& m : plan_->members) {
      const Candidate& c = *assembly().members[m.member].candidate;
      const auto index = static_cast<std::size_t>(&c - look_.candidates.data());
      faulty_.push_back(std::make_unique<FaultyDevice>(*look_.devices[index]));
      fences_.push_back(std::make_unique<FencedDevice>(*faulty_.back(), m.extents));
      devices.members.push_back({c.path, fences_.back().get(), look_.devices[index].get()});
    }
    devices.bitmap_file = bitmap_file_;
    devices.ticks = [this] { return now_; };
    devices.now_seconds = [] { return update_seconds; };
    TRY(live, open_live(assembly(), *plan_, devices, kernels()));
    live_ = std::move(live);
    return Done{};
  }

  // The heartbeat of `seconds`.
  void live_for(int seconds) {
    for (const Ticks end = now_ + std::chrono::seconds(seconds); now_ < end;) {
      const auto next = live_->maintain();
      ASSERT_TRUE(next) << next.error().text;
      now_ += std::clamp<Ticks>(*next, Ticks(1), Ticks(1000));
    }
  }

  void use_bitmap_file(BlockDevice& file) { bitmap_file_ = &file; }
  LiveArray& live() { return *live_; }
  const LivePlan& plan() const { return *plan_; }
  FaultyDevice& faulty(std::size_t planned) { return *faulty_[planned]; }
  std::vector<Image> images() const {
    std::vector<Image> images;
    for (const auto& device : look_.devices) {
      images.push_back(device->bytes());
    }
    return images;
  }

 private:
  test::Look look_;
  BlockDevice* bitmap_file_ = nullptr;
  std::optional<LivePlan> plan_;
  std::vector<std::unique_ptr<FaultyDevice>> faulty_;
  std::vector<std::unique_ptr<FencedDevice>> fences_;
  std::unique_ptr<LiveArray> live_;
  Ticks now_{1000};
};

std::vector<std::byte> content_of(const Assembly& a) {
  auto readable = open_for_reading(a, {}, kernels());
  EXPECT_TRUE(readable);
  std::vector<std::byte> out(readable->array.size_bytes());
  EXPECT_TRUE(readable->array.read(0, out));
  return out;
}

struct Piece {
  std::uint64_t offset;
  std::size_t length;
};

// A sector, part of a chunk, over a chunk's end, and several stripes.
std::vector<Piece> pieces(std::uint64_t array_bytes) {
  return {{512, 512}, {70000 / 512 * 512, 4096}, {array_bytes / 3 / 512 * 512, 200 * 1024}, {array_bytes - 8192, 8192}};
}

void write_pieces(LiveArray& live, std::vector<std::byte>& expected) {
  std::uint64_t seed = 7;
  for (const Piece& p : pieces(live.size_bytes())) {
    const std::vector<std::byte> bytes = pattern(p.length, seed++);
    ASSERT_TRUE(live.write(p.offset, bytes));
    std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<std::ptrdiff_t>(p.offset));
  }
}

void expect_promised_rows_right(const Assembly& a) {
  const Layout layout = *workable_layout(a);
  std::vector<const Source*> members;
  for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
    members.push_back(a.in_slot(slot)->candidate->data);
  }
  const Sectors chunk = layout.geometry().chunk;
  for (Sectors row; row < chunk * layout.stripes(); row += Sectors(8)) {
    if (a.bitmap.lockless &&
        a.bitmap.lockless->raw(row / a.bitmap.chunk()) != static_cast<std::uint8_t>(bitmap::ChunkState::clean) &&
        a.bitmap.lockless->raw(row / a.bitmap.chunk()) != static_cast<std::uint8_t>(bitmap::ChunkState::dirty)) {
      continue;
    }
    ASSERT_TRUE(test::row_is_right(layout, members, a.array().data_offset, row)) << "row " << row.count();
  }
}

class CleanArrays : public testing::TestWithParam<const char*> {};

TEST_P(CleanArrays, AreLeftAloneWhereNothingIsWritten) {
  const std::vector<Image> before = test::load_fixture(GetParam());
  Running array(before);
  ASSERT_TRUE(array.open());
  std::vector<std::byte> content(array.live().size_bytes());
  ASSERT_TRUE(array.live().read(0, content));
  EXPECT_EQ(content, content_of(array.assembly()));
  array.live_for(3);
  ASSERT_TRUE(array.live().stop());
  EXPECT_TRUE(array.images() == before);
}

TEST_P(CleanArrays, KeepWhatIsWritten) {
  const std::vector<Image> before = test::load_fixture(GetParam());
  Running array(before);
  ASSERT_TRUE(array.open());
  const std::uint64_t events = array.assembly().array().events;
  std::vector<std::byte> expected = content_of(array.assembly());
  write_pieces(array.live(), expected);
  EXPECT_TRUE(array.live().condition().active);
  const test::Look meanwhile = test::look_at(array.images());
  EXPECT_FALSE(meanwhile.array().clean);
  array.live_for(2);
  ASSERT_TRUE(array.live().stop());

  const test::Look after = test::look_at(array.images());
  const Assembly& a = after.array();
  EXPECT_EQ(a.verdict, Verdict::assembles);
  EXPECT_TRUE(a.clean);
  EXPECT_TRUE(content_of(a) == expected);
  expect_promised_rows_right(a);
  EXPECT_EQ(test::finding(a.bitmap.findings, "bitmap-copies-differ"), nullptr);
  for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
    const MemberDescription& d = a.in_slot(slot)->description();
    EXPECT_GT(d.events, events);
    EXPECT_EQ(d.events, a.array().events);
    EXPECT_EQ(d.utime_seconds, update_seconds);
  }
  if (a.bitmap.classic) {
    EXPECT_EQ(a.bitmap.trust, Trust::believed);
    EXPECT_EQ(a.bitmap.classic->set_count(), 0U);
  }
}

TEST_P(CleanArrays, KeepWhatIsWrittenWithoutAMember) {
  const std::vector<Image> before = test::load_fixture(GetParam());
  const std::size_t lost = before.size() - 2;
  Running array(before, {lost});
  ASSERT_TRUE(array.open());
  const std::uint64_t events = array.assembly().array().events;
  std::vector<std::byte> expected = content_of(array.assembly());
  write_pieces(array.live(), expected);
  array.live_for(2);
  ASSERT_TRUE(array.live().stop());

  const std::vector<Image> images = array.images();
  const test::Look after = test::look_at(images);
  const Assembly& a = after.array();
  EXPECT_EQ(a.verdict, Verdict::degraded);
  EXPECT_TRUE(content_of(a) == expected);
  EXPECT_GE(a.array().events, events + 2);
  // The absent member with its old superblock is not taken back.
  std::vector<Image> all = images;
  all.push_back(before[lost]);
  const test::Look again = test::look_at(all);
  EXPECT_EQ(again.array().in_sync_count(), before.size() - 1);
  EXPECT_TRUE(content_of(again.array()) == expected);
}

INSTANTIATE_TEST_SUITE_P(Kernels, CleanArrays,
                         testing::Values("0.90-raid5-3-none-clean", "0.90-raid6-5-classic-clean",
                                         "1.0-raid5-5-classic-clean", "1.0-raid6-4-none-left-symmetric",
                                         "1.1-raid5-4-none-clean", "1.1-raid6-6-none-right-symmetric",
                                         "1.2-raid4-3-none-clean", "1.2-raid5-4-classic-clean",
                                         "1.2-raid5-4-lockless-clean", "1.2-raid5-4-none-clean",
                                         "1.2-raid6-5-classic-clean", "1.2-raid6-5-none-ddf-N-continue",
                                         "1.2-raid6-5-none-left-asymmetric-6", "1.2-raid5-3-classic-512k"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::erase_if(name, [](char c) { return c == '-' || c == '.'; });
                           return name;
                         });

class DirtyArrays : public testing::TestWithParam<const char*> {};

TEST_P(DirtyArrays, AreSynchronisedMeanwhile) {
  Running array(test::load_fixture(GetParam()));
  ASSERT_TRUE(array.open());
  EXPECT_TRUE(array.live().condition().due);
  EXPECT_TRUE(test::mentions(array.plan().steps, "synchronise parity"));
  std::vector<std::byte> expected = content_of(array.assembly());
  write_pieces(array.live(), expected);
  array.live_for(200);
  ASSERT_TRUE(array.live().stop());
  const test::Look after = test::look_at(array.images());
  EXPECT_TRUE(after.array().clean);
  EXPECT_EQ(after.array().verdict, Verdict::assembles);
  EXPECT_TRUE(content_of(after.array()) == expected);
  expect_promised_rows_right(after.array());
}

INSTANTIATE_TEST_SUITE_P(Kernels, DirtyArrays,
                         testing::Values("0.90-raid5-4-none-crash", "1.0-raid5-3-none-crash",
                                         "1.1-raid5-3-classic-crash", "1.2-raid4-4-classic-crash",
                                         "1.2-raid5-4-lockless-crash", "1.2-raid5-4-none-crash",
                                         "1.2-raid6-4-none-crash", "1.2-raid6-5-lockless-crash"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::erase_if(name, [](char c) { return c == '-' || c == '.'; });
                           return name;
                         });

struct Refusal {
  const char* fixture;
  const char* reason;
};

class Refusals : public testing::TestWithParam<Refusal> {};

TEST_P(Refusals, SayWhyAndLeaveMembersAlone) {
  const std::vector<Image> before = test::load_fixture(GetParam().fixture);
  Running array(before);
  const Status opened = array.open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind, ErrorKind::refused);
  EXPECT_NE(opened.error().text.find(GetParam().reason), std::string::npos) << opened.error().text;
  EXPECT_TRUE(array.images() == before);
}

INSTANTIATE_TEST_SUITE_P(Kernels, Refusals,
                         testing::Values(Refusal{"1.2-raid5-4-none-two-lost", "too few members"},
                                         Refusal{"1.2-raid5-4-none-dirty-degraded", "--force=dirty-degraded"},
                                         Refusal{"1.2-raid5-3-journal-clean", "journal"},
                                         Refusal{"1.2-raid5-3-ppl-clean", "partial parity log"},
                                         Refusal{"1.2-raid5-4-none-reshape", "reshape"},
                                         Refusal{"1.2-raid1-2-classic", "level"},
                                         Refusal{"1.2-raid5-4-lockless-lazy-offset", "--force=lazy-recovery"}),
                         [](const auto& tested) { return "Refusal" + std::to_string(tested.index); });

TEST(OpenLive, TakesADirtyDegradedArrayByForce) {
  Running array(test::load_fixture("1.2-raid5-4-none-dirty-degraded"));
  ASSERT_TRUE(array.open({.dirty_degraded = true}));
  ASSERT_TRUE(array.live().write(0, pattern(4096)));
  ASSERT_TRUE(array.live().stop());
  std::vector<std::byte> there(4096);
  const test::Look after = test::look_at(array.images());
  ASSERT_TRUE(open_for_reading(after.array(), {}, kernels())->array.read(0, there));
  EXPECT_EQ(there, pattern(4096));
}

TEST(OpenLive, ADirtyArrayThatKeepsNoParityBecomesClean) {
  Running array(test::load_fixture("1.2-raid4-4-classic-crash"), {3});
  ASSERT_EQ(array.assembly().in_slot(3), nullptr);
  ASSERT_FALSE(array.assembly().clean);
  ASSERT_TRUE(array.open({.dirty_degraded = true}));
  array.live_for(2);
  ASSERT_TRUE(array.live().stop());
  const test::Look after = test::look_at(array.images());
  EXPECT_TRUE(after.array().clean);
  EXPECT_EQ(after.array().verdict, Verdict::degraded);
}

TEST(OpenLive, SparesHearOfEveryEvent) {
  Running array(test::load_fixture("1.2-raid5-3-none-spare"));
  ASSERT_TRUE(array.open());
  EXPECT_EQ(array.plan().members.size(), array.assembly().slots() + 1);
  EXPECT_FALSE(array.plan().members.back().slot.has_value());
  ASSERT_TRUE(array.live().write(0, pattern(4096)));
  ASSERT_TRUE(array.live().stop());
  const test::Look after = test::look_at(array.images());
  for (const Member& m : after.array().members) {
    EXPECT_EQ(m.description().events, after.array().array().events);
  }
  EXPECT_EQ(after.array().members.back().state, MemberState::spare);
}

TEST(OpenLive, AReplacementIsGivenUp) {
  Running array(test::load_fixture("1.2-raid5-3-none-replacement"));
  ASSERT_TRUE(array.open());
  ASSERT_EQ(array.plan().left.departed.size(), 1U);
  const std::uint64_t events = array.assembly().array().events;
  ASSERT_TRUE(array.live().write(0, pattern(4096)));
  ASSERT_TRUE(array.live().stop());
  const test::Look after = test::look_at(array.images());
  EXPECT_GE(after.array().array().events, events + 2);
  for (const Member& m : after.array().members) {
    EXPECT_NE(m.state, MemberState::replacement);
  }
}

TEST(OpenLive, AMemberThatFailsIsFaultyOnTheOthers) {
  Running array(test::load_fixture("1.2-raid5-4-classic-clean"));
  ASSERT_TRUE(array.open());
  std::vector<std::byte> expected = content_of(array.assembly());
  array.faulty(1).add({.operation = Operation::write});
  write_pieces(array.live(), expected);
  ASSERT_TRUE(array.live().stop());
  const test::Look after = test::look_at(array.images());
  EXPECT_EQ(after.array().in_slot(1), nullptr);
  const auto& roles = after.array().array().dev_roles;
  EXPECT_EQ(std::count(roles.begin(), roles.end(), role_faulty), 1);
  EXPECT_TRUE(content_of(after.array()) == expected);
  EXPECT_GT(after.array().bitmap.classic->set_count(), 0U);
}

TEST(OpenLive, ChangedSuperblocksAreRefused) {
  const std::vector<Image> images = test::load_fixture("1.2-raid5-4-none-clean");
  test::Look look = test::look_at(images);
  const Assembly& a = look.array();
  auto plan = plan_live(a, {});
  ASSERT_TRUE(plan);
  std::vector<std::byte> other = *read_bytes(*look.devices[2], 4096, 512);
  other[200] ^= std::byte{1};
  ASSERT_TRUE(look.devices[2]->write(4096, other));
  LiveDevices devices;
  for (const auto& device : look.devices) {
    devices.members.push_back({"m", device.get(), device.get()});
  }
  devices.ticks = [] { return Ticks(0); };
  devices.now_seconds = [] { return update_seconds; };
  const auto live = open_live(a, *plan, devices, kernels());
  ASSERT_FALSE(live);
  EXPECT_NE(live.error().text.find("has changed"), std::string::npos);
}

// A classic bitmap for this array, as it would be in a file: no bit set.
MemoryDevice bitmap_file_for(const Assembly& a, std::uint64_t events) {
  bitmap::Header header{};
  header.magic = bitmap::magic_number;
  header.version = bitmap::version_little_endian;
  header.uuid = a.array().bitmap_uuid.bytes;
  header.events = events;
  header.events_cleared = events;
  header.sync_size = a.array().size.count();
  header.chunksize = 64U << 10;
  header.daemon_sleep = 5;
  std::vector<std::byte> bytes(8192);
  EXPECT_TRUE(store(std::span(bytes), 0, header));
  return MemoryDevice(bytes);
}

TEST(OpenLive, ABitmapFileIsKept) {
  Running array(test::load_fixture("1.2-raid5-4-none-clean"));
  MemoryDevice file = bitmap_file_for(array.assembly(), array.assembly().array().events);
  ASSERT_TRUE(use_bitmap_file(array.assembly(), "bitmap", file));
  EXPECT_EQ(array.assembly().bitmap.trust, Trust::believed);
  array.use_bitmap_file(file);
  ASSERT_TRUE(array.open());
  ASSERT_TRUE(array.plan().bitmap_file.has_value());
  ASSERT_TRUE(array.live().write(0, pattern(4096)));
  test::Look meanwhile = test::look_at(array.images());
  ASSERT_TRUE(use_bitmap_file(meanwhile.arrays.front(), "bitmap", file));
  EXPECT_EQ(meanwhile.array().bitmap.trust, Trust::believed);
  EXPECT_EQ(meanwhile.array().bitmap.classic->set_count(), 1U);
  ASSERT_TRUE(array.live().stop());
  test::Look after = test::look_at(array.images());
  ASSERT_TRUE(use_bitmap_file(after.arrays.front(), "bitmap", file));
  EXPECT_EQ(after.array().bitmap.trust, Trust::believed);
  EXPECT_EQ(after.array().bitmap.classic->set_count(), 0U);
  EXPECT_EQ(after.array().bitmap.classic->header().events, after.array().array().events);
}

TEST(OpenLive, ABitmapFileHasToFitTheArray) {
  Running beside(test::load_fixture("1.2-raid5-4-classic-clean"));
  const MemoryDevice zeroes(std::vector<std::byte>(8192));
  EXPECT_FALSE(use_bitmap_file(beside.assembly(), "bitmap", zeroes));

  Running foreign(test::load_fixture("1.2-raid5-4-none-clean"));
  const MemoryDevice of_other = bitmap_file_for(beside.assembly(), foreign.assembly().array().events);
  ASSERT_TRUE(use_bitmap_file(foreign.assembly(), "bitmap", of_other));
  EXPECT_EQ(foreign.assembly().bitmap.trust, Trust::rejected);
  EXPECT_FALSE(foreign.open());

  Running behind(test::load_fixture("1.2-raid5-4-none-clean"));
  const MemoryDevice old = bitmap_file_for(behind.assembly(), behind.assembly().array().events - 1);
  ASSERT_TRUE(use_bitmap_file(behind.assembly(), "bitmap", old));
  EXPECT_EQ(behind.assembly().bitmap.trust, Trust::stale);
}

}  // namespace
}  // namespace mdtool
