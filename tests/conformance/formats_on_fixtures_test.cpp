// SPDX-License-Identifier: GPL-2.0-or-later
// Every structure on every member that a kernel wrote: found where it is, by its own format only, sound, and identical
// when it is encoded again.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "libmeta/bitmap/classic.h"
#include "libmeta/bitmap/lockless.h"
#include "libmeta/journal/meta_block.h"
#include "libmeta/md1/bad_block_log.h"
#include "libmeta/ppl/header.h"
#include "tests/conformance/looked_at_fixture.h"

namespace mdtool::conformance {
namespace {

std::vector<std::byte> bytes_at(const Source& source, std::uint64_t offset, std::size_t length) {
  auto bytes = read_bytes(source, offset, length);
  EXPECT_TRUE(bytes) << (bytes ? "" : bytes.error().text);
  return bytes ? *bytes : std::vector<std::byte>{};
}

void expect_same(const Source& source, std::uint64_t offset, const std::vector<std::byte>& encoded) {
  ASSERT_FALSE(encoded.empty());
  EXPECT_EQ(bytes_at(source, offset, encoded.size()), encoded);
}

class FormatsOnFixtures : public testing::TestWithParam<std::string> {
 protected:
  LookedAtFixture fixture_{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(All, FormatsOnFixtures, testing::ValuesIn(fuzz::fixture_names()), test_name);

TEST_P(FormatsOnFixtures, EachMemberHasOneSoundSuperblockOfTheNamedVersion) {
  for (const Candidate& candidate : fixture_.candidates()) {
    ASSERT_EQ(candidate.superblocks.size(), 1U) << candidate.path;
    const FoundSuperblock& found = candidate.superblocks.front();
    EXPECT_EQ(GetParam().rfind(found.description.metadata + "-", 0), 0U) << found.description.metadata;
    EXPECT_LE(worst_effect(found.findings), Effect::none) << candidate.path;
    expect_same(*candidate.metadata, found.metadata->offset_bytes(), found.metadata->encode());
    expect_same(*candidate.metadata, found.metadata->offset_bytes(), found.metadata->changed({})->encode());
  }
}

TEST_P(FormatsOnFixtures, BitmapsEncodeTheSameBytes) {
  const Assembly a = fixture_.assembly();
  const bool named =
      GetParam().find("classic") != std::string::npos || GetParam().find("lockless") != std::string::npos;
  if (GetParam().find("infected-header") != std::string::npos) {
    EXPECT_EQ(a.bitmap.trust, Trust::rejected);
    return;
  }
  EXPECT_EQ(named, a.bitmap.kind != bitmap::Kind::none);
  for (const Candidate& candidate : fixture_.candidates()) {
    const MemberDescription& d = candidate.chosen()->description;
    if (!d.bitmap_offset_bytes || d.role == Role::spare) {
      continue;
    }
    bitmap::Expected expected = a.bitmap.expected;
    expected.room_bytes = d.bitmap_room_bytes;
    const auto classic = bitmap::Classic::read(*candidate.metadata, *d.bitmap_offset_bytes, expected);
    const auto lockless = bitmap::Lockless::read(*candidate.metadata, *d.bitmap_offset_bytes, expected);
    ASSERT_NE(classic.has_value(), lockless.has_value()) << candidate.path;
    EXPECT_EQ(classic.has_value(), GetParam().find("classic") != std::string::npos);
    expect_same(*candidate.metadata, *d.bitmap_offset_bytes, classic ? classic->encode() : lockless->encode());
    EXPECT_EQ(classic ? classic->used_bytes() : lockless->used_bytes(),
              classic ? 256 + (classic->chunks() + 7) / 8 : 1024 + lockless->chunks());
  }
}

// What mdadm --examine-badblocks says of each member, by file; null where there is no log.
std::map<std::string, nlohmann::json> listed_by_mdadm(const std::string& fixture) {
  std::ifstream file(fuzz::fixtures_folder() / fixture / "expected.json");
  std::map<std::string, nlohmann::json> lists;
  const nlohmann::json expected = nlohmann::json::parse(file);
  for (const nlohmann::json& member : expected.at("members")) {
    if (member.at("file").is_string()) {
      lists[member.at("file")] = member.value("bad_blocks", nlohmann::json());
    }
  }
  return lists;
}

nlohmann::json as_json(const std::vector<md1::BadRange>& ranges) {
  nlohmann::json list = nlohmann::json::array();
  for (const md1::BadRange& r : ranges) {
    list.push_back({r.first.count(), r.count.count()});
  }
  return list;
}

TEST_P(FormatsOnFixtures, BadBlockLogsEncodeTheSameBytesAndListWhatMdadmLists) {
  const auto lists = listed_by_mdadm(GetParam());
  for (const Candidate& candidate : fixture_.candidates()) {
    const MemberDescription& d = candidate.chosen()->description;
    if (!d.bad_block_log) {
      continue;
    }
    const auto log = md1::BadBlockLog::read(*candidate.metadata, *d.bad_block_log);
    ASSERT_TRUE(log) << log.error().text;
    expect_same(*candidate.metadata, d.bad_block_log->offset_bytes, log->encode());
    const std::vector<md1::BadRange> listed = d.bad_block_log->not_empty ? log->ranges() : std::vector<md1::BadRange>{};
    const auto by_mdadm = lists.find(candidate.path + ".img");
    ASSERT_NE(by_mdadm, lists.end()) << candidate.path;
    EXPECT_EQ(as_json(listed), by_mdadm->second.is_null() ? nlohmann::json::array() : by_mdadm->second);
    if (!listed.empty()) {
      EXPECT_TRUE(log->verify(candidate.metadata->size_bytes()).empty()) << candidate.path;
    }
  }
}

TEST_P(FormatsOnFixtures, PartialParityLogsEncodeTheSameBytes) {
  std::size_t intact = 0;
  for (const Candidate& candidate : fixture_.candidates()) {
    const MemberDescription& d = candidate.chosen()->description;
    if (!d.ppl) {
      continue;
    }
    const auto header = ppl::decode(bytes_at(*candidate.metadata, d.ppl->offset_bytes, ppl::header_bytes));
    ASSERT_TRUE(header);
    expect_same(*candidate.metadata, d.ppl->offset_bytes, ppl::encode(*header));
    intact += ppl::intact(*header, d.set_uuid) ? 1 : 0;
  }
  EXPECT_EQ(intact != 0, GetParam().find("-ppl-") != std::string::npos);
}

TEST_P(FormatsOnFixtures, JournalsEncodeTheSameBytes) {
  std::size_t journals = 0;
  for (const Candidate& candidate : fixture_.candidates()) {
    const MemberDescription& d = candidate.chosen()->description;
    if (!d.journal_tail) {
      continue;
    }
    ++journals;
    const std::uint64_t offset = (d.data_offset + *d.journal_tail).bytes();
    const auto block = journal::MetaBlock::decode(bytes_at(*candidate.metadata, offset, journal::block_bytes));
    ASSERT_TRUE(block) << block.error().text;
    EXPECT_TRUE(block->verify({d.set_uuid, *d.journal_tail, std::nullopt}).empty());
    expect_same(*candidate.metadata, offset, block->encode());
  }
  EXPECT_EQ(journals, GetParam().find("-journal-") != std::string::npos ? 1U : 0U);
}

}  // namespace
}  // namespace mdtool::conformance
