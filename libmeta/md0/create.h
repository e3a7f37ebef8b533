// SPDX-License-Identifier: GPL-2.0-or-later
// The first version 0.90 superblock of a member, as init_super0() and add_to_super0() of mdadm leave it, little-endian.
// Chooses no size; judges only whether a field can hold it. Device numbers are left to the kernel, which writes its
// own.
#pragma once

#include <cstdint>
#include <memory>

#include "libmeta/new_array.h"

namespace mdtool::md0 {

constexpr std::uint64_t bitmap_bytes = std::uint64_t{60} << 10;  // behind the superblock, all of them mdadm's bitmap

// Fails (usage) for a member too small for a superblock and for numbers that have no field.
Result<std::unique_ptr<Metadata>> create(const NewArray&, const NewArrayMember&);

}  // namespace mdtool::md0
