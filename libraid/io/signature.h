// SPDX-License-Identifier: GPL-2.0-or-later
// What else a device or a part of it holds, through libblkid: a file system, a partition table, another kind of RAID.
// Names it; says nothing about md's own superblocks, which are found elsewhere.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libraid/io/file.h"

namespace mdtool {

// "ext4 (filesystem)", "gpt (partition table)", ...; empty where nothing is known of it.
Result<std::vector<std::string>> signatures(const FileDevice& device, std::uint64_t offset_bytes,
                                            std::uint64_t size_bytes);
// Of what is no file, such as an array that nothing has started: by what lies near both ends.
Result<std::vector<std::string>> signatures(const Source& source, const std::string& name);

}  // namespace mdtool
