// SPDX-License-Identifier: GPL-2.0-or-later
#include <array>
#include <span>
#include <string_view>

#include "libraid/geometry/layout.h"

namespace mdtool {
namespace {

struct Name {
  std::int64_t code;
  std::string_view text;
};

constexpr std::array level_names{
    Name{-5, "faulty"}, Name{-4, "multipath"}, Name{-1, "linear"}, Name{0, "raid0"},   Name{1, "raid1"},
    Name{4, "raid4"},   Name{5, "raid5"},      Name{6, "raid6"},   Name{10, "raid10"},
};

constexpr std::array raid0_names{Name{1, "original"}, Name{2, "alternate"}};

// The first six of these are RAID-5's too.
constexpr std::array raid6_names{
    Name{0, "left-asymmetric"},    Name{1, "right-asymmetric"},    Name{2, "left-symmetric"},
    Name{3, "right-symmetric"},    Name{4, "parity-first"},        Name{5, "parity-last"},
    Name{8, "ddf-zero-restart"},   Name{9, "ddf-N-restart"},       Name{10, "ddf-N-continue"},
    Name{16, "left-asymmetric-6"}, Name{17, "right-asymmetric-6"}, Name{18, "left-symmetric-6"},
    Name{19, "right-symmetric-6"}, Name{20, "parity-first-6"},
};
constexpr std::size_t raid5_layouts = 6;

// setup_geo() in drivers/md/raid10.c
constexpr std::uint32_t raid10_offset = 1U << 16;
constexpr std::uint32_t raid10_far_sets_old = 1U << 17;
constexpr std::uint32_t raid10_far_sets = 1U << 18;
constexpr std::uint32_t raid10_known_bits = (1U << 19) - 1;

std::optional<std::string> find(std::span<const Name> names, std::int64_t code) {
  for (const Name& name : names) {
    if (name.code == code) {
      return std::string(name.text);
    }
  }
  return std::nullopt;
}

std::optional<std::string> raid10_name(std::uint32_t layout) {
  const std::uint32_t near_copies = layout & 0xff;
  const std::uint32_t far_copies = (layout >> 8) & 0xff;
  const bool both_sets = (layout & raid10_far_sets_old) != 0 && (layout & raid10_far_sets) != 0;
  if (near_copies == 0 || far_copies == 0 || (layout & ~raid10_known_bits) != 0 || both_sets) {
    return std::nullopt;
  }
  std::string name;
  if (near_copies > 1 || far_copies == 1) {
    name = "near=" + std::to_string(near_copies);
  }
  if (far_copies > 1) {
    name += name.empty() ? "" : ", ";
    name += (layout & raid10_offset) != 0 ? "offset=" : "far=";
    name += std::to_string(far_copies);
  }
  return name;
}

}  // namespace

std::optional<std::string> layout_name(std::int32_t level, std::uint32_t layout) {
  switch (level) {
    case 0:
      return find(raid0_names, layout);
    case 5:
      return find(std::span(raid6_names).first(raid5_layouts), layout);
    case 6:
      return find(raid6_names, layout);
    case 10:
      return raid10_name(layout);
    default:
      return std::nullopt;
  }
}

std::optional<std::string> level_name(std::int32_t level) {
  return find(level_names, level);
}

}  // namespace mdtool
