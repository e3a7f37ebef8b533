// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include "libmeta/journal/meta_block.h"
#include "tests/meta/superblock_builder.h"

namespace mdtool::testing {
namespace {

using journal::MetaBlock;
using journal::PayloadType;

const Uuid uuid = *Uuid::parse("00112233:44556677:8899aabb:ccddeeff");
const journal::Expected expected{uuid, Sectors(640), 12};

class Builder {
 public:
  template <typename T>
  Builder& add(T value) {
    const OnDisk<T, std::endian::little> stored = value;
    std::memcpy(bytes_.data() + used_, &stored, sizeof(stored));
    used_ += sizeof(stored);
    return *this;
  }
  Builder& payload(std::uint16_t type, std::uint32_t size) { return add(type).add(std::uint16_t{1}).add(size); }

  std::vector<std::byte> block() {
    journal::BlockHeader header{};
    header.magic = journal::magic_number;
    header.version = 1;
    header.meta_size = meta_size.value_or(static_cast<std::uint32_t>(used_));
    header.seq = 12;
    header.position = 640;
    std::memcpy(bytes_.data(), &header, sizeof(header));
    header.checksum = crc32c(journal::checksum_seed(uuid), bytes_);
    std::memcpy(bytes_.data(), &header, sizeof(header));
    return bytes_;
  }
  MetaBlock decoded() { return MetaBlock::decode(block()).value(); }

  std::optional<std::uint32_t> meta_size;

 private:
  std::vector<std::byte> bytes_ = std::vector<std::byte>(4096);
  std::size_t used_ = sizeof(journal::BlockHeader);
};

Builder sample() {
  Builder builder;
  builder.payload(0, 8).add(std::uint64_t{1024}).add(std::uint32_t{0xd1});
  builder.payload(1, 16).add(std::uint64_t{256}).add(std::uint32_t{0xa1}).add(std::uint32_t{0xa2});
  builder.payload(2, 16).add(std::uint64_t{512}).add(std::uint64_t{520});
  return builder;
}

TEST(JournalMetaBlock, ReadsAllThreeKindsOfPayload) {
  const MetaBlock block = sample().decoded();
  EXPECT_EQ(ids(block.verify(expected)), "");
  ASSERT_EQ(block.payloads().size(), 3U);
  EXPECT_EQ(block.payloads()[0].type, PayloadType::data);
  EXPECT_EQ(block.payloads()[0].location, Sectors(1024));
  EXPECT_EQ(block.payloads()[1].checksums, (std::vector<std::uint32_t>{0xa1, 0xa2}));
  EXPECT_EQ(block.payloads()[2].flush_stripes, (std::vector<Sectors>{Sectors(512), Sectors(520)}));
  EXPECT_EQ(block.length(), Sectors(8 + 3 * 8));
  EXPECT_TRUE(block.holds_content());
}

TEST(JournalMetaBlock, AnEmptyOneHoldsNothing) {
  const MetaBlock block = Builder().decoded();
  EXPECT_EQ(ids(block.verify(expected)), "");
  EXPECT_FALSE(block.holds_content());
  EXPECT_EQ(block.length(), Sectors(8));
}

TEST(JournalMetaBlock, ChecksumIsNotInverted) {
  const std::vector<std::byte> bytes = Builder().block();
  std::vector<std::byte> zeroed = bytes;
  std::fill(zeroed.begin() + 4, zeroed.begin() + 8, std::byte{0});
  const std::uint32_t seed = crc32c(0xffffffff, std::as_bytes(std::span(uuid.bytes)));
  EXPECT_EQ(MetaBlock::decode(bytes)->header().checksum, crc32c(seed, zeroed));
}

TEST(JournalMetaBlock, ItsPlaceIsJudged) {
  const MetaBlock block = sample().decoded();
  EXPECT_EQ(ids(block.verify({uuid, Sectors(648), 12})), "journal-position ");
  EXPECT_EQ(ids(block.verify({uuid, Sectors(640), 13})), "journal-sequence ");
  EXPECT_EQ(ids(block.verify({uuid, Sectors(640), std::nullopt})), "");
  EXPECT_EQ(ids(block.verify({Uuid{}, Sectors(640), 12})), "journal-checksum ");
}

TEST(JournalMetaBlock, OtherMagicIsNoMetaBlock) {
  std::vector<std::byte> bytes = sample().block();
  bytes[0] ^= std::byte{1};
  EXPECT_FALSE(MetaBlock::decode(bytes).has_value());
  bytes = sample().block();
  bytes.pop_back();
  EXPECT_FALSE(MetaBlock::decode(bytes).has_value());
}

void expect_damage(Builder& builder, std::size_t payloads_before) {
  const MetaBlock block = builder.decoded();
  EXPECT_EQ(ids(block.verify(expected)), "journal-payload ");
  EXPECT_EQ(block.payloads().size(), payloads_before);
  EXPECT_TRUE(block.holds_content());
}

TEST(JournalMetaBlock, SizesOfBlocksAreBounded) {
  for (std::uint32_t size : {0U, 7U, 16U, 0xfffffff8U}) {
    Builder builder = sample();
    builder.payload(0, size).add(std::uint64_t{0}).add(std::uint32_t{0}).add(std::uint32_t{0});
    expect_damage(builder, 3);
  }
  Builder parity = sample();
  parity.payload(1, 24).add(std::uint64_t{0}).add(std::uint64_t{0}).add(std::uint32_t{0});
  expect_damage(parity, 3);
}

TEST(JournalMetaBlock, SizesOfFlushesAreBounded) {
  for (std::uint32_t size : {4U, 16U, 0xfffffff8U}) {
    Builder builder = sample();
    builder.payload(2, size).add(std::uint64_t{0});
    expect_damage(builder, 3);
  }
}

TEST(JournalMetaBlock, UnknownTypesEndTheList) {
  Builder builder = sample();
  builder.payload(3, 8).add(std::uint64_t{0}).add(std::uint32_t{0});
  expect_damage(builder, 3);
}

TEST(JournalMetaBlock, MetaSizeIsBounded) {
  for (std::uint32_t size : {0U, 31U, 4097U, 0xffffffffU}) {
    Builder builder = sample();
    builder.meta_size = size;
    expect_damage(builder, 0);
  }
  Builder cut = sample();
  cut.meta_size = 32 + 20 + 24 + 23;  // the last stripe lacks a byte
  expect_damage(cut, 2);
}

TEST(JournalMetaBlock, AFullBlockIsReadToItsEnd) {
  Builder builder;
  for (int i = 0; i < 203; ++i) {
    builder.payload(0, 8).add(std::uint64_t{8}).add(std::uint32_t{1});
  }
  EXPECT_EQ(builder.decoded().payloads().size(), 203U);
  EXPECT_EQ(builder.decoded().length(), Sectors(8 * 204));
}

TEST(JournalMetaBlock, EveryFlippedByteIsAFindingAndNothingIsLost) {
  const std::vector<std::byte> good = sample().block();
  for (std::size_t i = 4; i < good.size(); ++i) {
    std::vector<std::byte> bytes = good;
    bytes[i] ^= std::byte{0xff};
    const MetaBlock block = MetaBlock::decode(bytes).value();
    EXPECT_FALSE(block.verify(expected).empty()) << i;
    EXPECT_EQ(block.encode(), bytes);
    EXPECT_GE(block.fields().size(), 8U);
  }
}

TEST(JournalMetaBlock, FieldsListPayloads) {
  const Fields fields = sample().decoded().fields();
  EXPECT_EQ(fields[0].name, "magic");
  EXPECT_EQ(fields.back().name, "payloads[2].flush_stripes[1]");
  EXPECT_EQ(std::get<std::uint64_t>(fields.back().value), 520U);
}

}  // namespace
}  // namespace mdtool::testing
