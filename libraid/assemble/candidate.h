// SPDX-License-Identifier: GPL-2.0-or-later
// A device or image that may be a member of some array: its name, where to read it, every superblock on it.
// Judges nothing but single superblocks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libmeta/format.h"

namespace mdtool {

// A superblock as found, with what is wrong with it.
struct FoundSuperblock {
  std::unique_ptr<Metadata> metadata;
  MemberDescription description;
  Findings findings;
};

struct Candidate {
  std::string path;                  // as the user knows it: "m0.img", "disk.img@1048576+8388608"
  std::string identity;              // equal for two names of the same bytes; empty: unknown
  const Source* metadata = nullptr;  // reads past the page cache on devices
  const Source* data = nullptr;
  std::vector<FoundSuperblock> superblocks;  // the newest ctime first
  Findings findings;                         // about the member as a whole (several superblocks, unreadable areas)

  // The superblock that counts: as mdadm, the one created last.
  const FoundSuperblock* chosen() const { return superblocks.empty() ? nullptr : superblocks.data(); }
};

// Looks for every known format. Fails only if the member itself cannot be read.
Result<Candidate> inspect(std::string path, std::string identity, const Source& metadata, const Source& data);

}  // namespace mdtool
