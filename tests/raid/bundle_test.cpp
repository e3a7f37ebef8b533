// SPDX-License-Identifier: GPL-2.0-or-later
// Dumps of metadata: complete, made anonymous, damaged, and put back.
#include "libraid/edit/bundle.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "libmeta/ppl/header.h"
#include "libraid/edit/anonymize.h"
#include "libraid/edit/bundle_images.h"
#include "libraid/edit/restore_plan.h"
#include "libraid/io/byte_stream.h"
#include "tests/raid/edited_array.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

using test::Image;
using test::Look;

constexpr std::uint64_t superblock_at = 4096;  // metadata 1.2
constexpr Salt salt{1, 2, 3};

std::vector<std::string> all_fixtures() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(MDTOOL_FIXTURES)) {
    if (std::filesystem::exists(entry.path() / "m0.img.zst")) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string place_of(const Candidate& candidate) {
  return "/images/" + candidate.path;
}

Bundle bundle_of(const Look& look) {
  Bundle bundle;
  for (const Candidate& candidate : look.candidates) {
    GatheredAreas gathered = gather_areas(candidate);
    EXPECT_TRUE(gathered.findings.empty());
    bundle.members.push_back({candidate.path, place_of(candidate), 0, candidate.metadata->size_bytes(), std::nullopt,
                              std::move(gathered.areas)});
  }
  return bundle;
}

// The arrays that are on the members of a dump; move-only, as what it points at is.
struct Recorded {
  std::vector<RecordedMember> members;
  std::vector<Candidate> candidates;
  std::vector<Assembly> arrays;
};

Recorded recorded(const Bundle& bundle) {
  Recorded all;
  for (const BundleMember& member : bundle.members) {
    auto one = recorded_member(member);
    EXPECT_TRUE(one);
    all.candidates.push_back(std::move(one->candidate));
    all.members.push_back(std::move(*one));
  }
  all.arrays = assemble(all.candidates);
  return all;
}

// What an array is, apart from who.
std::string judged(const Assembly& array) {
  std::string text = std::string(verdict_name(array.verdict)) + (array.clean ? " clean" : " dirty");
  const std::uint64_t freshest = array.array().utime_seconds;
  for (const Member& member : array.members) {
    text += "\n" + std::string(member_state_name(member.state));
    if (member.candidate != nullptr) {
      const MemberDescription& d = member.description();
      text += " " + d.metadata + " " + std::to_string(d.events) + " " + std::to_string(freshest - d.utime_seconds) +
              " " + std::to_string(freshest - d.ctime_seconds) + " " + std::to_string(d.resync_offset.count());
      for (const FoundSuperblock& found : member.candidate->superblocks) {
        for (const Finding& finding : found.findings) {
          text += " " + finding.id;
        }
      }
    }
  }
  text += "\nbitmap " + std::to_string(static_cast<int>(array.bitmap.trust));
  text += array.bitmap.classic ? " set " + std::to_string(array.bitmap.classic->set_count()) : "";
  for (std::uint64_t chunk = 0; array.bitmap.lockless && chunk < array.bitmap.lockless->chunks(); ++chunk) {
    text += " " + std::to_string(array.bitmap.lockless->raw(chunk));
  }
  return text;
}

std::vector<std::byte> unpacked(const std::vector<std::byte>& file) {
  std::vector<std::byte> raw(ZSTD_getFrameContentSize(file.data(), file.size()));
  EXPECT_EQ(ZSTD_decompress(raw.data(), raw.size(), file.data(), file.size()), raw.size());
  return raw;
}

std::vector<std::byte> packed(std::span<const std::byte> raw) {
  std::vector<std::byte> file(ZSTD_compressBound(raw.size()));
  file.resize(ZSTD_compress(file.data(), file.size(), raw.data(), raw.size(), 1));
  return file;
}

bool holds(std::span<const std::byte> bytes, std::span<const std::byte> wanted) {
  return std::search(bytes.begin(), bytes.end(), wanted.begin(), wanted.end()) != bytes.end();
}

bool holds(std::span<const std::byte> bytes, std::string_view wanted) {
  return holds(bytes, std::as_bytes(std::span(wanted)));
}

std::vector<RestoreTarget> targets_of(const Look& look) {
  std::vector<RestoreTarget> targets;
  for (const Candidate& candidate : look.candidates) {
    targets.push_back({&candidate, place_of(candidate), 0, std::nullopt});
  }
  return targets;
}

test::Planner restoring(const Bundle& bundle) {
  return [&bundle](const Look& look) -> Result<EditPlan> {
    TRY(pairs, pair_members(bundle, targets_of(look), {}));
    return plan_restore(bundle, pairs);
  };
}

void fill(Image& image, std::uint64_t offset, std::size_t length, int value) {
  std::fill_n(image.begin() + static_cast<std::ptrdiff_t>(offset), length, static_cast<std::byte>(value));
}

std::vector<Image> classic() {
  return test::load_fixture("1.2-raid5-4-classic-crash");
}

void expect_same_judgement(const Bundle& bundle, const Look& look) {
  const Recorded again = recorded(bundle);
  ASSERT_EQ(again.arrays.size(), look.arrays.size());
  for (std::size_t i = 0; i < again.arrays.size(); ++i) {
    EXPECT_EQ(judged(again.arrays[i]), judged(look.arrays[i]));
  }
}

void expect_metadata_alone(const Bundle& bundle, const Look& look) {
  for (std::size_t i = 0; i < look.candidates.size(); ++i) {
    const MemberDescription& d = look.candidates[i].chosen()->description;
    for (const BundleArea& area : bundle.members[i].areas) {
      const auto there = read_bytes(*look.candidates[i].metadata, area.offset_bytes, area.bytes.size());
      EXPECT_TRUE(there && *there == area.bytes);
      const std::uint64_t data = d.data_offset.bytes();
      EXPECT_FALSE(area.offset_bytes >= data && area.offset_bytes - data < d.size.bytes()) << area.offset_bytes;
    }
  }
}

void expect_nothing_of(const MemberDescription& d, std::span<const std::byte> raw) {
  EXPECT_FALSE(holds(raw, std::as_bytes(std::span(d.set_uuid.bytes))));
  EXPECT_FALSE(holds(raw, std::as_bytes(std::span(d.bitmap_uuid.bytes))));
  const le32 time = static_cast<std::uint32_t>(d.ctime_seconds);
  EXPECT_FALSE(holds(raw, std::as_bytes(std::span(&time, 1))));
  if (d.device_uuid) {
    EXPECT_FALSE(holds(raw, std::as_bytes(std::span(d.device_uuid->bytes))));
    EXPECT_FALSE(holds(raw, d.set_name));
    const std::size_t colon = d.set_name.find(':');
    EXPECT_FALSE(colon != std::string::npos && holds(raw, d.set_name.substr(0, colon + 1)));
  }
}

TEST(Bundle, KeepsWhatEveryFixtureIsWithItsNamesOrWithout) {
  for (const std::string& name : all_fixtures()) {
    SCOPED_TRACE(name);
    const Look look = test::look_at(test::load_fixture(name));
    const Bundle bundle = bundle_of(look);
    const auto file = encode_bundle(bundle);
    ASSERT_TRUE(file) << file.error().text;
    const auto read = decode_bundle(*file);
    ASSERT_TRUE(read) << read.error().text;
    EXPECT_TRUE(*read == bundle);
    expect_metadata_alone(*read, look);
    expect_same_judgement(*read, look);

    const auto anonymous = anonymized(bundle, salt);
    ASSERT_TRUE(anonymous) << anonymous.error().text;
    EXPECT_EQ(anonymous->identities, Identities::replaced);
    expect_same_judgement(*anonymous, look);
    const std::vector<std::byte> raw = unpacked(*encode_bundle(*anonymous));
    EXPECT_FALSE(holds(raw, "/images/"));
    for (const Candidate& candidate : look.candidates) {
      expect_nothing_of(candidate.chosen()->description, raw);
    }
  }
}

TEST(Bundle, HasTheAreasThatSuperblocksPointAt) {
  const auto kinds = [](const std::string& name) {
    std::string text;
    const Bundle bundle = bundle_of(test::look_at(test::load_fixture(name)));
    for (const BundleArea& area : bundle.members[0].areas) {
      text += std::string(bundle_area_name(area.kind)) + " " + std::to_string(area.offset_bytes) + "+" +
              std::to_string(area.bytes.size()) + "\n";
    }
    return text;
  };
  EXPECT_EQ(kinds("1.2-raid5-4-classic-crash"), "superblock 4096+4096\nbitmap 8192+512\nbad-block log 12288+4096\n");
  EXPECT_EQ(kinds("1.2-raid5-3-ppl-crash"), "superblock 4096+4096\nppl 8192+1048576\nbad-block log 1056768+4096\n");
  // The states run over the empty log: it has what they leave of it.
  EXPECT_EQ(kinds("1.2-raid5-3-lockless-3300-chunks").substr(0, 41), "superblock 4096+4096\nbitmap 8192+4608\nbad");
}

TEST(Bundle, LeavesOutWhatCannotBeRead) {
  const std::vector<Image> images = classic();
  Bundle bundle = bundle_of(test::look_at(images, {0}));
  class Failing final : public Source {
   public:
    explicit Failing(const Source& base) : base_(&base) {}
    std::uint64_t size_bytes() const override { return base_->size_bytes(); }
    Status read(std::uint64_t offset, std::span<std::byte> out) const override {
      return offset == 12288 ? Status(Error{ErrorKind::io, "bad sector"}) : base_->read(offset, out);
    }

   private:
    const Source* base_;
  };
  const BundleSource base(bundle.members[0]);
  const Failing source(base);
  const auto candidate = inspect("m0", "", source, source);
  ASSERT_TRUE(candidate);
  const GatheredAreas gathered = gather_areas(*candidate);
  ASSERT_EQ(gathered.findings.size(), 1U);
  EXPECT_EQ(gathered.findings[0].id, "area-unreadable");
  EXPECT_EQ(gathered.areas.size(), 2U);
}

TEST(BundleFormat, TakesNothingThatIsDamaged) {
  const Bundle bundle = bundle_of(test::look_at(classic()));
  const auto file = encode_bundle(bundle);
  ASSERT_TRUE(file);
  for (std::size_t length = 0; length < file->size(); ++length) {
    EXPECT_FALSE(decode_bundle(std::span(*file).first(length))) << length;
  }
  for (std::size_t at = 0; at < file->size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<std::byte> damaged = *file;
      damaged[at] ^= std::byte{1} << bit;
      const auto read = decode_bundle(damaged);
      EXPECT_TRUE(!read || *read == bundle) << at;
    }
  }
  std::vector<std::byte> longer = *file;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode_bundle(longer));
}

TEST(BundleFormat, RefusesPlacesThatNoMemberHas) {
  const auto refused = [](BundleMember member) { return !encode_bundle({Identities::as_found, {std::move(member)}}); };
  const std::vector<std::byte> sector(512);
  const auto with = [](std::uint64_t size, std::vector<BundleArea> areas) {
    return BundleMember{"m", "/m", 0, size, std::nullopt, std::move(areas)};
  };
  EXPECT_FALSE(refused(with(8192, {{BundleAreaKind::superblock, 7680, sector}})));
  EXPECT_TRUE(refused(with(8192, {{BundleAreaKind::superblock, 7681, sector}})));
  EXPECT_TRUE(refused(with(8192, {{BundleAreaKind::superblock, ~std::uint64_t{0} - 100, sector}})));
  EXPECT_TRUE(refused(with(8192, {{BundleAreaKind::superblock, 0, {}}})));
  EXPECT_TRUE(refused(with(8192, {{BundleAreaKind::bitmap, 0, sector}, {BundleAreaKind::ppl, 511, sector}})));
  EXPECT_TRUE(refused(with(8192, {{BundleAreaKind::bitmap, 1024, sector}, {BundleAreaKind::ppl, 0, sector}})));
  EXPECT_TRUE(refused(with(largest_member_bytes + 1, {})));
  EXPECT_TRUE(refused(with(8192, std::vector<BundleArea>(65, {BundleAreaKind::ppl, 0, sector}))));
}

TEST(BundleFormat, BelievesNoCount) {
  const auto file = encode_bundle({Identities::as_found, {{"m", "/m", 0, 8192, std::nullopt, {}}}});
  ASSERT_TRUE(file);
  const std::vector<std::byte> raw = unpacked(*file);
  ASSERT_TRUE(decode_bundle(packed(raw)));
  const auto with = [&](std::size_t at, le32 value) {
    std::vector<std::byte> changed = raw;
    EXPECT_TRUE(store(std::span(changed), at, value));
    return decode_bundle(packed(changed));
  };
  EXPECT_FALSE(with(0, 0));  // tag
  EXPECT_NE(with(8, 2).error().text.find("version 2"), std::string::npos);
  EXPECT_FALSE(with(12, 2));           // identities
  EXPECT_FALSE(with(16, 0xffffffff));  // members
  EXPECT_FALSE(with(16, 0));           // fewer than there are
  EXPECT_FALSE(with(40, 0xffffffff));  // areas
  EXPECT_FALSE(with(44, 0xffffffff));  // length of the path
  const std::vector<std::byte> bomb = packed(std::vector<std::byte>(largest_bundle_bytes + 1));
  EXPECT_LT(bomb.size(), 65536U);
  EXPECT_NE(decode_bundle(bomb).error().text.find("larger"), std::string::npos);
}

TEST(Anonymized, KeepsBytesOfKnownStructuresOnly) {
  std::vector<Image> images = classic();
  const std::string secret = "cluster-of-somebody";
  const auto put = [&](std::uint64_t offset) {
    std::copy(std::as_bytes(std::span(secret)).begin(), std::as_bytes(std::span(secret)).end(),
              images[0].begin() + static_cast<std::ptrdiff_t>(offset));
  };
  put(superblock_at + 1024);  // behind the roles
  put(superblock_at + 228);   // pad3
  put(8192 + 72);             // cluster_name
  put(8192 + 136);            // pad
  put(8192 + 480);            // behind the bits
  put(12288 + 100);           // a log that says it is empty
  const Bundle bundle = bundle_of(test::look_at(images));
  ASSERT_TRUE(holds(unpacked(*encode_bundle(bundle)), secret));
  EXPECT_FALSE(holds(unpacked(*encode_bundle(*anonymized(bundle, salt))), secret));
}

TEST(Anonymized, KeepsWrongChecksumsWrong) {
  std::vector<Image> images = classic();
  images[2][superblock_at + 216] ^= std::byte{0x10};
  const Look look = test::look_at(images);
  const auto anonymous = anonymized(bundle_of(look), salt);
  ASSERT_TRUE(anonymous);
  const Recorded again = recorded(*anonymous);
  for (std::size_t i = 0; i < images.size(); ++i) {
    const bool wrong = test::finding(again.candidates[i].chosen()->findings, "superblock-checksum") != nullptr;
    EXPECT_EQ(wrong, i == 2);
  }
}

TEST(Anonymized, ReplacesTheSameByTheSameAndByAnotherWithAnotherSalt) {
  const Look look = test::look_at(classic());
  const Bundle bundle = bundle_of(look);
  const Recorded one = recorded(*anonymized(bundle, salt));
  const Recorded other = recorded(*anonymized(bundle, {9}));
  std::set<Uuid> devices;
  for (const Candidate& candidate : one.candidates) {
    const MemberDescription& d = candidate.chosen()->description;
    EXPECT_EQ(d.set_uuid, one.candidates[0].chosen()->description.set_uuid);
    EXPECT_EQ(d.set_name, one.candidates[0].chosen()->description.set_name);
    devices.insert(*d.device_uuid);
  }
  EXPECT_EQ(devices.size(), look.candidates.size());
  EXPECT_NE(one.arrays[0].array().set_uuid, other.arrays[0].array().set_uuid);
  EXPECT_NE(one.arrays[0].array().set_name, other.arrays[0].array().set_name);
  EXPECT_NE(one.arrays[0].array().set_name.find(':'), std::string::npos);
}

TEST(Anonymized, TakesHeadersOfPartialParityAlongAndNoParity) {
  const Look look = test::look_at(test::load_fixture("1.2-raid5-3-ppl-crash"));
  const Bundle bundle = bundle_of(look);
  const Bundle anonymous = *anonymized(bundle, salt);
  const Recorded again = recorded(anonymous);
  std::size_t headers = 0;
  for (std::size_t i = 0; i < look.candidates.size(); ++i) {
    const MemberDescription& d = look.candidates[i].chosen()->description;
    const Uuid alias = again.candidates[i].chosen()->description.set_uuid;
    for (std::uint64_t at = 0; at < d.ppl->length_bytes; at += ppl::header_bytes) {
      const std::uint64_t offset = d.ppl->offset_bytes + at;
      const auto before = ppl::decode(*read_bytes(*look.candidates[i].metadata, offset, ppl::header_bytes));
      const auto bytes = *read_bytes(*again.candidates[i].metadata, offset, ppl::header_bytes);
      const auto after = ppl::decode(bytes);
      if (ppl::intact(*after, alias)) {
        EXPECT_TRUE(ppl::intact(*before, d.set_uuid));
        EXPECT_EQ(after->generation, before->generation);
        EXPECT_EQ(ppl::entries(*after).size(), ppl::entries(*before).size());
        ++headers;
      } else {
        EXPECT_TRUE(std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; }));
      }
    }
  }
  EXPECT_GE(headers, look.candidates.size());
}

TEST(Restore, BringsDamagedMembersBackFromEveryCut) {
  for (const char* name : {"1.2-raid5-4-classic-crash", "0.90-raid5-3-classic-crash", "1.0-raid5-3-none-crash",
                           "1.2-raid5-4-lockless-crash"}) {
    SCOPED_TRACE(name);
    const std::vector<Image> images = test::load_fixture(name);
    const Look look = test::look_at(images);
    const Bundle bundle = bundle_of(look);
    std::vector<Image> damaged = images;
    const BundleArea& head = bundle.members[0].areas.front();
    fill(damaged[0], head.offset_bytes, head.bytes.size(), 0);
    for (const BundleArea& area : bundle.members[1].areas) {
      fill(damaged[1], area.offset_bytes, area.bytes.size(), 0x5a);
    }
    EXPECT_TRUE(test::applied(*test::planned(damaged, restoring(bundle)), damaged) == images);
    if (images.size() == 3) {
      test::expect_convergence(damaged, restoring(bundle));
    }
  }
}

TEST(Restore, TellsFieldsAndWhatIsLost) {
  const std::vector<Image> images = classic();
  const Bundle bundle = bundle_of(test::look_at(images));
  EXPECT_TRUE((*test::planned(images, restoring(bundle))).nothing_to_do());
  std::vector<Image> later = images;
  test::set_field(later[1], 200, le64(10'000));
  const auto planned = test::planned(later, restoring(bundle));
  ASSERT_EQ((*planned).stages.size(), 1U);
  const EditPatch& patch = (*planned).stages[0][0];
  EXPECT_EQ(patch.purpose, "superblock");
  EXPECT_TRUE(std::any_of(patch.fields.begin(), patch.fields.end(), [](const FieldChange& change) {
    return change.after.name == "events" && std::get<std::uint64_t>(change.before.value) == 10'000;
  }));
  EXPECT_TRUE(test::mentions((*planned).costs, "to 10000 events"));
  EXPECT_TRUE(test::mentions((*planned).steps, "m1: put back the metadata of m1 (recognised by its superblock)"));
}

// A superblock as an accidental --create leaves it: newer than all others.
void put_newer(Image& image, const Metadata& superblock, std::uint64_t offset) {
  const auto placed = *superblock.with_field("super_offset", std::to_string(offset / 512));
  const std::vector<std::byte> bytes = (*placed->with_field("ctime", "2200-01-01T00:00:00Z"))->encode();
  std::copy(bytes.begin(), bytes.end(), image.begin() + static_cast<std::ptrdiff_t>(offset));
}

TEST(Restore, EndsASuperblockThatWasMadeSince) {
  std::vector<Image> images = classic();
  for (Image& image : images) {
    test::set_field(image, 80, le64(128));  // size: no data near the end
  }
  const Bundle bundle = bundle_of(test::look_at(images));
  const Look other = test::look_at(test::load_fixture("1.0-raid5-3-none-crash"), {0});
  put_newer(images[0], *other.candidates[0].chosen()->metadata, images[0].size() - 8192);
  ASSERT_EQ(test::look_at(images).candidates[0].chosen()->description.metadata, "1.0");
  const auto planned = test::planned(images, restoring(bundle));
  ASSERT_TRUE(planned.plan) << planned.reason();
  EXPECT_TRUE(test::mentions((*planned).steps, "which the dump does not have"));
  EXPECT_TRUE(test::mentions((*planned).costs, "is gone then"));
  const Look look = test::look_at(test::applied(*planned, images));
  ASSERT_EQ(look.candidates[0].superblocks.size(), 1U);
  EXPECT_EQ(look.candidates[0].chosen()->description.metadata, "1.2");
  test::expect_convergence(images, restoring(bundle));
}

TEST(Restore, WritesNothingIntoTheDataOfWhatComesBack) {
  std::vector<Image> images = test::load_fixture("1.0-raid5-3-none-crash");
  const Look other = test::look_at(classic(), {0});
  const Metadata& superblock = *other.candidates[0].chosen()->metadata;
  const Bundle without = bundle_of(test::look_at(images));
  std::vector<Image> nested = images;
  put_newer(nested[0], superblock, superblock_at);
  const auto planned = test::planned(nested, restoring(without));
  ASSERT_TRUE(planned.plan) << planned.reason();
  EXPECT_TRUE((*planned).nothing_to_do());
  EXPECT_TRUE(test::mentions((*planned).next, "mdtool erase --metadata=1.2"));

  // An old superblock that the dump has, overwritten by data since.
  const std::vector<std::byte> old = (*superblock.with_field("ctime", "2000-01-01T00:00:00Z"))->encode();
  std::vector<Image> before = images;
  std::copy(old.begin(), old.end(), before[0].begin() + superblock_at);
  const Bundle with = bundle_of(test::look_at(before));
  ASSERT_EQ(with.members[0].areas[0].offset_bytes, superblock_at);
  fill(images[0], images[0].size() - 8192, 4096, 0);
  const auto put_back = test::planned(images, restoring(with));
  ASSERT_TRUE(put_back.plan) << put_back.reason();
  EXPECT_NE(test::finding((*put_back).findings, "area-within-data"), nullptr);
  for (const test::SectorWrite& write : test::sector_writes(*put_back, images)) {
    EXPECT_GE(write.offset_bytes, images[0].size() - 8192);
  }
}

TEST(Restore, KnowsMembersByWhatIsOnThem) {
  const std::vector<Image> images = classic();
  const Bundle bundle = bundle_of(test::look_at(images));
  const Look swapped = test::look_at({images[1], images[0], images[2], images[3]});
  const auto pairs = pair_members(bundle, targets_of(swapped), {});
  ASSERT_TRUE(pairs) << pairs.error().text;
  for (const RestorePair& pair : *pairs) {
    const std::size_t image = test::image_of(*pair.candidate);
    EXPECT_EQ(pair.recorded, image < 2 ? 1 - image : image);
    EXPECT_EQ(pair.how, "by its superblock");
  }
}

TEST(Restore, GuessesNothing) {
  std::vector<Image> images = classic();
  const Bundle bundle = bundle_of(test::look_at(images));
  fill(images[1], superblock_at, 4096, 0);
  fill(images[2], superblock_at, 4096, 0);
  const Look look = test::look_at(images);
  std::vector<RestoreTarget> targets = targets_of(look);
  for (RestoreTarget& target : targets) {
    target.file = "/elsewhere";
  }
  const auto refused = pair_members(bundle, targets, {});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text.find("--map m1=m1 or --map m2=m1"), std::string::npos) << refused.error().text;

  const std::vector<RestorePair> said{{1, &look.candidates[2], ""}};
  const auto told = pair_members(bundle, targets, said);
  ASSERT_TRUE(told) << told.error().text;
  EXPECT_EQ(told->back().recorded, 2U);
  EXPECT_EQ(told->back().candidate, &look.candidates[1]);
  EXPECT_EQ(told->back().how, "as the only one of its size");
  const std::vector<RestorePair> twice{{1, &look.candidates[2], ""}, {1, &look.candidates[3], ""}};
  EXPECT_EQ(pair_members(bundle, targets, twice).error().kind, ErrorKind::usage);

  targets[1].serial = "A";
  targets[2].serial = "B";
  Bundle with_serials = bundle;
  with_serials.members[1].serial = "B";
  with_serials.members[2].serial = "A";
  const auto by_serial = pair_members(with_serials, targets, {});
  ASSERT_TRUE(by_serial) << by_serial.error().text;
  EXPECT_EQ(by_serial->back().how, "by its serial number");
  EXPECT_EQ(by_serial->back().candidate, &look.candidates[1]);
}

TEST(Restore, TakesNoMemberOfAnotherSizeOrArray) {
  std::vector<Image> images = classic();
  const Bundle bundle = bundle_of(test::look_at(images));
  images[0].resize(images[0].size() + 4096);
  const Look larger = test::look_at(images, {0});
  const auto refused = pair_members(bundle, targets_of(larger), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::refused);
  EXPECT_NE(refused.error().text.find("depends on the size"), std::string::npos);

  const std::vector<Image> others = test::load_fixture("1.2-raid5-4-none-clean");
  const Look foreign = test::look_at(others, {0});
  const Bundle one{Identities::as_found, {bundle.members[0]}};
  std::vector<RestoreTarget> targets = targets_of(foreign);
  targets[0].file = "/elsewhere";
  EXPECT_FALSE(pair_members(one, targets, {}));
}

TEST(Restore, WritesOnlyWhereTheDumpsSuperblocksHaveMetadata) {
  const std::vector<Image> images = classic();
  const Look look = test::look_at(images);
  Bundle bundle = bundle_of(look);
  bundle.members[0].areas.push_back({BundleAreaKind::bitmap, 3U << 20, std::vector<std::byte>(512, std::byte{1})});
  ASSERT_TRUE(encode_bundle(bundle));
  const auto plan = restoring(bundle)(look);
  ASSERT_FALSE(plan);
  EXPECT_NE(plan.error().text.find("none of its superblocks"), std::string::npos);
}

TEST(BundleImages, HaveNamesThatStayInTheirFolder) {
  Bundle bundle;
  for (const char* path : {"/dev/sdb1", "a/..", "", "x/\x1b[2J\xff", "-rf", ".hidden", "b/sdb1", "c/sdb1", "sdb1-6",
                           "disk.img@1048576+8388608"}) {
    bundle.members.push_back({path, path, 0, 4096, std::nullopt, {}});
  }
  bundle.members.push_back({std::string(5000, 'x'), "", 0, 4096, std::nullopt, {}});
  const std::vector<std::string> names = image_names(bundle);
  EXPECT_EQ(std::vector<std::string>(names.begin(), names.begin() + 10),
            (std::vector<std::string>{"sdb1", "_.", "member", "_[2J_", "_rf", "_hidden", "sdb1-6", "sdb1-7", "sdb1-6-8",
                                      "disk.img@1048576+8388608"}));
  EXPECT_LT(names[10].size(), 255U);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
}

TEST(BundleImages, AreSparseAndHoldTheMetadata) {
  const ScratchFolder scratch;
  const std::vector<Image> images = classic();
  const Bundle bundle = bundle_of(test::look_at(images));
  const auto paths = write_images(bundle, scratch.path("new"));
  ASSERT_TRUE(paths) << paths.error().text;
  ASSERT_EQ(paths->size(), images.size());
  for (std::size_t i = 0; i < images.size(); ++i) {
    Image expected(images[i].size());
    for (const BundleArea& area : bundle.members[i].areas) {
      lay_over(expected, 0, area.bytes, area.offset_bytes);
    }
    EXPECT_TRUE(file_bytes((*paths)[i]) == expected);
  }
  const auto again = write_images(bundle, scratch.path("new"));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind, ErrorKind::refused);
  Bundle huge = bundle;
  huge.members[3].size_bytes = largest_member_bytes;
  const auto failed = write_images(huge, scratch.path("huge"));
  EXPECT_TRUE(failed || std::filesystem::is_empty(scratch.path("huge")));
}

}  // namespace
}  // namespace mdtool
