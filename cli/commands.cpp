// SPDX-License-Identifier: GPL-2.0-or-later
// The one table of verbs.
#include <array>

#include "cli/command.h"

namespace mdtool::cli {

std::span<const CommandRow> commands() {
  static constexpr std::array rows{
      CommandRow{"examine", "Show superblocks, bitmaps and logs, and what each array can do", make_examine},
      CommandRow{"assemble", "Serve an array as one file, or as a loop device", make_assemble},
      CommandRow{"copy", "Copy an array's content to a file", make_copy},
      CommandRow{"stop", "Stop serving an array", make_stop},
      CommandRow{"resync", "Bring parity in step where the bitmap or an unclean stop says so", make_resync},
      CommandRow{"build-parity", "Build parity ahead of the first write to a region", make_build_parity},
      CommandRow{"recover", "Fill members that are being rebuilt, whole or as the bitmap says", make_recover},
      CommandRow{"create", "Make a new array on files or devices", make_create},
      CommandRow{"zero-init", "Zero all data of a new array, so that its parity is right", make_zero_init},
      CommandRow{"bitmap", "Show, draw, check, add, remove, convert or repair a bitmap", make_bitmap},
      CommandRow{"set", "Change superblock fields, slots, and what mdadm calls updates", make_set},
      CommandRow{"add", "Make a device a member: a spare, or the holder of a slot", make_add},
      CommandRow{"remove", "End the entry of a spare, faulty or stale member", make_remove},
      CommandRow{"fail", "Mark a member faulty in the others' view", make_fail},
      CommandRow{"re-add", "Take a member back, to be filled with what it missed", make_re_add},
      CommandRow{"force", "Take stale members along so that the array can start", make_force},
      CommandRow{"erase", "Take superblocks off a member", make_erase},
      CommandRow{"overlay", "Show, commit or discard what was written above an array", make_overlay},
      CommandRow{"dump", "Save all metadata of the members to one file", make_dump},
      CommandRow{"restore", "Put dumped metadata back, or make images of it", make_restore},
      CommandRow{"undo", "Put metadata back as it was before a run of mdtool", make_undo},
  };
  return rows;
}

}  // namespace mdtool::cli
