// SPDX-License-Identifier: GPL-2.0-or-later
// Which kernel and mdadm take an array: features one by one, on real fixtures and on fields changed by hand.
#include "libraid/assemble/compatibility.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/raid/loaded_array.h"

namespace mdtool {
namespace {

using test::load_fixture;
using test::Look;
using test::look_at;
using test::set_field;

// Offsets in the 1.2 superblock.
constexpr std::size_t feature_map_at = 8;
constexpr std::size_t layout_at = 76;
constexpr std::size_t data_size_at = 136;
constexpr std::size_t logical_block_size_at = 224;

Compatibility of(const std::vector<test::Image>& images) {
  return compatibility_of(look_at(images).array());
}

std::set<std::string> ids(const Compatibility& c) {
  std::set<std::string> found;
  for (const Requirement& r : c.requirements) {
    found.insert(r.id);
  }
  return found;
}

const Requirement& requirement(const Compatibility& c, std::string_view id) {
  const auto found =
      std::find_if(c.requirements.begin(), c.requirements.end(), [&](const Requirement& r) { return r.id == id; });
  static const Requirement none;
  EXPECT_NE(found, c.requirements.end()) << id;
  return found == c.requirements.end() ? none : *found;
}

void clear_logical_block_size(std::vector<test::Image>& images) {
  for (test::Image& image : images) {
    set_field<le32>(image, logical_block_size_at, le32(0));
  }
}

TEST(Compatibility, LogicalBlockSizeKeepsOlderKernelsOut) {
  auto images = load_fixture("1.2-raid5-4-none-clean");
  const Compatibility recorded = of(images);
  EXPECT_EQ(recorded.oldest_kernel, (SoftwareVersion{6, 19}));
  EXPECT_EQ(recorded.requirements.front().id, "logical-block-size");
  EXPECT_EQ(recorded.requirements.front().change, "mdtool set --field logical_block_size=0");
  clear_logical_block_size(images);
  const Compatibility cleared = of(images);
  EXPECT_EQ(ids(cleared), std::set<std::string>{"metadata-1"});
  EXPECT_EQ(cleared.oldest_kernel, (SoftwareVersion{2, 6, 10}));
  // One member is enough.
  set_field<le32>(images[2], logical_block_size_at, le32(4096));
  EXPECT_NE(requirement(of(images), "logical-block-size").what.find("4096 bytes"), std::string::npos);
}

TEST(Compatibility, EveryFeatureBit) {
  struct Case {
    std::uint32_t bit;
    std::string id;
    SoftwareVersion kernel;
  };
  const std::vector<Case> cases{
      {0x2, "recovery-offset", {2, 6, 18}},
      {0x4, "reshape", {2, 6, 17}},
      {0x8, "bad-blocks", {3, 1}},
      {0x10, "replacement", {3, 3}},
      {0x20, "reshape-backwards", {3, 5}},
      {0x40, "new-data-offset", {3, 5}},
      {0x80, "recovery-by-bitmap", {3, 14}},
      {0x100, "clustered", {4, 4}},
      {0x200, "journal", {4, 4}},
      {0x400, "ppl", {4, 12}},
      {0x800, "multiple-ppls", {4, 14}},
      {0x1000, "raid0-layout", {5, 4}},
      {0x2000, "unknown-features", {7, 3}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.id);
    auto images = load_fixture("1.2-raid5-4-none-clean");
    clear_logical_block_size(images);
    set_field<le32>(images[1], feature_map_at, le32(c.bit));
    const Compatibility found = of(images);
    EXPECT_EQ(ids(found), (std::set<std::string>{c.id, "metadata-1"}));
    EXPECT_EQ(requirement(found, c.id).kernel, c.kernel);
    EXPECT_EQ(found.oldest_kernel, c.kernel);
  }
}

TEST(Compatibility, BitmapsByTheirVersion) {
  auto lockless = load_fixture("1.2-raid5-4-lockless-crash");
  clear_logical_block_size(lockless);
  const Compatibility six = of(lockless);
  EXPECT_EQ(six.oldest_kernel, (SoftwareVersion{6, 18}));
  EXPECT_EQ(six.oldest_mdadm, (SoftwareVersion{4, 6}));
  EXPECT_EQ(six.requirements.front().id, "bitmap-lockless");
  // Leaving it forgets which chunks have no parity.
  EXPECT_NE(six.requirements.front().change.find("bitmap convert --bitmap=internal"), std::string::npos);
  auto classic = load_fixture("1.2-raid5-4-classic-clean");
  clear_logical_block_size(classic);
  EXPECT_EQ(requirement(of(classic), "bitmap-classic").kernel, (SoftwareVersion{2, 6, 15}));
  EXPECT_EQ(of(classic).oldest_mdadm, (SoftwareVersion{2, 2}));
}

TEST(Compatibility, OldMetadataAsksForLittle) {
  auto images = load_fixture("0.90-raid5-4-none-crash");
  const Compatibility little = of(images);
  EXPECT_TRUE(little.requirements.empty());
  EXPECT_EQ(little.oldest_kernel.text(), "2.6");
  EXPECT_EQ(little.oldest_mdadm.text(), "2.0");
  for (test::Image& image : images) {
    const std::size_t at = (image.size() & ~std::size_t{0xffff}) - 0x10000;
    for (std::size_t word = at; word < at + 4096; word += 4) {
      std::reverse(image.begin() + static_cast<std::ptrdiff_t>(word),
                   image.begin() + static_cast<std::ptrdiff_t>(word) + 4);
    }
  }
  const Compatibility big = of(images);
  EXPECT_EQ(ids(big), std::set<std::string>{"big-endian"});
  EXPECT_EQ(big.requirements.front().change, "mdtool set --update=byteorder");
}

TEST(Compatibility, LayoutsOfRaid6) {
  auto ddf = load_fixture("1.2-raid6-5-none-ddf-zero-restart");
  clear_logical_block_size(ddf);
  EXPECT_EQ(of(ddf).oldest_kernel, (SoftwareVersion{2, 6, 30}));
  auto plain = load_fixture("1.2-raid6-5-none-left-asymmetric");
  clear_logical_block_size(plain);
  EXPECT_FALSE(ids(of(plain)).contains("layout"));
}

// Verified on Linux 7.2: three members of 8, 12 and 12 MiB without a layout are refused, 8 and 16 MiB are taken.
TEST(Compatibility, Raid0WithoutLayout) {
  auto images = load_fixture("1.2-raid0-3");
  EXPECT_EQ(of(images).oldest_kernel, (SoftwareVersion{5, 4}));
  EXPECT_TRUE(ids(of(images)).contains("raid0-layout"));
  for (test::Image& image : images) {
    set_field<le32>(image, feature_map_at, le32(0));
    set_field<le32>(image, layout_at, le32(0));
  }
  EXPECT_FALSE(ids(of(images)).contains("raid0-layout-unspecified"));  // one zone
  set_field<le64>(images[1], data_size_at, le64(look_at(images).array().array().data_size.count() - 512));
  const Requirement wide = requirement(of(images), "raid0-layout-unspecified");
  EXPECT_TRUE(wide.kernel.any());
  EXPECT_NE(wide.change.find("--update=layout-original"), std::string::npos);
  set_field<le64>(images[2], data_size_at, le64(look_at(images).array().array().data_size.count() - 512));
  EXPECT_FALSE(ids(of(images)).contains("raid0-layout-unspecified"));  // one member alone goes on: no choice
}

TEST(Compatibility, LinearIsAnOptionOfTheKernel) {
  const Requirement linear = requirement(of(load_fixture("1.2-linear-2")), "linear");
  EXPECT_TRUE(linear.kernel.any());
  EXPECT_NE(linear.what.find("CONFIG_MD_LINEAR"), std::string::npos);
  EXPECT_FALSE(ids(of(load_fixture("1.2-raid0-3"))).contains("linear"));
}

TEST(Compatibility, MostDemandingFirst) {
  const auto images = load_fixture("1.2-raid5-3-ppl-clean");
  const Compatibility c = of(images);
  EXPECT_TRUE(ids(c).contains("multiple-ppls"));
  for (std::size_t i = 1; i < c.requirements.size(); ++i) {
    EXPECT_GE(c.requirements[i - 1].kernel, c.requirements[i].kernel);
  }
  EXPECT_EQ(c.oldest_kernel, c.requirements.front().kernel);
}

}  // namespace
}  // namespace mdtool
