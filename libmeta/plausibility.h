// SPDX-License-Identifier: GPL-2.0-or-later
// Judgements that are the same for every format: a geometry that md cannot have, areas of a member that overlap or lie
// outside of it. Knows descriptions, no bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libmeta/description.h"
#include "libmeta/finding.h"

namespace mdtool {

// The highest raid_disks that any md superblock can describe: the roles that fit into 4096 bytes of a 1.x one.
constexpr std::uint32_t raid_disks_limit = 1920;

// Level, layout, chunk and raid_disks, as the kernel's personalities judge them when an array is started.
Findings judge_geometry(const MemberDescription&);

// Each area against the member's end and against each other. An area of length 0 is a point: it may lie between two
// others, not inside of one.
Findings judge_areas(const std::vector<Area>&, std::uint64_t member_bytes);

// Problems with these effects: `text` says what is there and what was expected, what follows is added to it.
Finding stops_writing(std::string id, std::string field, std::string text);
Finding refuses_member(std::string id, std::string field, std::string text);
Finding refuses_array(std::string id, std::string field, std::string text);

}  // namespace mdtool
