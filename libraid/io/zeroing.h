// SPDX-License-Identifier: GPL-2.0-or-later
// How a device or file can be zeroed so that zeroes are promised, and how fast that is likely to be: what the kernel
// says in sysfs, or the kind of file system. Writes nothing to any member. Discard promises no zeroes and is not here.
#pragma once

#include <cstdint>
#include <string>

#include "libraid/io/file.h"
#include "libraid/io/system_paths.h"

namespace mdtool {

struct ZeroAbility {
  ZeroMethod method = ZeroMethod::write;  // what automatic means here, or the one that was asked for; never automatic
  bool fast = false;                      // no zero goes over the wire
  std::string why;                        // a clause for people, with the attribute that says so
};

// Fails (refused) where the method does not exist for this device or promises no zeroes.
Result<ZeroAbility> zero_ability(const FileDevice& device, ZeroMethod wanted, const SystemPaths& system = {});
Result<ZeroAbility> zero_ability_of_device(const FileIdentity& block_device, ZeroMethod wanted,
                                           const SystemPaths& system);
// By statfs()'s f_type.
Result<ZeroAbility> zero_ability_of_file(std::uint64_t file_system, ZeroMethod wanted);

// From now on this device zeroes by that method; by automatic, also by a dearer one where the kernel refuses it.
Status zero_by(FileDevice& device, ZeroMethod wanted, const SystemPaths& system = {});

}  // namespace mdtool
