// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/watched_run.h"

namespace mdtool::cli {

WatchedRun::WatchedRun(const Surroundings& around, const std::string& verb, std::uint64_t total_bytes)
    : around_(around) {
  run_.stop = stop_.get_token();
  run_.progress = [this](const mdtool::Progress& p) {
    around_.progress->update(p.done_bytes);
    if (around_.interrupted()) {
      stop_.request_stop();
    }
  };
  around_.progress->begin(verb, total_bytes);
}

WatchedRun::~WatchedRun() {
  around_.progress->end();
}

}  // namespace mdtool::cli
