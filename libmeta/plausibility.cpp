// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/plausibility.h"

#include <algorithm>
#include <array>
#include <bit>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "libmeta/source.h"

namespace mdtool {
namespace {

constexpr std::array<std::int32_t, 7> known_levels{-1, 0, 1, 4, 5, 6, 10};
constexpr std::array<std::uint32_t, 6> raid5_layouts{0, 1, 2, 3, 4, 5};
constexpr std::array<std::uint32_t, 14> raid6_layouts{0, 1, 2, 3, 4, 5, 8, 9, 10, 16, 17, 18, 19, 20};
constexpr Sectors page{8};  // RAID5_STRIPE_SECTORS, and the smallest chunk of levels 4, 5, 6 and 10

bool contains(std::span<const std::uint32_t> codes, std::uint32_t code) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

// setup_geo() in drivers/md/raid10.c.
bool raid10_layout_possible(std::uint32_t layout, std::uint32_t raid_disks) {
  const std::uint32_t near = layout & 0xff;
  const std::uint32_t far = (layout >> 8) & 0xff;
  const std::uint32_t far_sets = layout >> 17;
  const std::uint32_t copies = near * far;
  return far_sets <= 2 && copies >= 2 && copies <= raid_disks;
}

bool layout_possible(const MemberDescription& d) {
  switch (d.level) {
    case 5:
      return contains(raid5_layouts, d.layout);
    case 6:
      return contains(raid6_layouts, d.layout);
    case 10:
      return raid10_layout_possible(d.layout, d.raid_disks);
    default:
      return true;  // ignored by md, or (level 0) checked with its feature bit
  }
}

bool chunk_possible(const MemberDescription& d) {
  switch (d.level) {
    case 0:
      return !d.chunk.is_zero();
    case 4:
    case 5:
    case 6:
    case 10:
      return d.chunk >= page && std::has_single_bit(d.chunk.count());
    default:
      return true;
  }
}

std::uint32_t fewest_disks(std::int32_t level) {
  switch (level) {
    case 6:
      return 4;
    case 4:
    case 5:
      return 2;
    default:
      return 1;
  }
}

bool overlap(const Area& a, const Area& b) {
  if (a.offset_bytes > b.offset_bytes) {
    return overlap(b, a);
  }
  const std::uint64_t distance = b.offset_bytes - a.offset_bytes;
  return distance < a.length_bytes || (distance == 0 && b.length_bytes != 0);
}

std::string placed(const Area& area) {
  std::string text = "the " + area.name + " at byte " + std::to_string(area.offset_bytes);
  return area.length_bytes == 0 ? text : text + " (" + std::to_string(area.length_bytes) + " bytes)";
}

Finding problem(std::string id, std::string field, std::string text, std::string_view consequence, Effect effect) {
  return {Severity::problem, std::move(id), std::move(field), std::move(text).append(consequence), effect};
}

}  // namespace

Finding stops_writing(std::string id, std::string field, std::string text) {
  return problem(std::move(id), std::move(field), std::move(text), "; this member will not be written",
                 Effect::stops_writing);
}

Finding refuses_member(std::string id, std::string field, std::string text) {
  return problem(std::move(id), std::move(field), std::move(text), "; the kernel refuses this member",
                 Effect::refuses_member);
}

Finding refuses_array(std::string id, std::string field, std::string text) {
  return problem(std::move(id), std::move(field), std::move(text), "; the kernel would not start the array",
                 Effect::refuses_array);
}

Findings judge_geometry(const MemberDescription& d) {
  Findings findings;
  const std::string level = std::to_string(d.level);
  if (std::find(known_levels.begin(), known_levels.end(), d.level) == known_levels.end()) {
    findings.push_back(refuses_array("level", "level", "level " + level + " is none of -1, 0, 1, 4, 5, 6 and 10"));
  }
  if (d.raid_disks < fewest_disks(d.level) || d.raid_disks > raid_disks_limit) {
    findings.push_back(refuses_array("raid-disks", "raid_disks",
                                     std::to_string(d.raid_disks) + " slots are not possible for level " + level));
  }
  if (!layout_possible(d)) {
    findings.push_back(refuses_array("layout", "layout",
                                     "layout " + std::to_string(d.layout) + " does not exist for level " + level +
                                         " with " + std::to_string(d.raid_disks) + " slots"));
  }
  if (!chunk_possible(d)) {
    const std::string wanted = d.level == 0 ? "not be 0" : "be a power of two of at least 8 sectors";
    findings.push_back(refuses_array(
        "chunk", "chunksize",
        "a chunk of " + std::to_string(d.chunk.count()) + " sectors: for level " + level + " it must " + wanted));
  }
  return findings;
}

Findings judge_areas(const std::vector<Area>& areas, std::uint64_t member_bytes) {
  Findings findings;
  for (std::size_t i = 0; i < areas.size(); ++i) {
    if (!fits(areas[i].offset_bytes, areas[i].length_bytes, member_bytes)) {
      findings.push_back(stops_writing(
          "area-beyond-member", "",
          placed(areas[i]) + " does not fit into the member of " + std::to_string(member_bytes) + " bytes"));
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (overlap(areas[j], areas[i])) {
        findings.push_back(
            stops_writing("areas-overlap", "", placed(areas[j]) + " and " + placed(areas[i]) + " overlap"));
      }
    }
  }
  return findings;
}

}  // namespace mdtool
