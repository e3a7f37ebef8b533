// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <array>
#include <utility>

#include "libraid/assemble/account_parts.h"

namespace mdtool {

namespace {

constexpr std::size_t most_names = 8;

}  // namespace

std::string size_text(std::uint64_t bytes) {
  constexpr std::array<const char*, 7> units{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  std::uint64_t scale = 1;
  while (unit + 1 < units.size() && bytes / scale >= 1024) {
    scale *= 1024;
    ++unit;
  }
  const std::uint64_t tenths_scale = std::max<std::uint64_t>(scale / 10, 1);
  const std::uint64_t whole = bytes / scale;
  const std::uint64_t rest = bytes % scale;
  std::uint64_t tenths = scale == 1 ? 0 : (rest + tenths_scale - 1) / tenths_scale;
  tenths = rest == 0 ? 0 : tenths;
  if (tenths >= 10) {
    return std::to_string(whole + 1) + " " + units[unit];
  }
  return std::to_string(whole) + (tenths == 0 ? "" : "." + std::to_string(tenths)) + " " + units[unit];
}

std::string duration_text(std::uint64_t seconds) {
  constexpr std::array<std::pair<std::uint64_t, const char*>, 4> units{
      {{86400, " days"}, {3600, " h"}, {60, " min"}, {1, " s"}}};
  for (std::size_t i = 0; i < units.size(); ++i) {
    const auto& [scale, name] = units[i];
    if (seconds < scale && i + 1 < units.size()) {
      continue;
    }
    std::string text = std::to_string(seconds / scale) + (i == 0 && seconds / scale == 1 ? " day" : name);
    if (i + 1 < units.size() && seconds % scale >= units[i + 1].first) {
      text += " " + std::to_string(seconds % scale / units[i + 1].first) + units[i + 1].second;
    }
    return text;
  }
  return "";
}

std::string names_text(const Assembly& array, std::span<const std::size_t> members) {
  std::string text;
  const std::size_t shown = members.size() > most_names + 1 ? most_names : members.size();
  for (std::size_t i = 0; i < shown; ++i) {
    text += (i == 0 ? "" : i + 1 == members.size() ? " and " : ", ") + array.members[members[i]].candidate->path;
  }
  return shown == members.size() ? text : text + " and " + std::to_string(members.size() - shown) + " more";
}

std::string slots_text(std::span<const std::uint32_t> slots) {
  std::string text;
  for (std::size_t i = 0; i < slots.size() && i < 2 * most_names; ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(slots[i]);
  }
  return slots.size() > 2 * most_names ? text + ", ..." : text;
}

std::string arguments_text(const Assembly& array, std::span<const std::size_t> members, std::string_view before) {
  std::string text;
  for (std::size_t i : members) {
    text += before.empty() ? " " : " " + std::string(before) + " ";
    text += quoted(array.members[i].candidate->path);
  }
  return text;
}

std::vector<std::size_t> all_members(const Assembly& array) {
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < array.members.size(); ++i) {
    if (array.members[i].candidate != nullptr) {
      all.push_back(i);
    }
  }
  return all;
}

}  // namespace mdtool
