// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include "libmeta/ppl/header.h"
#include "tests/meta/superblock_builder.h"

namespace mdtool::testing {
namespace {

const Uuid uuid = *Uuid::parse("00112233:44556677:8899aabb:ccddeeff");
const ppl::Expected expected{uuid, 2, 64 * 1024};

ppl::Header sealed(ppl::Header header) {
  header.checksum = ppl::expected_checksum(header);
  return header;
}

ppl::Header sample() {
  ppl::Header header{};
  header.reserved.fill(0xff);
  header.signature = ppl::expected_signature(uuid);
  header.generation = 7;
  header.entries_count = 2;
  header.entries[0] = {384, 4096, 8192, 2, 0x1234};
  header.entries[1] = {768, 0, 12288, 2, 0};
  return sealed(header);
}

TEST(PplHeader, SignatureIsStandardCrcOfTheUuid) {
  EXPECT_EQ(ppl::expected_signature(uuid), crc32c_standard(std::as_bytes(std::span(uuid.bytes))));
  Uuid digits;
  digits.bytes.fill(0);
  // 16 zero bytes.
  EXPECT_EQ(ppl::expected_signature(digits), ~crc32c(0xffffffff, std::vector<std::byte>(16)));
}

TEST(PplHeader, ChecksumCoversAllButItself) {
  ppl::Header header = sample();
  const std::uint32_t sum = header.checksum;
  header.checksum = 99;
  EXPECT_EQ(ppl::expected_checksum(header), sum);
  header.reserved[0] = 0;
  EXPECT_NE(ppl::expected_checksum(header), sum);
}

TEST(PplHeader, ASoundOneHasNoFindings) {
  EXPECT_EQ(ids(ppl::verify(sample(), expected)), "");
  EXPECT_TRUE(ppl::intact(sample(), uuid));
  EXPECT_TRUE(ppl::holds_content(sample()));
  EXPECT_EQ(ppl::entries(sample()).size(), 2U);
}

TEST(PplHeader, AnEmptyOneHoldsNothing) {
  ppl::Header header = sample();
  header.entries_count = 0;
  EXPECT_FALSE(ppl::holds_content(header));
  EXPECT_TRUE(ppl::entries(header).empty());
}

TEST(PplHeader, ForeignOrDamagedOnesAreNotIntact) {
  EXPECT_FALSE(ppl::intact(sample(), Uuid{}));
  EXPECT_EQ(ids(ppl::verify(sample(), {Uuid{}, 2, 65536})), "ppl-signature ");
  ppl::Header header = sample();
  header.generation = 8;
  EXPECT_FALSE(ppl::intact(header, uuid));
  EXPECT_EQ(ids(ppl::verify(header, expected)), "ppl-checksum ");
}

TEST(PplHeader, CountsAreBounded) {
  ppl::Header header = sample();
  header.entries_count = 149;
  EXPECT_EQ(ppl::entries(header).size(), 148U);
  EXPECT_EQ(find(ppl::verify(sealed(header), expected), "ppl-entries-count")->effect, Effect::stops_writing);
  header.entries_count = 0xffffffff;
  EXPECT_EQ(ppl::entries(header).size(), 148U);
}

TEST(PplHeader, PartialParityMustFitTheArea) {
  EXPECT_EQ(ids(ppl::verify(sample(), {uuid, 2, 8192})), "");
  EXPECT_EQ(ids(ppl::verify(sample(), {uuid, 2, 8191})), "ppl-room ");
  ppl::Header header = sample();
  header.entries[0].pp_size = 4095;
  EXPECT_NE(find(ppl::verify(sealed(header), expected), "ppl-partial-parity-size"), nullptr);
}

TEST(PplHeader, EntriesAreAboutTheirOwnMember) {
  EXPECT_NE(find(ppl::verify(sample(), {uuid, 1, 65536}), "ppl-parity-disk"), nullptr);
}

TEST(PplHeader, PaddingIsNoticed) {
  ppl::Header header = sample();
  header.padding = 1;
  EXPECT_EQ(ids(ppl::verify(sealed(header), expected)), "ppl-padding ");
}

TEST(PplHeader, EncodesWhatItRead) {
  std::vector<std::byte> bytes = ppl::encode(sample());
  EXPECT_EQ(bytes.size(), 4096U);
  bytes[4095] = std::byte{0x77};  // behind the entries
  EXPECT_EQ(ppl::encode(ppl::decode(bytes).value()), bytes);
  bytes.pop_back();
  EXPECT_FALSE(ppl::decode(bytes).has_value());
}

TEST(PplHeader, EveryFlippedByteIsAFinding) {
  const std::vector<std::byte> good = ppl::encode(sample());
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::vector<std::byte> bytes = good;
    bytes[i] ^= std::byte{0xff};
    const ppl::Header header = ppl::decode(bytes).value();
    EXPECT_FALSE(ppl::verify(header, expected).empty()) << i;
    EXPECT_FALSE(ppl::intact(header, uuid)) << i;
    EXPECT_LE(ppl::fields(header).size(), 6U + 5 * 148);
  }
}

TEST(PplHeader, FieldsListTheUsedEntries) {
  const Fields fields = ppl::fields(sample());
  EXPECT_EQ(fields.size(), 6U + 2 * 5);
  EXPECT_EQ(fields.back().name, "entries[1].checksum");
}

}  // namespace
}  // namespace mdtool::testing
