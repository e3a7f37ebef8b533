// SPDX-License-Identifier: GPL-2.0-or-later
// Fields set by name from text, and the superblocks that mdadm's updates make: on superblocks made by hand and on those
// that a kernel wrote.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "libmeta/convert.h"
#include "tests/meta/superblock_builder.h"
#include "tests/raid/fixture.h"

namespace mdtool::testing {
namespace {

using LittleMember = Md0Member<std::endian::little>;
using BigMember = Md0Member<std::endian::big>;

std::variant<std::uint64_t, std::int64_t, std::string> value_of(const Metadata& metadata, const std::string& name) {
  for (const Field& field : metadata.fields()) {
    if (field.name == name) {
      return field.value;
    }
  }
  ADD_FAILURE() << "no field " << name;
  return {};
}

std::string text_of(const Metadata& metadata, const std::string& name) {
  const auto value = value_of(metadata, name);
  if (const auto* text = std::get_if<std::string>(&value)) {
    return *text;
  }
  const auto* number = std::get_if<std::uint64_t>(&value);
  return number != nullptr ? std::to_string(*number) : std::to_string(std::get<std::int64_t>(value));
}

// What the field is after the setting, or the error.
std::string after(const Metadata& metadata, const std::string& name, const std::string& value) {
  const auto edited = metadata.with_field(name, value);
  if (!edited) {
    EXPECT_EQ(edited.error().kind, ErrorKind::usage);
    return edited.error().text;
  }
  EXPECT_EQ(find((*edited)->verify(member_sectors * 512), "superblock-checksum"), nullptr) << name;
  return text_of(**edited, name);
}

std::set<std::string> differing(const Metadata& a, const Metadata& b) {
  std::set<std::string> names;
  const Fields before = a.fields();
  const Fields fields = b.fields();
  for (std::size_t i = 0; i < std::min(before.size(), fields.size()); ++i) {
    if (before[i].name != fields[i].name || before[i].value != fields[i].value) {
      names.insert(fields[i].name);
    }
  }
  return names;
}

std::vector<std::byte> with_words_swapped(std::vector<std::byte> bytes) {
  for (std::size_t i = 0; i < bytes.size(); i += 4) {
    std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(i), bytes.begin() + static_cast<std::ptrdiff_t>(i) + 4);
  }
  return bytes;
}

class ImageSource final : public Source {
 public:
  explicit ImageSource(const test::Image& image) : image_(image) {}
  std::uint64_t size_bytes() const override { return image_.size(); }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override {
    if (!fits(offset_bytes, out.size(), image_.size())) {
      return Error{ErrorKind::out_of_range, "beyond the end"};
    }
    std::copy_n(image_.begin() + static_cast<std::ptrdiff_t>(offset_bytes), out.size(), out.begin());
    return Done{};
  }

 private:
  const test::Image& image_;
};

std::vector<std::unique_ptr<Metadata>> superblocks_of(const Source& source) {
  std::vector<std::unique_ptr<Metadata>> found;
  for (const Format* format : all_formats()) {
    const auto offsets = format->probe(source).value();
    for (std::uint64_t offset : offsets) {
      auto metadata = format->read(source, offset);
      EXPECT_TRUE(metadata);
      found.push_back(std::move(*metadata));
    }
  }
  return found;
}

TEST(Fixtures, EveryFieldOfEveryKernelsSuperblockIsWhatItPrints) {
  std::size_t superblocks = 0;
  for (const auto& folder : std::filesystem::directory_iterator(MDTOOL_FIXTURES)) {
    const std::filesystem::path member = folder.path() / "m1.img.zst";
    if (!std::filesystem::exists(member)) {
      continue;
    }
    const test::Image image = test::decompressed(member);
    const ImageSource source(image);
    for (const auto& metadata : superblocks_of(source)) {
      ++superblocks;
      const std::vector<std::byte> bytes = metadata->changed({})->encode();
      for (const Field& field : metadata->fields()) {
        const auto same = metadata->with_field(field.name, text_of(*metadata, field.name));
        ASSERT_TRUE(same) << member << field.name << same.error().text;
        ASSERT_EQ((*same)->encode(), field.name == "sb_csum" ? metadata->encode() : bytes) << member << field.name;
      }
    }
  }
  EXPECT_GE(superblocks, 50U);
}

TEST(WithField, ChangesThatFieldAndTheChecksumOnly) {
  const auto metadata = Md1Member(2).read();
  for (const std::string name : {"pad0", "ctime.microseconds", "layout", "new_offset", "cnt_corrected_read",
                                 "bblog_size", "logical_block_size", "dev_roles[3]"}) {
    std::set<std::string> expected{"sb_csum", name};
    const auto edited = metadata->with_field(name, "1").value();
    EXPECT_EQ(differing(*metadata, *edited), expected);
    EXPECT_EQ(text_of(*edited, name), "1");
  }
}

TEST(WithField, TakesNumbersAsPeopleWriteThem) {
  const auto metadata = Md1Member(2).read();
  EXPECT_EQ(after(*metadata, "events", "18446744073709551615"), "18446744073709551615");
  EXPECT_EQ(after(*metadata, "events", "0x10"), "16");
  EXPECT_EQ(after(*metadata, "level", "-1"), "-1");
  EXPECT_EQ(after(*metadata, "bitmap_offset", "-2147483648"), "-2147483648");
  EXPECT_EQ(after(*metadata, "feature_map", "0x1fff"), "8191");
  for (const std::string word : {"clean", "max", "all-ones"}) {
    EXPECT_EQ(after(*Md1Member(2).read(), "recovery_offset", word), "18446744073709551615");
    EXPECT_EQ(after(*LittleMember().read(), "recovery_cp", word), "4294967295");
  }
  EXPECT_EQ(after(*metadata, "dev_roles[127]", "0xfffe"), "65534");
}

TEST(WithField, NamesTheRangeOfWhatItRefuses) {
  const auto metadata = Md1Member(2).read();
  EXPECT_EQ(after(*metadata, "bblog_shift", "256"), "the field takes a number from 0 to 255, decimal or 0x...");
  EXPECT_EQ(after(*metadata, "new_level", "2147483648"),
            "the field takes a number from -2147483648 to 2147483647, decimal or 0x...");
  EXPECT_EQ(after(*metadata, "resync_offset", "18446744073709551616"),
            "the field takes a number from 0 to 18446744073709551615, decimal or 0x..., or clean");
  for (const std::string wrong : {"", "-1", "+1", " 1", "1 ", "0x", "0x-1", "1x", "clean", "0x10000000000000000"}) {
    EXPECT_EQ(after(*metadata, "events", wrong),
              "the field takes a number from 0 to 18446744073709551615, decimal or 0x...")
        << wrong;
  }
}

TEST(WithField, TakesTimes) {
  const auto metadata = Md1Member(2).read();
  EXPECT_EQ(after(*metadata, "ctime", "2024-02-29T23:59:59Z"), "1709251199");
  EXPECT_EQ(after(*metadata, "utime", "1"), "1");
  EXPECT_EQ(text_of(**metadata->with_field("ctime", "5"), "ctime.microseconds"), "77");
  EXPECT_EQ(text_of(**metadata->with_field("ctime.microseconds", "5"), "ctime"), "1700000000");
  EXPECT_EQ(after(*LittleMember().read(), "utime", "1970-01-01T00:01:00Z"), "60");
  for (const std::string wrong : {"2023-02-29T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01 00:00:00Z",
                                  "1969-12-31T23:59:59Z", "1099511627776"}) {
    EXPECT_EQ(after(*metadata, "ctime", wrong),
              "the field takes a number from 0 to 1099511627775, decimal or 0x..., or a time as 2026-01-31T23:59:59Z");
  }
  // 32 bits of seconds end in 2106.
  EXPECT_NE(after(*LittleMember().read(), "ctime", "2106-02-07T06:28:16Z").find("to 4294967295"), std::string::npos);
}

TEST(WithField, TakesIdentitiesAndNames) {
  const auto metadata = Md1Member(1).read();
  const std::string uuid = "01234567:89abcdef:01234567:89abcdef";
  EXPECT_EQ(after(*metadata, "set_uuid", uuid), uuid);
  EXPECT_EQ(after(*metadata, "device_uuid", "01234567-89ab-cdef-0123-456789ABCDEF"), uuid);
  EXPECT_NE(after(*metadata, "set_uuid", "0123").find("a UUID"), std::string::npos);
  const std::string longest(32, 'n');
  EXPECT_EQ(after(*metadata, "set_name", longest), longest);
  EXPECT_EQ(after(*metadata, "set_name", ""), "");
  EXPECT_EQ(after(*metadata, "set_name", longest + "n"), "the field takes up to 32 bytes of text, not 33");
  EXPECT_EQ(after(**metadata->with_field("set_name", longest), "set_name", "a"), "a");
}

TEST(WithField, SetsAllWordsOfA090Uuid) {
  for (const auto& metadata : {LittleMember().read(), BigMember().read()}) {
    const auto edited = metadata->with_field("set_uuid", "01234567:89abcdef:76543210:fedcba98").value();
    EXPECT_EQ(edited->describe().set_uuid.text(), "01234567:89abcdef:76543210:fedcba98");
    EXPECT_EQ(text_of(*edited, "set_uuid1"), std::to_string(0x89abcdef));
    EXPECT_FALSE(metadata->with_field("set_uuid", "1"));
  }
}

TEST(WithField, TakesReservedBytesAsDigits) {
  const auto metadata = Md1Member(2).read();
  const std::string digits = "5a" + std::string(54, '0');
  EXPECT_EQ(after(*metadata, "pad3", digits), digits);
  EXPECT_EQ(after(**metadata->with_field("pad3", digits), "pad3", "0"), std::string(56, '0'));
  EXPECT_NE(after(*metadata, "pad3", "5a").find("56 hexadecimal digits"), std::string::npos);
  EXPECT_NE(after(*metadata, "pad3", std::string(56, 'g')).find("56 hexadecimal digits"), std::string::npos);
  EXPECT_EQ(after(*BigMember().read(), "gstate_creserved", "01" + std::string(126, '0')), "01" + std::string(126, '0'));
}

TEST(WithField, FollowsTheFeatures) {
  Md1Member made(2);
  made.sb.feature_map = md1::feature_ppl;
  const auto ppl = made.read();
  EXPECT_EQ(after(*ppl, "ppl.offset", "-8"), "-8");
  EXPECT_EQ(text_of(**ppl->with_field("ppl.offset", "-8"), "ppl.size"), "0");
  EXPECT_EQ(after(*ppl, "ppl.size", "65535"), "65535");
  EXPECT_NE(after(*ppl, "bitmap_offset", "8").find("no field \"bitmap_offset\""), std::string::npos);
  made.sb.feature_map = md1::feature_journal;
  made.roles[1] = role_journal;
  EXPECT_EQ(after(*made.read(), "journal_tail", "800"), "800");
}

TEST(WithField, OffersNamesThatAreNear) {
  const auto metadata = Md1Member(2).read();
  EXPECT_EQ(after(*metadata, "resync_ofset", "0"),
            "the superblock has no field \"resync_ofset\"; near it: resync_offset");
  EXPECT_EQ(after(*metadata, "event", "0"), "the superblock has no field \"event\"; near it: events");
  EXPECT_EQ(after(*metadata, "dev_roles[128]", "0"),
            "the superblock has no field \"dev_roles[128]\"; near it: dev_roles[12], dev_roles[18], dev_roles[28], "
            "dev_roles[108], dev_roles[118]");
  EXPECT_EQ(after(*metadata, "frobnication", "0"), "the superblock has no field \"frobnication\"");
  EXPECT_EQ(after(*LittleMember().read(), "disks[27].state", "0").find("the superblock has no field"), 0U);
}

TEST(WithField, SetsAChecksumAsTold) {
  const auto metadata = Md1Member(2).read();
  const auto wrong = metadata->with_field("sb_csum", "1").value();
  EXPECT_NE(find(wrong->verify(member_sectors * 512), "superblock-checksum"), nullptr);
  EXPECT_EQ(wrong->with_field("sb_csum", "right").value()->encode(), metadata->encode());
  EXPECT_EQ(wrong->with_field("events", "42").value()->encode(), metadata->encode());
  const auto old = BigMember().read();
  EXPECT_EQ(old->with_field("sb_csum", "1").value()->with_field("sb_csum", "right").value()->encode(), old->encode());
}

TEST(WithField, RaisesMaxDevWithSparesOnly) {
  const auto metadata = Md1Member(2).read();
  const auto raised = metadata->with_field("max_dev", "1920").value();
  EXPECT_EQ(raised->encode().size(), 4096U);
  EXPECT_EQ(raised->describe().dev_roles[1919], role_spare);  // 0x5a5a lay there
  EXPECT_EQ(raised->describe().dev_roles[3], 3);
  EXPECT_EQ(after(*metadata, "max_dev", "1921"), "max_dev is at most 1920 here");
  SparseMember cut = Md1Member(2).member();
  cut.resize(4096 + 512);
  const auto truncated = md1::version_1_2().read(cut, 4096).value();
  EXPECT_EQ(truncated->with_field("max_dev", "129").error().text, "max_dev is at most 128 here");
}

TEST(WithField, KnowsTheDescriptorsOf090) {
  const auto metadata = BigMember().read();
  EXPECT_EQ(after(*metadata, "disks[1].state", "0x9"), "9");
  EXPECT_EQ(after(*metadata, "this_disk.raid_disk", "26"), "26");
  EXPECT_EQ(after(*metadata, "events", "0x700000009"), std::to_string((std::uint64_t{7} << 32) | 9));
  EXPECT_EQ(after(*metadata, "reshape_position", "0x100000002"), "4294967298");
}

// Every field of the new superblock was compared with mdadm 4.6 in the lab.
TEST(ToVersion10, WritesWhatMdadmWrites) {
  LittleMember made;
  made.sb.state = md0::sb_clean;
  made.sb.md_minor = 9;
  made.sb.disks[2].state = md0::disk_removed | md0::disk_faulty;
  made.sb.disks[4] = made.sb.disks[3];
  made.sb.disks[4].number = 4;
  made.sb.disks[4].state = md0::disk_faulty;
  const std::uint64_t bytes = member_sectors * 512;
  const Uuid device{{1, 2, 3}};
  const auto converted = to_version_1_0(*made.read(), bytes, device).value();
  Md1Member expected(0);
  expected.sb.feature_map = 0;
  expected.sb.set_uuid = {1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24, 0x31, 0x32, 0x33, 0x34};
  expected.sb.device_uuid = device.bytes;
  expected.sb.set_name = {'9'};
  expected.sb.ctime = 1700000001;  // one second later
  expected.sb.utime = 1700000001;
  expected.sb.raid_disks = 3;
  expected.sb.bitmap_offset = 0;
  expected.sb.data_size = expected.sb.size;
  expected.sb.bblog_size = 0;
  expected.sb.bblog_offset = 0;
  expected.sb.events = 0;
  expected.sb.max_dev = 27;
  expected.roles.assign(27, role_spare);
  expected.roles[0] = 0;
  expected.roles[1] = 1;
  const auto wanted = expected.read();
  EXPECT_EQ(differing(*wanted, *converted), std::set<std::string>{});
  EXPECT_EQ(converted->offset_bytes(), expected.super_offset().bytes());
  EXPECT_EQ(ids(converted->verify(bytes)), "");
}

TEST(ToVersion10, TakesTheWholeMemberWithoutASize) {
  LittleMember made;
  made.sb.state = md0::sb_clean;
  made.sb.level = 0;
  made.sb.size = 0;
  const auto converted = to_version_1_0(*made.read(), member_sectors * 512, Uuid{}).value();
  EXPECT_EQ(converted->describe().data_size, Sectors(LittleMember::super_sector));
}

TEST(ToVersion10, RefusesWhatMdadmRefuses) {
  LittleMember made;
  const auto reason = [&] { return to_version_1_0(*made.read(), member_sectors * 512, Uuid{}).error().text; };
  EXPECT_EQ(reason(), "the array has a bitmap: remove it first");
  made.sb.state = 0;
  EXPECT_EQ(reason(), "the array is not clean");
  made.sb.state = md0::sb_clean;
  made.sb.minor_version = md0::minor_version_reshape;
  EXPECT_EQ(reason(), "the array is being reshaped");
  EXPECT_EQ(to_version_1_0(*Md1Member(0).read(), member_sectors * 512, Uuid{}).error().kind, ErrorKind::usage);
}

TEST(ByteOrder, OneMachinesSuperblockIsTheOthers) {
  LittleMember little;
  little.sb.reshape_position = 0x0102030405060708;
  BigMember big;
  big.sb.reshape_position = 0x0102030405060708;
  const auto swapped = in_other_byte_order(*little.read(), member_sectors * 512).value();
  EXPECT_EQ(swapped->encode(), big.read()->encode());
  EXPECT_EQ(&swapped->format(), &md0::big_endian());
  EXPECT_EQ(swapped->offset_bytes(), LittleMember::super_sector * 512);
  EXPECT_EQ(in_other_byte_order(*swapped, member_sectors * 512).value()->encode(), little.read()->encode());
  EXPECT_FALSE(in_other_byte_order(*Md1Member(0).read(), member_sectors * 512));
}

TEST(ByteOrder, SwapsEveryReservedWord) {
  LittleMember little;
  little.sb.pstate_creserved[59] = 0x01020304;
  little.sb.disks[26].reserved[26] = 0x05060708;
  little.sb.events = 0;  // whose words would change places
  little.sb.cp_events = 0;
  const auto swapped = in_other_byte_order(*little.read(), member_sectors * 512).value();
  EXPECT_EQ(swapped->encode(), with_words_swapped(little.read()->encode()));
}

std::int64_t log_offset(const Result<std::unique_ptr<Metadata>>& edited) {
  return edited ? std::get<std::int64_t>(value_of(**edited, "bblog_offset")) : 0;
}

// Offsets as mdadm 4.6 chose them in the lab.
TEST(BadBlockLogPlaced, WhereMdadmPlacesIt) {
  for (const auto& [minor, offset] : {std::pair{0U, -8}, std::pair{1U, 72}, std::pair{2U, 80}}) {
    const auto without = without_bad_block_log(*Md1Member(minor).read(), ListedBlocks::refuse).value();
    EXPECT_FALSE(without->describe().bad_block_log);
    const auto placed = with_bad_block_log(*without, 8);
    EXPECT_EQ(log_offset(placed), offset);
    EXPECT_EQ((*placed)->describe().bad_block_log->sectors, 8U);
    EXPECT_EQ(ids((*placed)->verify(member_sectors * 512)), "");
  }
}

TEST(BadBlockLogPlaced, BehindALongBitmapOrPpl) {
  Md1Member made(2);
  made.sb.bblog_size = 0;
  EXPECT_EQ(log_offset(with_bad_block_log(*made.read(), 128)), 136);
  EXPECT_EQ(log_offset(with_bad_block_log(*made.read(), 121)), 136);
  made.sb.feature_map = md1::feature_multiple_ppls;
  made.sb.bitmap_offset = std::bit_cast<sle32>(md1::PplPlace{8, 1024});
  EXPECT_EQ(log_offset(with_bad_block_log(*made.read(), 0)), 1032);
}

TEST(BadBlockLogPlaced, NeverInTheData) {
  Md1Member made(2);
  made.sb.bblog_size = 0;
  made.sb.data_offset = 64;
  EXPECT_EQ(log_offset(with_bad_block_log(*made.read(), 8)), 48);  // sectors 56 to 63
  made.sb.data_offset = 31;
  EXPECT_EQ(with_bad_block_log(*made.read(), 8).error().kind, ErrorKind::refused);
  made.sb.data_offset = ~std::uint64_t{0};
  EXPECT_EQ(log_offset(with_bad_block_log(*made.read(), 8)), 80);
  EXPECT_FALSE(with_bad_block_log(*made.read(), ~std::uint64_t{0}));
  Md1Member at_end(0);
  at_end.sb.bblog_size = 0;
  EXPECT_EQ(log_offset(with_bad_block_log(*at_end.read(), 16)), -8);
  EXPECT_FALSE(with_bad_block_log(*at_end.read(), 24));
  at_end.sb.feature_map = 0;
  at_end.sb.data_size = at_end.super_offset().count() - 7;
  EXPECT_FALSE(with_bad_block_log(*at_end.read(), 0));
}

TEST(BadBlockLogPlaced, StaysWhereItIs) {
  const auto metadata = Md1Member(2).read();
  EXPECT_EQ(with_bad_block_log(*metadata, 8).value()->encode(), metadata->encode());
  EXPECT_EQ(with_bad_block_log(*LittleMember().read(), 8).error().kind, ErrorKind::usage);
}

TEST(BadBlockLogRemoved, OnlyWhenEmptyOrForced) {
  Md1Member made(2);
  made.sb.feature_map = md1::feature_bad_blocks | md1::feature_bitmap_offset;
  EXPECT_EQ(without_bad_block_log(*made.read(), ListedBlocks::refuse).error().kind, ErrorKind::refused);
  const auto without = without_bad_block_log(*made.read(), ListedBlocks::forget).value();
  EXPECT_EQ(differing(*made.read(), *without),
            (std::set<std::string>{"feature_map", "bblog_size", "bblog_offset", "sb_csum"}));
  EXPECT_EQ(text_of(*without, "feature_map"), "1");
}

TEST(WholeMember, ReachesToItsEnd) {
  Md1Member made(2);
  made.sb.data_size = 16384;
  const auto whole = with_whole_member(*made.read(), 30000 * 512 + 511).value();
  EXPECT_EQ(whole->describe().data_size, Sectors(30000 - 2048));
  EXPECT_EQ(with_whole_member(*made.read(), (2048 + 16383) * 512).error().kind, ErrorKind::refused);
  EXPECT_EQ(with_whole_member(*made.read(), 0).error().kind, ErrorKind::refused);
  EXPECT_EQ(with_whole_member(*Md1Member(0).read(), 30000 * 512).value()->encode(), Md1Member(0).read()->encode());
}

TEST(WithoutPpl, EndsBothFeatures) {
  Md1Member made(2);
  made.sb.feature_map = md1::feature_multiple_ppls;
  made.sb.bitmap_offset = std::bit_cast<sle32>(md1::PplPlace{8, 1024});
  const auto without = without_ppl(*made.read()).value();
  EXPECT_EQ(text_of(*without, "feature_map"), "0");
  EXPECT_FALSE(without->describe().ppl);
}

}  // namespace
}  // namespace mdtool::testing
