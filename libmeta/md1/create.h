// SPDX-License-Identifier: GPL-2.0-or-later
// The first version 1.x superblock of a member, as init_super1() and write_init_super1() of mdadm leave it. Chooses no
// size and no place; judges only whether a field can hold it.
#pragma once

#include <cstdint>
#include <memory>

#include "libmeta/new_array.h"

namespace mdtool::md1 {

// What mdadm leaves for a bitmap before the data, on a member or for a size like this (choose_bm_space()).
Sectors bitmap_space(Sectors size);

// Fails (usage) for a member too small for a superblock and for numbers that have no field.
Result<std::unique_ptr<Metadata>> create(const NewArray&, const NewArrayMember&, std::uint32_t minor_version);

}  // namespace mdtool::md1
