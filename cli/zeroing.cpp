// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/zeroing.h"

#include <algorithm>
#include <array>
#include <utility>

#include "cli/output_text.h"

namespace mdtool::cli {

namespace {

constexpr std::array<std::pair<std::string_view, ZeroMethod>, 4> methods{{{"auto", ZeroMethod::automatic},
                                                                          {"zeroout", ZeroMethod::zeroout},
                                                                          {"unmap", ZeroMethod::unmap},
                                                                          {"write", ZeroMethod::write}}};

std::string_view word_of(ZeroMethod method) {
  return std::find_if(methods.begin(), methods.end(), [method](const auto& m) { return m.second == method; })->first;
}

bool alike(const ZeroAbility& a, const ZeroAbility& b) {
  return a.method == b.method && a.fast == b.fast && a.why == b.why;
}

// "PATH, PATH: WHY" for those of the members for which `chosen` holds, one sentence for all that are alike.
template <typename Chosen>
std::vector<std::string> grouped(std::span<const MemberZeroing> members, Chosen chosen) {
  std::vector<std::pair<const ZeroAbility*, std::string>> groups;
  for (const MemberZeroing& m : members) {
    if (!chosen(m.ability)) {
      continue;
    }
    const std::string path = printable(m.path, terminal_charset());
    const auto group =
        std::find_if(groups.begin(), groups.end(), [&m](const auto& g) { return alike(*g.first, m.ability); });
    if (group == groups.end()) {
      groups.emplace_back(&m.ability, path);
    } else {
      group->second += ", " + path;
    }
  }
  std::vector<std::string> sentences;
  for (const auto& [ability, paths] : groups) {
    sentences.push_back(paths + ": zeroed by " + std::string(word_of(ability->method)) +
                        (ability->fast ? ", fast (" : ", SLOW (") + ability->why + ")");
  }
  return sentences;
}

}  // namespace

std::vector<std::string> zero_method_words() {
  std::vector<std::string> words;
  for (const auto& [word, method] : methods) {
    words.emplace_back(word);
  }
  return words;
}

ZeroMethod zero_method_of(std::string_view word) {
  const auto known = std::find_if(methods.begin(), methods.end(), [word](const auto& m) { return m.first == word; });
  return known == methods.end() ? ZeroMethod::automatic : known->second;
}

Result<MemberZeroing> look_at_zeroing(const std::string& path, const Origin& origin, ZeroMethod wanted) {
  TRY(device, FileDevice::open(origin.file, Access::read_only));
  if (device->identity() != origin.identity) {
    return Error{ErrorKind::refused, path + ": no longer the device that was examined; nothing was written"};
  }
  TRY(ability, zero_ability(*device, wanted).in(path));
  return MemberZeroing{path, std::move(ability)};
}

Status refuse_slow(std::span<const MemberZeroing> members, std::string_view override_words) {
  std::string text;
  for (const std::string& slow : grouped(members, [](const ZeroAbility& a) { return !a.fast; })) {
    text += (text.empty() ? "" : "; ") + slow;
  }
  if (text.empty()) {
    return Done{};
  }
  return Error{ErrorKind::refused,
               text + ". Every byte would be written; " + std::string(override_words) + " goes on all the same"};
}

Json zeroing_json(std::span<const MemberZeroing> members) {
  Json list = Json::array();
  for (const MemberZeroing& m : members) {
    list.push_back(
        {{"path", m.path}, {"method", word_of(m.ability.method)}, {"fast", m.ability.fast}, {"why", m.ability.why}});
  }
  return list;
}

std::vector<std::string> zeroing_steps(std::span<const MemberZeroing> members) {
  return grouped(members, [](const ZeroAbility&) { return true; });
}

}  // namespace mdtool::cli
