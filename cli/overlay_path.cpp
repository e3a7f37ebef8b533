// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/overlay_path.h"

#include <algorithm>
#include <cstdlib>

namespace mdtool::cli {

namespace {

// The XDG base directory specification: a relative path is to be ignored.
Result<std::string> state_folder() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') {
    return std::string(state);
  }
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home == '/') {
    return std::string(home) + "/.local/state";
  }
  return Error{ErrorKind::usage, "no place for an overlay file: neither XDG_STATE_HOME nor HOME is set"};
}

}  // namespace

Result<std::string> overlay_path(const std::string& path, const Uuid& array) {
  if (!path.empty()) {
    return path;
  }
  TRY(folder, state_folder());
  std::string name = array.text();
  std::replace(name.begin(), name.end(), ':', '-');
  return folder + "/mdtool/overlay/" + name + ".overlay";
}

}  // namespace mdtool::cli
