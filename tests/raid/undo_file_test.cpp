// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/undo_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <zstd.h>

#include "libraid/io/memory.h"
#include "tests/raid/scratch.h"
#include "tests/raid/undo_frames.h"

namespace mdtool {
namespace {

constexpr std::size_t sector = 512;

class UndoFileTest : public testing::Test {
 protected:
  // A record of `length` bytes of the member as it is now, and what they become.
  UndoRecord change(std::uint32_t member, std::uint64_t offset, std::size_t length, std::uint64_t seed) const {
    std::vector<std::byte> before(length);
    EXPECT_TRUE(members_[member].read(offset, before));
    return {member, offset, before, pattern(length, seed)};
  }
  void apply(const UndoRecord& record) {
    ASSERT_TRUE(members_[record.member].write(record.offset_bytes, record.after));
  }
  void apply(const std::vector<UndoRecord>& records) {
    for (const UndoRecord& record : records) {
      apply(record);
    }
  }
  UndoFile created() {
    auto file = UndoFile::create(path_, "mdtool resync a b", description_);
    EXPECT_TRUE(file) << file.error().text;
    return std::move(file).value();
  }
  Result<std::vector<UndoRecord>> plan() const {
    const auto contents = read_undo_file(path_);
    EXPECT_TRUE(contents) << contents.error().text;
    return undo_plan(*contents, std::vector<const Source*>{&members_[0], &members_[1]});
  }
  // The one stage of these tests: three sectors of a, and an odd piece of b.
  std::vector<UndoRecord> one_stage() {
    const std::vector<UndoRecord> stage = {change(0, 4096, 3 * sector, 11), change(1, 700, 20, 12)};
    EXPECT_TRUE(created().append(stage));
    return stage;
  }
  std::size_t first_frame_end() {
    EXPECT_TRUE(UndoFile::create(scratch_.path("other"), "mdtool resync a b", description_));
    return file_bytes(scratch_.path("other")).size();
  }

  ScratchFolder scratch_;
  std::string path_ = scratch_.path("state/mdtool/undo/file.undo");
  std::vector<MemoryDevice> members_ = {MemoryDevice(pattern(65536, 1)), MemoryDevice(pattern(65536, 2))};
  std::vector<MemoryDevice> originals_ = members_;
  std::vector<UndoMember> description_ = {{"a", 65536, "uuid:0"}, {"b\n\x1b[31m", 65536, "uuid:1"}};

  void expect_restored() {
    EXPECT_EQ(members_[0].bytes(), originals_[0].bytes());
    EXPECT_EQ(members_[1].bytes(), originals_[1].bytes());
  }
};

TEST_F(UndoFileTest, what_was_put_in_comes_out) {
  const auto stage = one_stage();
  const auto contents = read_undo_file(path_);
  ASSERT_TRUE(contents);
  EXPECT_EQ(contents->command_line, "mdtool resync a b");
  ASSERT_EQ(contents->members.size(), 2U);
  EXPECT_EQ(contents->members[1].path, description_[1].path);
  EXPECT_EQ(contents->members[1].size_bytes, 65536U);
  EXPECT_EQ(contents->members[1].identity, "uuid:1");
  ASSERT_EQ(contents->records.size(), 2U);
  EXPECT_EQ(contents->records[1].member, 1U);
  EXPECT_EQ(contents->records[1].offset_bytes, 700U);
  EXPECT_EQ(contents->records[0].before, stage[0].before);
  EXPECT_EQ(contents->records[1].after, stage[1].after);
  EXPECT_FALSE(contents->tail_dropped);
}

TEST_F(UndoFileTest, is_for_its_owner_alone) {
  created();
  struct stat file {
  }, folder{};
  ASSERT_EQ(::stat(path_.c_str(), &file), 0);
  ASSERT_EQ(::stat(scratch_.path("state/mdtool").c_str(), &folder), 0);
  EXPECT_EQ(file.st_mode & 07777, 0600U);
  EXPECT_EQ(folder.st_mode & 07777, 0700U);
}

TEST_F(UndoFileTest, never_overwrites) {
  write_file(path_, std::string("precious"));
  const auto file = UndoFile::create(path_, "", {});
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().kind, ErrorKind::refused);
  EXPECT_EQ(file_bytes(path_).size(), 8U);
}

TEST_F(UndoFileTest, is_a_zstd_stream) {
  one_stage();
  const auto bytes = file_bytes(path_);
  std::vector<std::byte> raw(1 << 20);
  EXPECT_EQ(ZSTD_isError(ZSTD_decompress(raw.data(), raw.size(), bytes.data(), bytes.size())), 0U);
}

TEST_F(UndoFileTest, records_outside_of_their_member_are_refused) {
  auto file = created();
  const auto refused = [&file](const UndoRecord& record) { return !file.append(std::span(&record, 1)); };
  EXPECT_TRUE(refused({2, 0, pattern(1), pattern(1)}));
  EXPECT_TRUE(refused({0, 65536, pattern(1), pattern(1)}));
  EXPECT_TRUE(refused({0, ~std::uint64_t{0}, pattern(2), pattern(2)}));
  EXPECT_TRUE(refused({0, 0, pattern(2), pattern(1)}));
  EXPECT_TRUE(refused({0, 0, {}, {}}));
  EXPECT_TRUE(read_undo_file(path_)->records.empty());
}

TEST_F(UndoFileTest, undoing_gives_the_first_bytes_back) {
  auto file = created();
  const std::vector<UndoRecord> first = {change(0, 4096, 2 * sector, 21), change(1, 1000, 100, 22)};
  ASSERT_TRUE(file.append(first));
  apply(first);
  const std::vector<UndoRecord> second = {change(0, 4096 + sector, 2 * sector, 23), change(1, 1050, 100, 24)};
  ASSERT_TRUE(file.append(second));
  apply(second);
  const auto back = plan();
  ASSERT_TRUE(back) << back.error().text;
  apply(*back);
  expect_restored();
  EXPECT_TRUE(plan()->empty());
}

TEST_F(UndoFileTest, a_crash_in_the_middle_of_a_stage_can_be_undone) {
  auto file = created();
  const std::vector<UndoRecord> first = {change(0, 0, 4 * sector, 31)};
  ASSERT_TRUE(file.append(first));
  apply(first);
  const UndoRecord second = change(0, sector, 4 * sector, 32);
  ASSERT_TRUE(file.append(std::span(&second, 1)));
  const std::vector<std::byte> between = members_[0].bytes();
  for (unsigned torn = 0; torn < 16; ++torn) {
    members_[0] = MemoryDevice(between);
    for (std::size_t i = 0; i < 4; ++i) {
      if ((torn >> i & 1) != 0) {
        ASSERT_TRUE(
            members_[0].write(second.offset_bytes + i * sector, std::span(second.after).subspan(i * sector, sector)));
      }
    }
    const auto back = plan();
    ASSERT_TRUE(back) << torn << back.error().text;
    apply(*back);
    expect_restored();
  }
}

TEST_F(UndoFileTest, an_undo_cut_off_halfway_converges) {
  apply(one_stage());
  const auto back = plan();
  ASSERT_TRUE(back);
  ASSERT_EQ(back->size(), 2U);
  ASSERT_TRUE(members_[0].write(back->back().offset_bytes, std::span(back->back().after).first(sector)));
  apply(*plan());
  expect_restored();
}

TEST_F(UndoFileTest, the_plan_says_what_it_replaces) {
  const auto stage = one_stage();
  apply(stage);
  const auto back = plan();
  ASSERT_TRUE(back);
  ASSERT_EQ(back->size(), 2U);
  EXPECT_EQ(back->at(1).offset_bytes, 4096U);
  EXPECT_EQ(back->at(1).before, stage[0].after);
  EXPECT_EQ(back->at(1).after, stage[0].before);
}

TEST_F(UndoFileTest, a_byte_changed_by_something_else_is_refused) {
  apply(one_stage());
  std::vector<std::byte> byte(1);
  ASSERT_TRUE(members_[0].read(4096 + sector + 7, byte));
  byte[0] = ~byte[0];
  ASSERT_TRUE(members_[0].write(4096 + sector + 7, byte));
  const auto back = plan();
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().kind, ErrorKind::refused);
  EXPECT_NE(back.error().text.find("a: the sector at byte 4608"), std::string::npos) << back.error().text;
}

TEST_F(UndoFileTest, bytes_beside_a_record_do_not_matter) {
  apply(one_stage());
  ASSERT_TRUE(members_[1].write(699, pattern(1, 99)));
  ASSERT_TRUE(members_[1].write(720, pattern(1, 98)));
  EXPECT_TRUE(plan());
}

TEST_F(UndoFileTest, a_sector_of_mixed_versions_is_refused) {
  const UndoRecord record = change(0, 0, sector, 41);
  ASSERT_TRUE(created().append(std::span(&record, 1)));
  ASSERT_TRUE(members_[0].write(0, std::span(record.after).first(256)));
  EXPECT_FALSE(plan());
}

TEST_F(UndoFileTest, a_member_of_another_size_is_refused) {
  one_stage();
  members_[1] = MemoryDevice(pattern(65536 + sector, 2));
  const auto back = plan();
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().kind, ErrorKind::refused);
}

TEST_F(UndoFileTest, members_need_not_end_at_a_sector) {
  description_[0].size_bytes = 1000;
  members_[0] = MemoryDevice(pattern(1000, 1));
  originals_ = members_;
  const UndoRecord record = change(0, 990, 10, 51);
  ASSERT_TRUE(created().append(std::span(&record, 1)));
  apply(record);
  apply(*plan());
  expect_restored();
}

TEST_F(UndoFileTest, every_truncation_is_the_stage_never_written_or_no_undo_file) {
  const std::size_t described = first_frame_end();
  one_stage();
  const auto bytes = file_bytes(path_);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const auto contents = decode_undo_file(std::span(bytes).first(length));
    if (length < described) {
      EXPECT_FALSE(contents) << length;
      continue;
    }
    ASSERT_TRUE(contents) << length;
    EXPECT_TRUE(contents->records.empty()) << length;
    EXPECT_EQ(contents->tail_dropped, length != described) << length;
  }
}

TEST_F(UndoFileTest, a_tail_of_zeroes_is_dropped) {
  one_stage();
  auto bytes = file_bytes(path_);
  bytes.resize(bytes.size() + 4096);
  const auto contents = decode_undo_file(bytes);
  ASSERT_TRUE(contents);
  EXPECT_EQ(contents->records.size(), 2U);
  EXPECT_TRUE(contents->tail_dropped);
}

TEST_F(UndoFileTest, no_flipped_bit_gives_other_records_or_hides_a_stage_before_the_last) {
  auto file = created();
  const std::vector<UndoRecord> stage = {change(0, 4096, 40, 61)};
  ASSERT_TRUE(file.append(stage));
  const std::size_t last_frame_at = file_bytes(path_).size();
  ASSERT_TRUE(file.append(stage));
  const auto bytes = file_bytes(path_);
  std::size_t refused = 0, dropped = 0;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto flipped = bytes;
    flipped[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    const auto contents = decode_undo_file(flipped);
    if (!contents) {
      ++refused;
      continue;
    }
    // zstd ignores a bit here and there: then everything is as it was.
    EXPECT_EQ(contents->records.size(), contents->tail_dropped ? 1U : 2U) << "byte " << bit / 8;
    EXPECT_TRUE(!contents->tail_dropped || bit / 8 >= last_frame_at) << "byte " << bit / 8;
    dropped += contents->tail_dropped ? 1 : 0;
    EXPECT_EQ(contents->command_line, "mdtool resync a b");
    for (const UndoRecord& record : contents->records) {
      EXPECT_EQ(record.before, stage[0].before);
      EXPECT_EQ(record.after, stage[0].after);
      EXPECT_EQ(record.offset_bytes, 4096U);
    }
  }
  EXPECT_GT(refused, last_frame_at * 7);
  EXPECT_GT(dropped, (bytes.size() - last_frame_at) * 7);
}

TEST_F(UndoFileTest, what_is_no_undo_file_is_said_to_be_none) {
  write_file(path_, pattern(5000));
  const auto contents = read_undo_file(path_);
  ASSERT_FALSE(contents);
  EXPECT_EQ(contents.error().kind, ErrorKind::format);
  EXPECT_NE(contents.error().text.find(path_), std::string::npos);
  EXPECT_FALSE(read_undo_file(scratch_.path("missing")));
}

// A file as append() would write it, of any content.
std::vector<std::byte> file_of(std::span<const std::vector<std::byte>> frames) {
  std::vector<std::byte> file;
  for (std::uint32_t i = 0; i < frames.size(); ++i) {
    const auto frame = sealed_frame(i, frames[i]);
    file.insert(file.end(), frame.begin(), frame.end());
  }
  return file;
}

std::vector<std::byte> words(std::initializer_list<std::uint32_t> values) {
  std::vector<std::byte> bytes;
  for (const std::uint32_t value : values) {
    const le32 word(value);
    const auto added = std::as_bytes(std::span(&word, 1));
    bytes.insert(bytes.end(), added.begin(), added.end());
  }
  return bytes;
}

// No command line, one member of 4096 bytes without a name.
const std::vector<std::byte> one_member = words({0, 1, 0, 4096, 0, 0});

TEST_F(UndoFileTest, hostile_content_under_right_checksums_is_refused) {
  const auto accepted = [](std::vector<std::vector<std::byte>> frames) {
    return decode_undo_file(file_of(frames)).has_value();
  };
  EXPECT_TRUE(accepted({one_member}));
  EXPECT_TRUE(accepted({one_member, words({0, 0, 0, 4, 1, 2})}));
  EXPECT_FALSE(accepted({words({})}));
  EXPECT_FALSE(accepted({words({0xffffffff, 0})}));
  EXPECT_FALSE(accepted({words({0, 0xffffffff})}));
  EXPECT_FALSE(accepted({words({0, 2, 0, 4096, 0, 0})}));
  EXPECT_FALSE(accepted({words({0, 1, 0, 4096, 0, 0, 0})}));
  EXPECT_FALSE(accepted({one_member, words({1, 0, 0, 4, 1, 2})}));                    // no such member
  EXPECT_FALSE(accepted({one_member, words({0, 4096, 0, 4, 1, 2})}));                 // beyond its end
  EXPECT_FALSE(accepted({one_member, words({0, 0xfffffffe, 0xffffffff, 4, 1, 2})}));  // overflows
  EXPECT_FALSE(accepted({one_member, words({0, 0, 0, 0xffffffff, 1, 2})}));
  EXPECT_FALSE(accepted({one_member, words({0, 0, 0, 0})}));
  EXPECT_FALSE(accepted({one_member, words({0, 0, 0, 4, 1})}));
}

TEST_F(UndoFileTest, frames_have_an_order_a_version_and_a_size) {
  const auto description = sealed_frame(0, one_member);
  const auto with = [&description](const std::vector<std::byte>& frame) {
    auto file = description;
    file.insert(file.end(), frame.begin(), frame.end());
    return decode_undo_file(file);
  };
  EXPECT_TRUE(with(sealed_frame(1, {})));
  EXPECT_FALSE(with(sealed_frame(0, one_member)));
  EXPECT_FALSE(with(sealed_frame(2, {})));
  const auto newer = with(sealed_frame(1, {}, 2));
  ASSERT_FALSE(newer);
  EXPECT_NE(newer.error().text.find("version 2"), std::string::npos);
  const auto bomb = with(sealed_frame(1, std::vector<std::byte>((64U << 20) + 1)));
  ASSERT_FALSE(bomb);
  EXPECT_NE(bomb.error().text.find("too large"), std::string::npos);
}

TEST_F(UndoFileTest, sixty_four_mebibytes_are_the_limit) {
  description_[0].size_bytes = 1U << 30;
  auto file = created();
  const std::vector<std::byte> zeroes(16 << 20);
  const UndoRecord record{0, 0, zeroes, zeroes};
  ASSERT_TRUE(file.append(std::span(&record, 1)));
  const Status status = file.append(std::span(&record, 1));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, ErrorKind::refused);
  EXPECT_EQ(read_undo_file(path_)->records.size(), 1U);
}

TEST_F(UndoFileTest, after_a_failed_write_no_stage_is_taken) {
  auto file = created();
  const std::vector<UndoRecord> stage = {change(0, 0, 8192, 71)};
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_action = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limited{2000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);
  const Status full = file.append(stage);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, old_action);
  ASSERT_FALSE(full);
  EXPECT_NE(full.error().text.find("File too large"), std::string::npos) << full.error().text;
  EXPECT_FALSE(file.append(stage));
  const auto contents = read_undo_file(path_);
  ASSERT_TRUE(contents);
  EXPECT_TRUE(contents->records.empty());
  EXPECT_TRUE(contents->tail_dropped);
}

TEST(UndoIdentity, is_read_as_it_is_written) {
  const auto again = [](const UndoIdentity& identity) { return UndoIdentity::parse(identity.text()); };
  const auto plain = again({1048576, std::nullopt});
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->offset_bytes, 1048576U);
  EXPECT_EQ(plain->serial, std::nullopt);
  const auto odd = again({0, "t10.ATA  WDC serial=7"});
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->serial, "t10.ATA  WDC serial=7");
  EXPECT_EQ(UndoIdentity::parse("4096")->offset_bytes, 4096U);  // as files had it before serial numbers
  EXPECT_FALSE(UndoIdentity::parse(""));
  EXPECT_FALSE(UndoIdentity::parse("uuid:0"));
  EXPECT_FALSE(UndoIdentity::parse("4096 disk"));
  EXPECT_FALSE(UndoIdentity::parse("99999999999999999999"));
}

TEST(DefaultUndoPath, follows_the_environment) {
  const auto path = [](std::optional<std::string> state, std::optional<std::string> home) {
    return default_undo_path({std::move(state), std::move(home), 1769903999, 1234});
  };
  EXPECT_EQ(*path("/s", "/h"), "/s/mdtool/undo/20260131T235959Z-1234.undo");
  EXPECT_EQ(*path("relative", "/h"), "/h/.local/state/mdtool/undo/20260131T235959Z-1234.undo");
  EXPECT_EQ(*path(std::nullopt, "/h"), "/h/.local/state/mdtool/undo/20260131T235959Z-1234.undo");
  EXPECT_EQ(path(std::nullopt, std::nullopt).error().kind, ErrorKind::usage);
  EXPECT_FALSE(default_undo_path({"/s", "/h", ~std::uint64_t{0} >> 1, 1}));
}

}  // namespace
}  // namespace mdtool
