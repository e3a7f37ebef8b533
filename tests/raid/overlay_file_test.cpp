// SPDX-License-Identifier: GPL-2.0-or-later
// The overlay file: who may use it over what, and what is made of one that is damaged.
#include "libraid/io/overlay_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "libraid/io/memory.h"
#include "tests/raid/overlay_image.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

constexpr std::size_t sector = 512;
constexpr std::size_t member_bytes = 1U << 20;

class OverlayFileTest : public testing::Test {
 protected:
  OverlayBase base(std::size_t i) const {
    return {"m" + std::to_string(i),
            "device " + std::to_string(i),
            &members_[i],
            &members_[i],
            {{"superblock", 4096, 1024}, {"bitmap header", 8192, 256}}};
  }
  std::vector<OverlayBase> both() const { return {base(0), base(1)}; }
  // With a sector of the second member written.
  void make() {
    auto file = OverlayFile::create(path_, both());
    ASSERT_TRUE(file) << file.error().text;
    const auto device = file->device(1);
    ASSERT_TRUE(device->write(sector, pattern(sector, 9)));
    ASSERT_TRUE(device->zero(0, sector));
    ASSERT_TRUE(device->flush());
  }
  Error error_of_open(std::span<const OverlayBase> bases, OverlayUse use = OverlayUse::serve) const {
    const auto file = OverlayFile::open(path_, bases, use);
    EXPECT_FALSE(file);
    return file ? Error{} : file.error();
  }
  void expect_refused(std::string_view words) const {
    const Error error = error_of_open(both());
    EXPECT_EQ(error.kind, ErrorKind::refused);
    EXPECT_NE(error.text.find(words), std::string::npos) << error.text;
  }

  ScratchFolder scratch_;
  std::string path_ = scratch_.path("state/mdtool/overlay/x.overlay");
  std::vector<MemoryDevice> members_ = {MemoryDevice(pattern(member_bytes, 1)), MemoryDevice(pattern(member_bytes, 2))};
};

TEST_F(OverlayFileTest, keeps_what_was_written_for_its_owner_only_and_takes_little_room) {
  make();
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  EXPECT_LT(status.st_blocks * 512, 128 << 10);
  // In the other order, and by other names.
  std::vector<OverlayBase> bases = {base(1), base(0)};
  bases[0].path = "elsewhere";
  const auto file = OverlayFile::open(path_, bases, OverlayUse::serve);
  ASSERT_TRUE(file) << file.error().text;
  EXPECT_EQ(file->member_of(0), 1U);
  EXPECT_EQ(file->members()[1].path, "m1");
  const auto device = file->device(0);
  EXPECT_EQ(*read_bytes(*device, sector, sector), pattern(sector, 9));
  EXPECT_EQ(*read_bytes(*device, 0, sector), std::vector<std::byte>(sector));
  EXPECT_EQ(*read_bytes(*file->device(1), 0, member_bytes), members_[0].bytes());
}

TEST_F(OverlayFileTest, has_one_user_at_a_time_while_others_over_the_same_members_have_theirs) {
  const auto first = OverlayFile::create(path_, both());
  ASSERT_TRUE(first);
  expect_refused("in use");
  EXPECT_EQ(OverlayFile::create(path_, both()).error().kind, ErrorKind::refused);
  const auto second = OverlayFile::create(scratch_.path("second"), both());
  ASSERT_TRUE(second);
  ASSERT_TRUE(first->device(0)->write(0, pattern(sector, 7)));
  EXPECT_EQ(*read_bytes(*second->device(0), 0, member_bytes), members_[0].bytes());
  EXPECT_TRUE(read_overlay_file(path_));
}

TEST_F(OverlayFileTest, fits_only_members_that_are_as_they_were) {
  make();
  ASSERT_TRUE(OverlayFile::open(path_, std::vector{base(1)}, OverlayUse::serve));
  ASSERT_TRUE(members_[1].write(4096 + 1023, std::vector<std::byte>{std::byte{1}}));
  expect_refused("m1: has changed since the overlay was made over it: its superblock");
  members_[1] = MemoryDevice(pattern(member_bytes, 2));
  ASSERT_TRUE(members_[1].write(8192 + 255, std::vector<std::byte>{std::byte{1}}));
  expect_refused("bitmap header");
  members_[1] = MemoryDevice(pattern(member_bytes, 2));
  ASSERT_TRUE(members_[1].write(8192 + 256, std::vector<std::byte>{std::byte{1}}));
  EXPECT_TRUE(OverlayFile::open(path_, both(), OverlayUse::serve));
  members_[1] = MemoryDevice(pattern(member_bytes + sector, 2));
  expect_refused("bytes and had");
  std::vector<OverlayBase> bases = both();
  bases[0].identity = "another";
  EXPECT_NE(error_of_open(bases).text.find("none of the members"), std::string::npos);
  EXPECT_NE(error_of_open(std::vector{base(0), base(0)}).kind, ErrorKind::io);
}

TEST_F(OverlayFileTest, is_for_its_commit_only_once_that_has_begun) {
  make();
  const auto marked = pattern(1024, 20), finished = pattern(1024, 21);
  {
    auto file = OverlayFile::open(path_, both(), OverlayUse::commit);
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->begin_commit({1, {{0, 1, 4096, marked}, {1, 1, 4096, finished}}}));
    EXPECT_EQ(file->device(0)->write(0, marked).error().kind, ErrorKind::refused);
  }
  EXPECT_EQ(error_of_open(both()).kind, ErrorKind::refused);
  // Each sector of the superblock may be in any of the three states, and in no other.
  const std::vector<std::byte> versions[] = {*read_bytes(members_[1], 4096, 1024), marked, finished};
  for (const auto& first : versions) {
    for (const auto& second : versions) {
      ASSERT_TRUE(members_[1].write(4096, std::span(first).first(sector)));
      ASSERT_TRUE(members_[1].write(4096 + sector, std::span(second).last(sector)));
      const auto file = OverlayFile::open(path_, both(), OverlayUse::commit);
      ASSERT_TRUE(file) << file.error().text;
      EXPECT_EQ(file->commit()->stages_before_data, 1U);
      EXPECT_EQ(file->commit()->patches[1].bytes, finished);
      EXPECT_EQ(*read_bytes(*file->device(1), sector, sector), pattern(sector, 9));
    }
  }
  ASSERT_TRUE(members_[1].write(4096, std::span(marked).last(sector)));
  EXPECT_EQ(error_of_open(both(), OverlayUse::commit).kind, ErrorKind::refused);
}

TEST_F(OverlayFileTest, is_gone_when_it_is_removed) {
  make();
  auto file = OverlayFile::open(path_, {}, OverlayUse::commit);
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->remove());
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(OverlayFileTest, is_nothing_else) {
  write_file(scratch_.path("x"), pattern(9000));
  EXPECT_EQ(read_overlay_file(scratch_.path("x")).error().kind, ErrorKind::format);
  EXPECT_EQ(OverlayFile::open(scratch_.path("x"), {}, OverlayUse::serve).error().kind, ErrorKind::format);
  EXPECT_EQ(file_bytes(scratch_.path("x")), pattern(9000));
  write_file(scratch_.path("empty"), pattern(0));
  EXPECT_EQ(read_overlay_file(scratch_.path("empty")).error().kind, ErrorKind::format);
  ASSERT_EQ(::mkfifo(scratch_.path("fifo").c_str(), 0600), 0);
  EXPECT_EQ(OverlayFile::open(scratch_.path("fifo"), {}, OverlayUse::serve).error().kind, ErrorKind::usage);
  EXPECT_EQ(OverlayFile::open(scratch_.path("none"), {}, OverlayUse::serve).error().kind, ErrorKind::io);
}

TEST_F(OverlayFileTest, whatever_byte_of_it_is_wrong_is_noticed) {
  make();
  {
    auto file = OverlayFile::open(path_, both(), OverlayUse::commit);
    ASSERT_TRUE(file->begin_commit({1, {{0, 1, 4096, pattern(64)}}}));
  }
  const std::vector<std::byte> good = file_bytes(path_);
  const std::size_t table = 4096, groups = 2 * 4096;
  const std::size_t record = groups + overlay_disk::group_bytes;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < 512; ++i) {
    places.insert(places.end(), {2 * i, table + 5 * i, groups + i / 8, record + i / 8});
  }
  for (const std::size_t at : places) {
    auto bad = good;
    bad[at] ^= std::byte{0x20};
    EXPECT_FALSE(read_overlay(MemoryDevice(std::move(bad)))) << at;
  }
}

TEST_F(OverlayFileTest, cut_short_it_is_refused_or_lacks_nothing) {
  make();
  const std::vector<std::byte> good = file_bytes(path_);
  for (std::size_t length = 0; length < good.size(); length += 64) {
    const auto contents =
        read_overlay(MemoryDevice({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length)}));
    EXPECT_FALSE(contents && contents->pages == 1) << length;
  }
  const auto whole = read_overlay(MemoryDevice(good));
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->pages, 1U);
}

}  // namespace
}  // namespace mdtool
