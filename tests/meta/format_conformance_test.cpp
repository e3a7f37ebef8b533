// SPDX-License-Identifier: GPL-2.0-or-later
// What every format promises, on a member made by hand for each: found, identical when encoded, never harmed by damage.
#include <gtest/gtest.h>

#include "libmeta/format.h"
#include "tests/meta/superblock_builder.h"

namespace mdtool::testing {
namespace {

struct Sample {
  SparseMember member;
  std::uint64_t offset_bytes;
};

Sample sample_of(const Format& format) {
  if (&format == &md0::little_endian()) {
    return {Md0Member<std::endian::little>().member(), Md0Member<std::endian::little>::super_sector * 512};
  }
  if (&format == &md0::big_endian()) {
    return {Md0Member<std::endian::big>().member(), Md0Member<std::endian::big>::super_sector * 512};
  }
  const Md1Member made(&format == &md1::version_1_0() ? 0 : &format == &md1::version_1_1() ? 1 : 2);
  return {made.member(), made.super_offset().bytes()};
}

std::string printed(const Field& field) {
  if (const auto* text = std::get_if<std::string>(&field.value)) {
    return *text;
  }
  const auto* number = std::get_if<std::uint64_t>(&field.value);
  return number != nullptr ? std::to_string(*number) : std::to_string(std::get<std::int64_t>(field.value));
}

// A field set to what it is; not every number that a broken superblock holds is one that can be set.
void set_to_itself(const Metadata& metadata, const Field& field, std::uint64_t member_bytes) {
  const auto same = metadata.with_field(field.name, printed(field));
  EXPECT_TRUE(same || field.name == "max_dev") << field.name;
  if (same && field.name != "sb_csum") {
    EXPECT_EQ((*same)->encode(), metadata.changed({})->encode()) << field.name;
    EXPECT_EQ(find((*same)->verify(member_bytes), "superblock-checksum"), nullptr) << field.name;
  }
}

// Edits of a superblock that may say anything.
void edit_roles(const Metadata& metadata, std::uint64_t member_bytes) {
  SuperblockChange change;
  change.roles = {{2, 1}, {0, role_faulty}, {1, role_spare}, {1919, 3}, {0xffffffff, 0}};
  change.recovery = SuperblockChange::Recovery::by_bitmap;
  const auto changed = metadata.changed(change);
  EXPECT_LE(changed->encode().size(), 4096U);
  EXPECT_EQ(find(changed->verify(member_bytes), "superblock-checksum"), nullptr);
  const auto added = metadata.for_member({member_bytes, Uuid{}, 5, 2});
  if (added) {
    EXPECT_EQ((*added)->describe().dev_number, 5U);
    EXPECT_EQ(find((*added)->verify(member_bytes), "superblock-checksum"), nullptr);
  }
}

// Everything that can be asked of a superblock; the answers are only required to exist. `which` of many times it is.
void ask_everything(const Metadata& metadata, std::uint64_t member_bytes, std::size_t which) {
  const MemberDescription d = metadata.describe();
  EXPECT_LE(d.dev_roles.size(), 1920U);
  EXPECT_EQ(d.slot.has_value(), d.role == Role::active);
  if (d.bitmap_offset_bytes) {
    EXPECT_TRUE(fits(*d.bitmap_offset_bytes, d.bitmap_room_bytes, member_bytes));
  }
  for (const Finding& finding : metadata.verify(member_bytes)) {
    EXPECT_FALSE(finding.id.empty());
    for (char c : finding.text) {
      EXPECT_TRUE(c >= ' ' && c < 127) << finding.id;
    }
  }
  const Fields fields = metadata.fields();
  if (which % 8 == 0) {
    set_to_itself(metadata, fields.at(which / 8 % fields.size()), member_bytes);
    edit_roles(metadata, member_bytes);
  }
  SuperblockChange change;
  change.events = 1;
  change.resync_offset = Sectors(0);
  change.missing_slots = {0, 1, 0xffff};
  change.recovery = SuperblockChange::Recovery::clear;
  const auto changed = metadata.changed(change);
  EXPECT_EQ(changed->encode().size(), metadata.encode().size());
  EXPECT_EQ(find(changed->verify(member_bytes), "superblock-checksum"), nullptr);
}

void expect_identity(const Metadata& metadata, const Source& source) {
  const std::vector<std::byte> encoded = metadata.encode();
  EXPECT_EQ(read_bytes(source, metadata.offset_bytes(), encoded.size()).value(), encoded);
}

class EveryFormat : public ::testing::TestWithParam<const Format*> {};
INSTANTIATE_TEST_SUITE_P(Formats, EveryFormat, ::testing::ValuesIn(all_formats().begin(), all_formats().end()));

TEST_P(EveryFormat, ClaimsItsOwnMembersOnly) {
  for (const Format* other : all_formats()) {
    const Sample sample = sample_of(*other);
    const auto found = GetParam()->probe(sample.member).value();
    EXPECT_EQ(found.size(), GetParam() == other ? 1U : 0U) << other->name();
    EXPECT_TRUE(found.empty() || found[0] == sample.offset_bytes);
  }
}

TEST_P(EveryFormat, ReadsAndEncodesTheSameBytes) {
  const Sample sample = sample_of(*GetParam());
  const auto metadata = GetParam()->read(sample.member, sample.offset_bytes).value();
  EXPECT_EQ(&metadata->format(), GetParam());
  EXPECT_EQ(metadata->offset_bytes(), sample.offset_bytes);
  EXPECT_LE(worst_effect(metadata->verify(sample.member.size_bytes())), Effect::none);
  expect_identity(*metadata, sample.member);
  ask_everything(*metadata, sample.member.size_bytes(), 0);
}

TEST_P(EveryFormat, SetsEveryFieldToWhatItIs) {
  const Sample sample = sample_of(*GetParam());
  const auto metadata = GetParam()->read(sample.member, sample.offset_bytes).value();
  for (const Field& field : metadata->fields()) {
    const auto same = metadata->with_field(field.name, printed(field));
    ASSERT_TRUE(same) << field.name << ": " << same.error().text;
    EXPECT_EQ((*same)->encode(), metadata->encode()) << field.name;
  }
}

TEST_P(EveryFormat, SurvivesEveryFlippedByte) {
  Sample sample = sample_of(*GetParam());
  for (std::uint64_t i = 0; i < 4096; ++i) {
    std::byte& byte = sample.member.at(sample.offset_bytes + i);
    for (std::byte flip : {std::byte{0xff}, std::byte{0x01}, std::byte{0x80}}) {
      byte ^= flip;
      const auto metadata = GetParam()->read(sample.member, sample.offset_bytes);
      EXPECT_EQ(metadata.has_value(), i >= 4) << i;
      if (metadata) {
        ask_everything(**metadata, sample.member.size_bytes(), i);
        expect_identity(**metadata, sample.member);
        const bool summed = i < 512 || GetParam()->name().substr(0, 2) == "0.";
        EXPECT_TRUE(!summed || worst_effect((*metadata)->verify(sample.member.size_bytes())) != Effect::none) << i;
      }
      byte ^= flip;
    }
  }
}

TEST_P(EveryFormat, SurvivesEveryTruncation) {
  Sample sample = sample_of(*GetParam());
  const std::uint64_t whole = sample.member.size_bytes();
  for (std::uint64_t size = sample.offset_bytes; size < sample.offset_bytes + 4200; ++size) {
    sample.member.resize(size);
    EXPECT_TRUE(GetParam()->probe(sample.member).has_value());
    const auto metadata = GetParam()->read(sample.member, sample.offset_bytes);
    if (metadata) {
      ask_everything(**metadata, size, size);
      expect_identity(**metadata, sample.member);
    }
  }
  EXPECT_LT(sample.offset_bytes + 4200, whole);
  for (std::uint64_t size = 0; size < 200 * 512; size += 511) {
    sample.member.resize(size);
    EXPECT_TRUE(GetParam()->probe(sample.member).has_value()) << size;
  }
}

TEST_P(EveryFormat, FailsBeyondTheEnd) {
  const Sample sample = sample_of(*GetParam());
  EXPECT_FALSE(GetParam()->read(sample.member, sample.member.size_bytes()).has_value());
  EXPECT_FALSE(GetParam()->read(sample.member, ~std::uint64_t{0}).has_value());
  EXPECT_FALSE(GetParam()->read(sample.member, 512 * 100).has_value());  // zeroes
}

TEST(AllFormats, HaveDistinctNames) {
  std::vector<std::string_view> names;
  for (const Format* format : all_formats()) {
    names.push_back(format->name());
  }
  EXPECT_EQ(names, (std::vector<std::string_view>{"0.90", "0.90-big-endian", "1.0", "1.1", "1.2"}));
}

}  // namespace
}  // namespace mdtool::testing
