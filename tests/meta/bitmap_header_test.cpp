// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <limits>
#include <optional>

#include "libmeta/bitmap/header.h"
#include "tests/meta/bitmap_member.h"

namespace mdtool::bitmap {
namespace {

using namespace mdtool::testing;

Header header_of(const BitmapMember& member) {
  auto header = read_header(member.source(), bitmap_at);
  EXPECT_TRUE(header.has_value());
  return header ? *header : Header{};
}

Findings classic_findings(const BitmapMember& member) {
  return verify_header(header_of(member), expected_bitmap(classic_sync_size));
}

Findings lockless_findings(const BitmapMember& member) {
  return verify_header(header_of(member), expected_bitmap(lockless_sync_size));
}

TEST(BitmapHeader, FieldsLieAtTheDocumentedOffsets) {
  BitmapMember member;
  for (std::size_t i = 0; i < header_bytes; ++i) {
    member.at(i) = static_cast<std::byte>(i);
  }
  member.put32(at_magic, magic_number);
  const Header header = header_of(member);
  EXPECT_EQ(header.version.value(), 0x07060504U);
  EXPECT_EQ(header.uuid[0], 8);
  EXPECT_EQ(header.uuid[15], 23);
  EXPECT_EQ(header.events.value(), 0x1f1e1d1c1b1a1918U);
  EXPECT_EQ(header.events_cleared.value(), 0x2726252423222120U);
  EXPECT_EQ(header.sync_size.value(), 0x2f2e2d2c2b2a2928U);
  EXPECT_EQ(header.state.value(), 0x33323130U);
  EXPECT_EQ(header.chunksize.value(), 0x37363534U);
  EXPECT_EQ(header.daemon_sleep.value(), 0x3b3a3938U);
  EXPECT_EQ(header.write_behind.value(), 0x3f3e3d3cU);
  EXPECT_EQ(header.sectors_reserved.value(), 0x43424140U);
  EXPECT_EQ(header.nodes.value(), 0x47464544U);
  EXPECT_EQ(header.cluster_name[0], 72);
  EXPECT_EQ(header.pad[0], 136);
}

TEST(BitmapHeader, OnDiskVersionDecidesTheFormat) {
  const std::vector<std::pair<std::uint32_t, Kind>> table{
      {0, Kind::none},    {1, Kind::none},     {2, Kind::none}, {3, Kind::classic},       {4, Kind::classic},
      {5, Kind::classic}, {6, Kind::lockless}, {7, Kind::none}, {0x02020206, Kind::none}, {0xffffffff, Kind::none},
  };
  for (const auto& [version, kind] : table) {
    Header header{};
    header.version = version;
    EXPECT_EQ(kind_of(header), kind) << version;
  }
}

TEST(BitmapHeader, ReadNeedsTheMagicAndTheWholeHeader) {
  BitmapMember member = classic_member();
  const auto beyond = read_header(member.source(), member.bytes.size() - header_bytes + 1);
  ASSERT_FALSE(beyond.has_value());
  EXPECT_EQ(beyond.error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(unreadable_header(beyond.error()).effect, Effect::stops_writing);
  EXPECT_FALSE(read_header(member.source(), std::numeric_limits<std::uint64_t>::max() - 8).has_value());

  member.at(at_magic) = std::byte{0};
  const auto no_magic = read_header(member.source(), bitmap_at);
  ASSERT_FALSE(no_magic.has_value());
  EXPECT_EQ(no_magic.error().kind, ErrorKind::format);
  const Finding finding = unreadable_header(no_magic.error());
  EXPECT_EQ(finding.id, "bitmap-magic");
  EXPECT_EQ(finding.effect, Effect::refuses_array);
  EXPECT_NE(finding.text.find("--update=no-bitmap"), std::string::npos);
  // A copy that does not answer stops nothing: the kernel reads the next member's.
  EXPECT_EQ(unreadable_header(Error{ErrorKind::io, "EIO"}).effect, Effect::none);
}

TEST(BitmapHeader, GoodHeadersHaveNoFindings) {
  EXPECT_EQ(ids(classic_findings(classic_member())), "");
  EXPECT_EQ(ids(lockless_findings(lockless_member())), "");
}

struct Damage {
  std::size_t field;
  std::uint64_t value;
  std::size_t width;
  std::string id;  // of the only finding; empty: none
  Effect effect;
  Severity severity = Severity::problem;
};

void expect_only(const Damage& damage, const Findings& findings) {
  const std::string what = "field at " + std::to_string(damage.field) + " = " + std::to_string(damage.value);
  EXPECT_EQ(ids(findings), damage.id.empty() ? "" : damage.id + " ") << what;
  const Finding* finding = find(findings, damage.id);
  if (finding == nullptr) {
    return;
  }
  EXPECT_EQ(finding->effect, damage.effect) << what;
  EXPECT_EQ(finding->severity, damage.severity) << what;
  EXPECT_EQ(finding->text.find("--update=no-bitmap") != std::string::npos, damage.effect == Effect::refuses_array)
      << finding->text;
}

TEST(BitmapHeader, ClassicIsJudgedAsTheKernelJudgesIt) {
  constexpr Effect refused = Effect::refuses_array;
  const std::vector<Damage> table{
      {at_version, 3, 4, "bitmap-host-endian", Effect::none, Severity::note},
      {at_version, 5, 4, "", Effect::none},
      {at_version, 2, 4, "bitmap-version", refused},
      {at_version, 7, 4, "bitmap-version", refused},
      {at_uuid, 0, 1, "bitmap-uuid", refused},
      {at_uuid + 15, 0, 1, "bitmap-uuid", refused},
      {at_events, 21, 8, "bitmap-events-ahead", Effect::none, Severity::note},
      {at_events, 22, 8, "bitmap-events-ahead", Effect::none, Severity::warning},
      {at_events_cleared, 21, 8, "bitmap-events-cleared", Effect::none, Severity::warning},
      {at_events_cleared, 3, 8, "", Effect::none},
      {at_sync_size, 802, 8, "bitmap-sync-size", Effect::none, Severity::warning},
      {at_state, 1U << 1, 4, "bitmap-stale", Effect::none, Severity::warning},
      {at_state, 1U << 2, 4, "bitmap-write-error", refused},
      {at_state, 1U << 3, 4, "bitmap-state", Effect::none, Severity::warning},
      {at_state, 1U << 15, 4, "bitmap-host-endian", Effect::none, Severity::note},
      {at_chunksize, 0, 4, "bitmap-chunk-size", refused},
      {at_chunksize, 256, 4, "bitmap-chunk-size", refused},
      {at_chunksize, 4097, 4, "bitmap-chunk-size", refused},
      {at_chunksize, 512, 4, "", Effect::none},
      {at_chunksize, 0x80000000U, 4, "", Effect::none},
      {at_daemon_sleep, 0, 4, "bitmap-daemon-sleep", refused},
      {at_daemon_sleep, 1, 4, "", Effect::none},
      {at_write_behind, 16383, 4, "", Effect::none},
      {at_write_behind, 16384, 4, "bitmap-write-behind", refused},
      {at_sectors_reserved, 1, 4, "", Effect::none},
      {at_nodes, 1, 4, "bitmap-padding", Effect::none, Severity::note},
      {at_cluster_name + 63, 1, 1, "bitmap-padding", Effect::none, Severity::note},
      {at_pad + 119, 1, 1, "bitmap-padding", Effect::none, Severity::note},
  };
  for (const Damage& damage : table) {
    expect_only(damage, classic_findings(classic_member().put(damage.field, damage.value, damage.width)));
  }
}

TEST(BitmapHeader, LocklessIsJudgedAsTheKernelJudgesIt) {
  constexpr Effect refused = Effect::refuses_array;
  const std::vector<Damage> table{
      {at_uuid + 7, 0, 1, "bitmap-uuid", refused},
      {at_events, 19, 8, "bitmap-stale", Effect::none, Severity::warning},
      {at_events_cleared, 1, 8, "bitmap-events-cleared", Effect::none, Severity::note},
      {at_sync_size, 1, 8, "bitmap-sync-size", Effect::none, Severity::warning},
      {at_state, 1U << 1, 4, "bitmap-stale", Effect::none, Severity::warning},
      {at_state, 1U << 2, 4, "bitmap-write-error", Effect::none},
      {at_state, 1U << 3, 4, "bitmap-first-use", Effect::none, Severity::note},
      {at_state, 3U << 3, 4, "bitmap-first-use", Effect::none, Severity::note},
      {at_state, 1U << 4, 4, "bitmap-state", Effect::none, Severity::warning},
      {at_state, 1U << 5, 4, "", Effect::none},
      {at_state, 1U << 6, 4, "bitmap-state", Effect::none, Severity::warning},
      {at_state, 1U << 15, 4, "bitmap-state", Effect::none, Severity::warning},
      {at_chunksize, 0, 4, "bitmap-chunk-size", refused},
      {at_chunksize, 129, 4, "bitmap-chunk-size", refused},
      {at_chunksize, 1, 4, "", Effect::none},
      {at_daemon_sleep, 0, 4, "bitmap-daemon-sleep", refused},
      {at_write_behind, 0xffffffff, 4, "", Effect::none},
      {at_sectors_reserved, 1, 4, "", Effect::none},
      {at_nodes, 1, 4, "bitmap-padding", Effect::none, Severity::note},
      {at_pad, 1, 1, "bitmap-padding", Effect::none, Severity::note},
  };
  for (const Damage& damage : table) {
    expect_only(damage, lockless_findings(lockless_member().put(damage.field, damage.value, damage.width)));
  }
}

TEST(BitmapHeader, StaleClassicIsAWarningAndNotARefusal) {
  BitmapMember member = classic_member().put64(at_events, 19).put64(at_events_cleared, 19);
  const Findings findings = classic_findings(member);
  EXPECT_EQ(ids(findings), "bitmap-stale ");
  EXPECT_EQ(worst_effect(findings), Effect::none);
  EXPECT_TRUE(missed_updates(header_of(member), expected_bitmap(classic_sync_size)));
  EXPECT_FALSE(missed_updates(header_of(classic_member()), expected_bitmap(classic_sync_size)));
}

TEST(BitmapHeader, AClusterIsExemptFromEventsButStartsOnlyThere) {
  const BitmapMember member =
      classic_member().put32(at_version, 5).put32(at_nodes, 4).put64(at_events, 3).put64(at_events_cleared, 3);
  const Findings findings = classic_findings(member);
  EXPECT_EQ(ids(findings), "bitmap-clustered ");
  EXPECT_EQ(worst_effect(findings), Effect::refuses_array);
  EXPECT_FALSE(missed_updates(header_of(member), expected_bitmap(classic_sync_size)));
}

TEST(BitmapHeader, FirstUseHidesWhatTheKernelDoesNotLookAt) {
  const BitmapMember member = lockless_member()
                                  .put32(at_state, state_first_use)
                                  .put32(at_chunksize, 3)
                                  .put32(at_daemon_sleep, 0)
                                  .put64(at_events, 0);
  EXPECT_EQ(ids(lockless_findings(member)), "bitmap-first-use ");
  EXPECT_FALSE(missed_updates(header_of(member), expected_bitmap(lockless_sync_size)));
}

TEST(BitmapHeader, OverwrittenByStatesIsToldFromAnUnknownVersion) {
  for (std::uint32_t version : {0x02020206U, 0x03030306U}) {
    // Zero bytes of the UUID may be gone too: that alone is what is said.
    const Findings findings = lockless_findings(lockless_member().put32(at_version, version).put(at_uuid, 2, 1));
    EXPECT_EQ(ids(findings), "bitmap-header-overwritten ") << version;
    EXPECT_EQ(worst_effect(findings), Effect::refuses_array);
  }
  EXPECT_EQ(ids(lockless_findings(lockless_member().put32(at_version, 0x02020205U))), "bitmap-version ");
}

TEST(BitmapHeader, ALocklessRemovalMentionsTheParityThatWasNeverBuilt) {
  const Findings findings = lockless_findings(lockless_member().put32(at_chunksize, 0));
  ASSERT_FALSE(findings.empty());
  EXPECT_NE(findings[0].text.find("parity"), std::string::npos);
}

TEST(BitmapHeader, AChunkSizeOfZeroHasToGoBeforeMdadmSeesIt) {
  const auto says_zero_it = [](const Findings& findings) {
    return !findings.empty() && findings[0].text.find("zero the bitmap's first sector") != std::string::npos;
  };
  EXPECT_TRUE(says_zero_it(classic_findings(classic_member().put32(at_chunksize, 0))));
  EXPECT_TRUE(says_zero_it(classic_findings(classic_member().put32(at_chunksize, 0).put32(at_version, 9))));
  EXPECT_FALSE(says_zero_it(classic_findings(classic_member().put32(at_chunksize, 3))));
}

TEST(BitmapGeometry, ClassicBitsEndWithTheRoom) {
  const Header header = header_of(classic_member());
  Expected expected = expected_bitmap(0);
  constexpr std::uint64_t most = (4096 - 256) * 8;
  expected.sync_size = Sectors(most * 8);
  const auto full = geometry_of(header, expected);
  ASSERT_TRUE(full.has_value());
  EXPECT_EQ(full->chunks, most);
  expected.sync_size = Sectors(most * 8 + 1);
  EXPECT_FALSE(geometry_of(header, expected).has_value());
  const Findings findings = verify_header(header, expected);
  ASSERT_NE(find(findings, "bitmap-size"), nullptr);
  EXPECT_EQ(find(findings, "bitmap-size")->effect, Effect::stops_writing);
  expected.room_bytes = 255;
  expected.sync_size = Sectors(0);
  EXPECT_FALSE(geometry_of(header, expected).has_value());
}

TEST(BitmapGeometry, NoRoomMakesTheAreaLargerThanTheLimit) {
  const Header header = header_of(classic_member());
  Expected expected = expected_bitmap(0);
  expected.room_bytes = std::numeric_limits<std::uint64_t>::max();
  for (std::uint64_t sectors : {std::uint64_t{1} << 40, std::numeric_limits<std::uint64_t>::max()}) {
    expected.sync_size = Sectors(sectors);
    EXPECT_FALSE(geometry_of(header, expected).has_value()) << sectors;
  }
  const Header huge = header_of(lockless_member().put32(at_sectors_reserved, 0xffffffff));
  expected.sync_size = Sectors((max_area_bytes - 1024) * 128);
  EXPECT_TRUE(geometry_of(huge, expected).has_value());
  expected.sync_size = Sectors((max_area_bytes - 1024) * 128 + 1);
  EXPECT_FALSE(geometry_of(huge, expected).has_value());
  EXPECT_EQ(find(verify_header(huge, expected), "bitmap-size")->effect, Effect::stops_writing);
}

TEST(BitmapGeometry, ReservedSectorsTooFewForTheBitsAreAWarning) {
  const BitmapMember member = member_with_header(4, 8 * 3000, 4096).put32(at_sectors_reserved, 1);
  const Findings findings = verify_header(header_of(member), expected_bitmap(8 * 3000));
  EXPECT_EQ(ids(findings), "bitmap-sectors-reserved ");
}

TEST(BitmapGeometry, LocklessChunkMustLeaveAByteForEveryChunk) {
  const Header header = header_of(lockless_member().put32(at_sectors_reserved, 1));
  Expected expected = expected_bitmap(512 * 128);
  const auto full = geometry_of(header, expected);
  ASSERT_TRUE(full.has_value());
  EXPECT_EQ(full->chunks, 512U);
  expected.sync_size = Sectors(512 * 128 + 1);
  EXPECT_FALSE(geometry_of(header, expected).has_value());
  EXPECT_EQ(find(verify_header(header, expected), "bitmap-chunk-size")->effect, Effect::refuses_array);
}

TEST(BitmapGeometry, WithoutReservedSectorsTheKernelTakesSix) {
  const Header header = header_of(lockless_member().put32(at_sectors_reserved, 0));
  const auto full = geometry_of(header, expected_bitmap(6 * 512 * 128));
  ASSERT_TRUE(full.has_value());
  EXPECT_EQ(full->chunks, 3072U);
  EXPECT_FALSE(geometry_of(header, expected_bitmap(6 * 512 * 128 + 1)).has_value());
}

TEST(BitmapGeometry, FirstUseChoosesTheKernelsChunk) {
  const auto chosen = [](std::uint64_t sync_size, std::uint32_t reserved) {
    BitmapMember member = lockless_member().put32(at_state, state_first_use).put32(at_chunksize, 64U << 20);
    member.put32(at_sectors_reserved, reserved);
    const auto geometry = geometry_of(header_of(member), expected_bitmap(sync_size));
    return geometry ? std::optional(*geometry) : std::nullopt;
  };
  EXPECT_EQ(chosen(1, 256), (Geometry{Sectors(128), 1}));
  EXPECT_EQ(chosen(512 * 128, 1), (Geometry{Sectors(128), 512}));
  EXPECT_EQ(chosen(512 * 128 + 1, 1), (Geometry{Sectors(256), 257}));
  EXPECT_EQ(chosen(std::uint64_t{256} * 512 * 128 * 5, 256), (Geometry{Sectors(1024), 81920}));
  EXPECT_EQ(chosen(std::numeric_limits<std::uint64_t>::max(), 1), std::nullopt);
}

TEST(BitmapFields, NameAndUnitFollowTheFormat) {
  const auto field = [](const Fields& fields, std::string_view name) {
    return *std::ranges::find(fields, name, &Field::name);
  };
  BitmapMember member = lockless_member();
  const Fields lockless = header_fields(header_of(member));
  EXPECT_EQ(field(lockless, "chunksize").unit, Unit::sectors);
  EXPECT_EQ(std::get<std::uint64_t>(field(lockless, "chunksize").value), 128U);
  EXPECT_EQ(std::get<std::string>(field(lockless, "uuid").value), "a0a1a2a3:a4a5a6a7:a8a9aaab:acadaeaf");
  const Fields placeholder = header_fields(header_of(member.put32(at_state, state_first_use)));
  EXPECT_EQ(field(placeholder, "chunksize").unit, Unit::bytes);
  BitmapMember clustered = classic_member().put32(at_version, 5).put32(at_cluster_name, 0x006d6c63);
  const Fields fields = header_fields(header_of(clustered));
  EXPECT_EQ(field(fields, "chunksize").unit, Unit::bytes);
  EXPECT_EQ(std::get<std::string>(field(fields, "cluster_name").value), "clm");
  EXPECT_EQ(fields.size(), 13U);
}

}  // namespace
}  // namespace mdtool::bitmap
