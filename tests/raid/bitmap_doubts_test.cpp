// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/bitmap_doubts.h"

#include <gtest/gtest.h>

#include "libraid/assemble/open_array.h"
#include "libraid/io/faulty.h"
#include "tests/raid/loaded_array.h"
#include "tests/raid/small_array.h"

namespace mdtool {
namespace {

using bitmap::ChunkState;
using test::Image;
using test::Look;
using test::look_at;
using test::SmallArray;

constexpr std::uint8_t invalid_state = 0xff;

const parity::Kernels& kernels() {
  return *parity::supported_kernels().front();
}

std::uint8_t raw(ChunkState state) {
  return static_cast<std::uint8_t>(state);
}

std::vector<std::uint8_t> all(ChunkState state) {
  return std::vector<std::uint8_t>(SmallArray::bitmap_chunks, raw(state));
}

SmallArray lockless(std::int32_t level) {
  return {level, 2, 5, bitmap::Kind::lockless};
}

std::vector<Image> members_of(const SmallArray& array, const std::vector<std::byte>& content,
                              const std::vector<std::uint8_t>& states, std::uint64_t bitmap_events = 20) {
  std::vector<Image> images = with_content(array, content);
  for (std::uint32_t slot = 0; slot < array.slots; ++slot) {
    put_superblock(array, images[slot], slot, {});
    put_bitmap(array, images[slot], states, bitmap_events, 0);
  }
  return images;
}

std::vector<std::byte> zeroes(const SmallArray& array) {
  return std::vector<std::byte>(array.layout().array_size().bytes());
}

void spoil(Image& image, Sectors component_sector) {
  image[(SmallArray::data_offset + component_sector).bytes() + 7] ^= std::byte{1};
}

Result<DoubtReport> doubts_of(const Look& look, const mdtool::Run& run = {}) {
  return find_doubts(look.array(), kernels(), run);
}

// The plainest way: every sector of every row.
std::vector<DoubtfulChunk> judged_plainly(const Look& look) {
  const Assembly& a = look.array();
  const Layout layout = *workable_layout(a);
  std::vector<const Source*> members;
  for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
    members.push_back(a.in_slot(slot)->candidate->data);
  }
  const Sectors data_offset = a.array().data_offset;
  std::vector<DoubtfulChunk> found;
  const bitmap::Lockless& states = *a.bitmap.lockless;
  for (std::uint64_t chunk = 0; chunk < states.chunks(); ++chunk) {
    bool wrong = false;
    bool data = false;
    const Sectors end = std::min(states.chunk() * (chunk + 1), layout.geometry().component_size);
    for (Sectors at = states.chunk() * chunk; at < end; at += Sectors(1)) {
      wrong = wrong || !test::row_is_right(layout, members, data_offset, at);
      const auto row = test::read_row(members, data_offset, at);
      for (std::uint32_t slot = 0; slot < row.size(); ++slot) {
        data = data || (layout.data_index(at / layout.geometry().chunk, slot) &&
                        row[slot] != std::vector<std::byte>(Sectors::bytes_each));
      }
    }
    const std::uint8_t state = states.raw(chunk);
    if (state == raw(ChunkState::clean) && wrong) {
      found.push_back({chunk, Doubt::wrong_parity_clean});
    } else if (state == raw(ChunkState::clean_unwritten) && wrong) {
      found.push_back({chunk, Doubt::wrong_parity_clean_unwritten});
    } else if (state == raw(ChunkState::unwritten) && data) {
      found.push_back({chunk, Doubt::data_in_unwritten});
    }
  }
  return found;
}

std::size_t count(const std::vector<DoubtfulChunk>& found, Doubt doubt) {
  return static_cast<std::size_t>(
      std::count_if(found.begin(), found.end(), [&](const DoubtfulChunk& c) { return c.doubt == doubt; }));
}

TEST(BitmapDoubts, OneWrongBitInTheLastRowOfAChunkIsFoundInTheStatesThatPromiseParity) {
  for (std::int32_t level : {4, 5, 6}) {
    const SmallArray array = lockless(level);
    std::vector<std::uint8_t> states = all(ChunkState::clean);
    for (std::size_t i = 8; i < states.size(); ++i) {
      states[i] = raw(ChunkState::clean_unwritten);
    }
    std::vector<Image> images = members_of(array, random_content(array, 3), states);
    EXPECT_TRUE(doubts_of(look_at(images))->chunks.empty()) << level;
    const Layout layout = array.layout();
    for (const std::uint64_t chunk : {0U, 5U, 15U}) {
      const Sectors last = SmallArray::bitmap_chunk * (chunk + 1) - Sectors(1);
      const ParitySlots parity = layout.parity(last / SmallArray::chunk);
      spoil(images[parity.q ? *parity.q : parity.p], last);
    }
    const auto report = doubts_of(look_at(images));
    ASSERT_TRUE(report);
    const std::vector<DoubtfulChunk> expected{
        {0, Doubt::wrong_parity_clean}, {5, Doubt::wrong_parity_clean}, {15, Doubt::wrong_parity_clean_unwritten}};
    EXPECT_EQ(report->chunks, expected) << level;
    EXPECT_EQ(report->chunks_read, SmallArray::bitmap_chunks);
    EXPECT_FALSE(report->interrupted);
  }
}

TEST(BitmapDoubts, DataThatAnUnwrittenChunkHoldsIsFoundAndParityAloneIsNot) {
  const SmallArray array = lockless(5);
  std::vector<Image> images = members_of(array, zeroes(array), all(ChunkState::unwritten));
  const Layout layout = array.layout();
  const auto parity_and_data = [&](Sectors sector) {
    const std::uint32_t p = layout.parity(sector / SmallArray::chunk).p;
    return std::pair(p, (p + 1) % array.slots);
  };
  spoil(images[parity_and_data(Sectors(3)).first], Sectors(3));
  spoil(images[parity_and_data(Sectors(100)).second], Sectors(100));
  const auto report = doubts_of(look_at(images));
  ASSERT_TRUE(report);
  const std::vector<DoubtfulChunk> expected{{Sectors(100) / SmallArray::bitmap_chunk, Doubt::data_in_unwritten}};
  EXPECT_EQ(report->chunks, expected);
}

TEST(BitmapDoubts, WhatIsDueAnywayPromisesNothingAndIsNotRead) {
  const SmallArray array = lockless(5);
  std::vector<std::uint8_t> states = all(ChunkState::clean);
  const std::vector<std::uint8_t> due{raw(ChunkState::dirty),
                                      raw(ChunkState::need_sync),
                                      raw(ChunkState::syncing),
                                      raw(ChunkState::need_sync_unwritten),
                                      raw(ChunkState::syncing_unwritten),
                                      invalid_state};
  std::copy(due.begin(), due.end(), states.begin());
  std::vector<Image> images = members_of(array, random_content(array, 4), states);
  for (std::uint64_t chunk = 0; chunk < due.size(); ++chunk) {
    spoil(images[0], SmallArray::bitmap_chunk * chunk);
  }
  const auto report = doubts_of(look_at(images));
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->chunks.empty());
  EXPECT_EQ(report->chunks_read, SmallArray::bitmap_chunks - due.size());
}

TEST(BitmapDoubts, RefusedWhereNoStateMeansAnything) {
  const SmallArray array = lockless(5);
  const auto content = random_content(array, 5);
  const auto refused = [](const Look& look, std::string_view why) {
    const auto report = doubts_of(look);
    ASSERT_FALSE(report) << why;
    EXPECT_EQ(report.error().kind, ErrorKind::refused);
    EXPECT_NE(report.error().text.find(why), std::string::npos) << report.error().text;
  };
  const std::vector<Image> images = members_of(array, content, all(ChunkState::clean));
  refused(test::look_without(images, {2}), "missing");
  refused(look_at(members_of(array, content, all(ChunkState::clean), 10)), "missed updates");

  SmallArray other = array;
  other.bitmap = bitmap::Kind::classic;
  refused(look_at(members_of(other, content, all(ChunkState::clean))), "classic");
  other.bitmap = bitmap::Kind::none;
  refused(look_at(members_of(other, content, {})), "no write-intent bitmap");

  const auto with_header = [&](std::size_t field, le32 value) {
    std::vector<Image> changed = images;
    for (Image& image : changed) {
      EXPECT_TRUE(store(std::span(image), SmallArray::bitmap_offset.bytes() + field, value));
    }
    return changed;
  };
  refused(look_at(with_header(offsetof(bitmap::Header, state), bitmap::state_first_use)), "not been used");
  refused(look_at(with_header(offsetof(bitmap::Header, version), 0x03030306U)), "cannot be used");
}

TEST(BitmapDoubts, ABlockThatCannotBeReadFailsByItsSlotAndChunk) {
  const SmallArray array = lockless(6);
  Look look = look_at(members_of(array, random_content(array, 6), all(ChunkState::clean)));
  FaultyDevice faulty(*look.devices[3]);
  const Sectors bad = SmallArray::bitmap_chunk * 7;
  // P and Q that cannot be read are wrong parity; this is a stripe where slot 3 holds data.
  ASSERT_TRUE(array.layout().data_index(bad / SmallArray::chunk, 3));
  faulty.add({.operation = Operation::read,
              .offset_bytes = (SmallArray::data_offset + bad).bytes(),
              .length_bytes = Sectors::bytes_each});
  look.candidates[3].data = &faulty;
  const auto report = doubts_of(look);
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().kind, ErrorKind::refused);
  EXPECT_NE(report.error().text.find("chunk 7: slot 3"), std::string::npos) << report.error().text;
}

TEST(BitmapDoubts, AStopEndsItBetweenChunksAndProgressCountsWhatIsRead) {
  const SmallArray array = lockless(5);
  std::vector<std::uint8_t> states = all(ChunkState::clean);
  states[0] = raw(ChunkState::need_sync);
  std::vector<Image> images = members_of(array, random_content(array, 7), states);
  spoil(images[1], SmallArray::bitmap_chunk * 2);
  spoil(images[1], SmallArray::bitmap_chunk * 9);
  std::stop_source stop;
  mdtool::Run run;
  Progress seen;
  run.stop = stop.get_token();
  run.progress = [&](const Progress& p) {
    seen = p;
    if (p.done_bytes == (SmallArray::bitmap_chunk * 3).bytes()) {
      stop.request_stop();
    }
  };
  const auto report = doubts_of(look_at(images), run);
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->interrupted);
  EXPECT_EQ(report->chunks_read, 3U);
  EXPECT_EQ(report->chunks, (std::vector<DoubtfulChunk>{{2, Doubt::wrong_parity_clean}}));
  EXPECT_EQ(seen.total_bytes, (SmallArray::bitmap_chunk * (SmallArray::bitmap_chunks - 1)).bytes());
}

struct Hazard {
  const char* fixture;
  Doubt doubt;
  std::size_t chunks;
};

// What a real kernel left: see each folder's origin.md.
TEST(BitmapDoubts, NamesWhatTheKernelLeftBehindAndNothingElse) {
  for (const Hazard& hazard : {Hazard{"1.2-raid5-3-lockless-short-sync", Doubt::wrong_parity_clean, 2},
                               Hazard{"1.2-raid5-3-lockless-replaced", Doubt::wrong_parity_clean_unwritten, 48},
                               Hazard{"1.2-raid5-3-lockless-discarded", Doubt::data_in_unwritten, 1},
                               Hazard{"1.2-raid5-4-lockless-clean", Doubt::wrong_parity_clean, 0}}) {
    const Look look = look_at(test::load_fixture(hazard.fixture));
    const auto report = doubts_of(look);
    ASSERT_TRUE(report) << hazard.fixture;
    EXPECT_EQ(report->chunks, judged_plainly(look)) << hazard.fixture;
    EXPECT_EQ(count(report->chunks, hazard.doubt), hazard.chunks) << hazard.fixture;
  }
}

}  // namespace
}  // namespace mdtool
