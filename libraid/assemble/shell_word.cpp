// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/shell_word.h"

#include <algorithm>
#include <string_view>

namespace mdtool {

namespace {

bool needs_no_quotes(char c) {
  constexpr std::string_view plain = "@%+=:,./_-";
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         plain.find(c) != std::string_view::npos;
}

}  // namespace

std::string quoted(const std::string& path) {
  if (!path.empty() && std::all_of(path.begin(), path.end(), needs_no_quotes) && path.front() != '-') {
    return path;
  }
  std::string text = path.starts_with('-') ? "'./" : "'";
  for (char c : path) {
    text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return text + "'";
}

}  // namespace mdtool
