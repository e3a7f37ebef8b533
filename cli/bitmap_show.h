// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool bitmap show, and map: what the write-intent bitmaps on these members say, in words or drawn. Writes to no
// member, and to no file but the one for the picture.
#pragma once

#include <string>

#include "cli/command.h"
#include "cli/members.h"
#include "cli/output_file.h"

namespace mdtool::cli {

struct Drawing {
  std::string copy;  // this member's own; empty: all together
  std::string svg;   // to this file too; empty: to none
  OutputFile::Existing existing = OutputFile::Existing::refuse;
};

// Of the array with this UUID, or all; and of files that are nothing but a bitmap.
Outcome show_bitmaps(const MemberSet& members, const std::optional<Uuid>& uuid);
Outcome draw_bitmaps(const MemberSet& members, const std::optional<Uuid>& uuid, const Drawing& drawing);

}  // namespace mdtool::cli
