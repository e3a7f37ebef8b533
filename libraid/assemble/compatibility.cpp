// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/compatibility.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <tuple>
#include <variant>

#include "libmeta/md0/superblock.h"
#include "libmeta/md1/superblock.h"

namespace mdtool {

namespace {

constexpr SoftwareVersion any_version{};
constexpr SoftwareVersion first_kernel{2, 6};
constexpr SoftwareVersion first_mdadm{2, 0};
// What this program knows; bits that it does not know are somebody's later invention.
constexpr SoftwareVersion after_known_kernels{7, 3};

// feature_map bits that a kernel without them refuses. First kernels: md(4), the merges into Linux and the md_p.h of
// single releases; first mdadms: its release notes.
struct Feature {
  std::uint32_t bit;
  std::string_view id;
  std::string_view what;
  SoftwareVersion kernel;
  SoftwareVersion mdadm;
  std::string_view change;
};

constexpr std::array features{
    Feature{md1::feature_raid0_layout,
            "raid0-layout",
            "the layout of a RAID-0 is recorded (feature RAID0_LAYOUT)",
            {5, 4},
            {4, 2},
            "mdtool set --update=layout-unspecified takes it out again; where the members differ in size, the older "
            "kernel must then be one that uses this layout (original: before 3.14, alternate: from 3.14 on)"},
    Feature{md1::feature_multiple_ppls,
            "multiple-ppls",
            "a ring of partial parity logs (feature MULTIPLE_PPLS)",
            {4, 14},
            {4, 1},
            "mdtool set --update=no-ppl, on a clean array"},
    Feature{md1::feature_ppl,
            "ppl",
            "a partial parity log (feature PPL)",
            {4, 12},
            {4, 1},
            "mdtool set --update=no-ppl, on a clean array"},
    Feature{md1::feature_journal, "journal", "a write journal (feature JOURNAL)", {4, 4}, {3, 4}, ""},
    Feature{md1::feature_clustered,
            "clustered",
            "an array of a cluster (feature CLUSTERED)",
            {4, 4},
            {3, 4},
            "mdadm --grow --bitmap=none, while only one node has the array"},
    Feature{md1::feature_recovery_bitmap,
            "recovery-by-bitmap",
            "a member that came back is being filled by the bitmap (feature RECOVERY_BITMAP)",
            {3, 14},
            any_version,
            "let that recovery end, or mdtool fail takes the member out"},
    Feature{md1::feature_new_offset,
            "new-data-offset",
            "a reshape moves the start of the data (feature NEW_OFFSET)",
            {3, 5},
            {3, 3},
            "let the reshape end"},
    Feature{md1::feature_reshape_backwards,
            "reshape-backwards",
            "a reshape runs from high to low addresses (feature RESHAPE_BACKWARDS)",
            {3, 5},
            {3, 3},
            "let the reshape end"},
    Feature{md1::feature_replacement,
            "replacement",
            "a member is being replaced while it is still in use (feature REPLACEMENT)",
            {3, 3},
            {3, 3},
            "let the replacement end, or mdtool remove takes it out"},
    Feature{md1::feature_bad_blocks,
            "bad-blocks",
            "a bad block log that is not empty (feature BAD_BLOCKS)",
            {3, 1},
            {3, 3},
            "mdtool set --update=force-no-bbl forgets the list, and what was known to be bad is then taken as good"},
    Feature{md1::feature_recovery_offset,
            "recovery-offset",
            "a member is rebuilt in part (feature RECOVERY_OFFSET)",
            {2, 6, 18},
            first_mdadm,
            "let the recovery end"},
    Feature{md1::feature_reshape_active,
            "reshape",
            "a reshape is under way (feature RESHAPE_ACTIVE)",
            {2, 6, 17},
            {2, 4, 1},
            "let the reshape end"},
};

const Field* field(const Fields& fields, std::string_view name) {
  const auto found = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == name; });
  return found == fields.end() ? nullptr : &*found;
}

std::uint64_t number(const Fields& fields, std::string_view name) {
  const Field* f = field(fields, name);
  const auto* value = f == nullptr ? nullptr : std::get_if<std::uint64_t>(&f->value);
  return value == nullptr ? 0 : *value;
}

// What the members' superblocks say, all of them together: a kernel that refuses one member's does not take the array
// as it is.
struct Seen {
  std::uint32_t feature_map = 0;
  std::uint32_t logical_block_size = 0;
  bool padding = false;
  bool big_endian = false;
  std::vector<Sectors> data_sizes;  // rounded down to chunks
};

bool padding_is_set(const Fields& fields) {
  const Field* pad3 = field(fields, "pad3");
  const auto* digits = pad3 == nullptr ? nullptr : std::get_if<std::string>(&pad3->value);
  return number(fields, "pad0") != 0 || (digits != nullptr && digits->find_first_not_of('0') != std::string::npos);
}

Seen seen_on(const Assembly& array) {
  Seen seen;
  for (const Member& m : array.members) {
    if (m.candidate == nullptr || m.candidate->chosen() == nullptr) {
      continue;
    }
    const FoundSuperblock& superblock = *m.candidate->chosen();
    const MemberDescription& d = superblock.description;
    const Fields fields = superblock.metadata->fields();
    seen.feature_map |= static_cast<std::uint32_t>(number(fields, "feature_map"));
    seen.logical_block_size = std::max(seen.logical_block_size, d.logical_block_size);
    seen.padding = seen.padding || padding_is_set(fields);
    seen.big_endian = seen.big_endian || superblock.metadata->format().name() == md0::big_endian().name();
    if (!array.array().chunk.is_zero()) {
      seen.data_sizes.push_back(array.array().chunk * (d.data_size / array.array().chunk));
    }
  }
  return seen;
}

void add_metadata(const MemberDescription& d, const Seen& seen, std::vector<Requirement>& to) {
  const bool version_1 = d.metadata != "0.90";
  if (version_1) {
    const bool many = d.raid_disks > md0::max_disks;
    to.push_back({many ? "more-than-27-members" : "metadata-1",
                  many ? std::to_string(d.raid_disks) + " slots: version 0.90 metadata holds 27"
                       : "version " + d.metadata + " metadata",
                  {2, 6, 10},
                  first_mdadm,
                  ""});
  }
  if (seen.big_endian) {
    to.push_back({"big-endian",
                  "version 0.90 metadata of a big-endian machine: only the kernel of such a machine takes it",
                  any_version, first_mdadm, "mdtool set --update=byteorder"});
  }
  if (seen.logical_block_size != 0) {
    to.push_back({"logical-block-size",
                  "the array's logical block size is recorded (" + std::to_string(seen.logical_block_size) +
                      " bytes): kernels up to 6.18 take the field for a feature that they do not know",
                  {6, 19},
                  any_version,
                  "mdtool set --field logical_block_size=0"});
  }
}

void add_features(const Seen& seen, std::vector<Requirement>& to) {
  for (const Feature& f : features) {
    if ((seen.feature_map & f.bit) != 0) {
      to.push_back({std::string(f.id), std::string(f.what), f.kernel, f.mdadm, std::string(f.change)});
    }
  }
  if ((seen.feature_map & ~md1::feature_all) != 0 || seen.padding) {
    to.push_back({"unknown-features",
                  "feature bits or reserved bytes that Linux 7.2 refuses because it does not know them",
                  after_known_kernels, any_version, ""});
  }
}

std::string lockless_change(const MemberDescription& d) {
  const bool parity = d.level >= 4 && d.level <= 6;
  return parity ? "mdtool bitmap convert --bitmap=internal MEMBER...; chunks that never got their parity are due for a "
                  "resync then, unless mdtool build-parity MEMBER... has built it before"
                : "mdtool bitmap convert --bitmap=internal MEMBER...";
}

void add_bitmap(const Assembly& array, std::vector<Requirement>& to) {
  const BitmapView& view = array.bitmap;
  if (view.kind == bitmap::Kind::lockless) {
    to.push_back({"bitmap-lockless",
                  "a lockless bitmap (version 6); the kernel needs CONFIG_MD_LLBITMAP",
                  {6, 18},
                  {4, 6},
                  lockless_change(array.array())});
  } else if (view.kind == bitmap::Kind::classic) {
    const bool raid1 = array.array().level == 1;
    to.push_back({"bitmap-classic",
                  "a write-intent bitmap (version " + std::to_string(view.version) + ")",
                  raid1 ? SoftwareVersion{2, 6, 13} : SoftwareVersion{2, 6, 15},
                  {2, 2},
                  "mdtool set --update=no-bitmap; an unclean array is then resynchronised as a whole"});
  }
}

constexpr std::int32_t level_linear = -1;  // LEVEL_LINEAR in include/uapi/linux/raid/md_u.h

// Kernels 6.12 and 7.2 as Debian builds them lack it.
void add_level(const MemberDescription& d, std::vector<Requirement>& to) {
  if (d.level == level_linear) {
    to.push_back({"linear",
                  "level linear; the kernel needs CONFIG_MD_LINEAR, which Linux 6.8 took out and 6.14 brought back; "
                  "many kernels are built without it",
                  any_version, any_version, ""});
  }
}

constexpr std::uint32_t first_newer_layout = 4;          // ALGORITHM_PARITY_0 in drivers/md/raid5.h
constexpr std::uint32_t raid10_offset = 1U << 16;        // setup_geo() in drivers/md/raid10.c
constexpr std::uint32_t raid10_far_sets_old = 1U << 17;  // the same
constexpr std::uint32_t raid10_far_sets = 1U << 18;      // the same

void add_layout(const MemberDescription& d, std::vector<Requirement>& to) {
  if ((d.level == 5 || d.level == 6) && d.layout >= first_newer_layout) {
    to.push_back({"layout",
                  "layout " + std::to_string(d.layout) + " (parity on fixed slots, DDF's, or Q on a slot of its own)",
                  {2, 6, 30},
                  any_version,
                  "mdadm --grow --layout=left-symmetric, which moves all data"});
  }
  if (d.level == 10 && (d.layout & raid10_far_sets) != 0) {
    to.push_back({"raid10-far-sets", "RAID-10 copies in sets of slots", {4, 4}, any_version, ""});
  } else if (d.level == 10 && (d.layout & raid10_far_sets_old) != 0) {
    to.push_back({"raid10-far-sets", "RAID-10 copies in sets of slots, as first invented", {3, 9}, any_version, ""});
  } else if (d.level == 10 && (d.layout & raid10_offset) != 0) {
    to.push_back({"raid10-offset", "RAID-10 with offset copies", {2, 6, 18}, {2, 5}, "mdadm --grow --layout=n2"});
  }
}

// Of a RAID-0 whose members differ in size, where the kernels before 3.14 and those after it put what lies beyond the
// smallest member differently: raid0_run() and create_strip_zones() in drivers/md/raid0.c.
void add_raid0_zones(const MemberDescription& d, const Seen& seen, std::vector<Requirement>& to) {
  if (d.level != 0 || (seen.feature_map & md1::feature_raid0_layout) != 0 || seen.data_sizes.empty()) {
    return;
  }
  const Sectors smallest = *std::min_element(seen.data_sizes.begin(), seen.data_sizes.end());
  const auto beyond =
      std::count_if(seen.data_sizes.begin(), seen.data_sizes.end(), [&](Sectors s) { return s > smallest; });
  if (beyond > 1) {
    to.push_back({"raid0-layout-unspecified",
                  "members of different sizes and no layout recorded: kernels from 5.4 on refuse the array unless "
                  "raid0.default_layout is set",
                  any_version, any_version,
                  std::string(d.metadata == "0.90" ? "mdtool set --update=metadata, then " : "") +
                      "mdtool set --update=layout-original if it was written by kernels before 3.14, layout-alternate "
                      "if by later ones"});
  }
}

SoftwareVersion newest(const std::vector<Requirement>& requirements, SoftwareVersion Requirement::*version,
                       SoftwareVersion least) {
  for (const Requirement& r : requirements) {
    least = std::max(least, r.*version);
  }
  return least;
}

}  // namespace

std::string SoftwareVersion::text() const {
  return std::to_string(major) + "." + std::to_string(minor) + (patch == 0 ? "" : "." + std::to_string(patch));
}

Compatibility compatibility_of(const Assembly& array) {
  const MemberDescription& d = array.array();
  const Seen seen = seen_on(array);
  Compatibility result;
  add_features(seen, result.requirements);
  add_bitmap(array, result.requirements);
  add_level(d, result.requirements);
  add_layout(d, result.requirements);
  add_raid0_zones(d, seen, result.requirements);
  add_metadata(d, seen, result.requirements);
  std::stable_sort(result.requirements.begin(), result.requirements.end(),
                   [](const Requirement& a, const Requirement& b) {
                     return std::tie(a.kernel, a.mdadm) > std::tie(b.kernel, b.mdadm);
                   });
  result.oldest_kernel = newest(result.requirements, &Requirement::kernel, first_kernel);
  result.oldest_mdadm = newest(result.requirements, &Requirement::mdadm, first_mdadm);
  return result;
}

}  // namespace mdtool
