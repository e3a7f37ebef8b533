// SPDX-License-Identifier: GPL-2.0-or-later
// JSON for machines: the envelope that every command shares, and the parts that several commands show. The documents'
// shapes are those of schema/.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cli/command.h"
#include "libraid/array/array.h"
#include "libraid/assemble/account.h"
#include "libraid/assemble/assembly.h"

namespace mdtool::cli {

// The whole document of one run, one line feed at its end: ASCII only, whatever bytes are in it.
std::string json_document(std::string_view command, const Outcome& outcome);

std::string_view trust_name(Trust trust);
Json json_of(const Field& field);
Json json_of(const LocatedFinding& finding);
Json json_of(const BitmapView& view);
// An array's superblocks, members and bitmap as `examine` shows them.
Json json_of(const Assembly& array, const Account& account);
// What tells one array from another, for commands that work on one.
Json json_summary(const Assembly& array);
// [{"offset_bytes": ..., "length_bytes": ...}]
Json json_of(std::span<const SectorRange> ranges);

}  // namespace mdtool::cli
