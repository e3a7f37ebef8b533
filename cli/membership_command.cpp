// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/membership_command.h"

#include <sys/random.h>

#include <ctime>

namespace mdtool::cli {

namespace {

Result<EditClock> clock_now() {
  EditClock clock;
  clock.now_seconds = static_cast<std::uint64_t>(std::time(nullptr));
  if (::getrandom(clock.fresh_uuid.bytes.data(), clock.fresh_uuid.bytes.size(), 0) !=
      static_cast<ssize_t>(clock.fresh_uuid.bytes.size())) {
    return io_error("random bytes for a device UUID", errno);
  }
  return clock;
}

}  // namespace

void MembershipCommand::set_up(Options& app) {
  EditCommand::set_up(app);
  add_target_option(app, target_description());
}

MembershipForces MembershipCommand::forced() const {
  MembershipForces forced;
  forced.split_brain = forces("split-brain");
  forced.slot_history = forces("slot-history");
  forced.bitmap = forces("bitmap");
  forced.old_content = forces("old-content");
  forced.stale_content = forces("stale-content");
  forced.too_few = forces("too-few");
  forced.dirty_degraded = forces("dirty-degraded");
  return forced;
}

Result<EditPlan> MembershipCommand::plan(const MemberSet& members) const {
  TRY(array, this->array(members));
  TRY(targets, this->targets(members));
  if (targets.empty() && target() == Target::required) {
    return Error{ErrorKind::usage, "which member is meant? --target MEMBER, one of those given"};
  }
  TRY(clock, clock_now());
  return edit_plan(members, array, targets, clock);
}

}  // namespace mdtool::cli
