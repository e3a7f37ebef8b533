// SPDX-License-Identifier: GPL-2.0-or-later
// What resync and build-parity have in common as verbs: a maintenance plan, and what a run of it did.
#pragma once

#include "cli/array_command.h"
#include "libraid/assemble/maintenance.h"

namespace mdtool::cli {

class MaintenanceCommand : public ArrayCommand {
 protected:
  virtual MaintenanceTask task() const = 0;
  // The exit status of a run that did all that was due.
  virtual int exit_when_done() const = 0;

 private:
  Result<std::unique_ptr<ArrayJob>> plan(const Assembly& array) const override;
};

}  // namespace mdtool::cli
