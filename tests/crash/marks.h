// SPDX-License-Identifier: GPL-2.0-or-later
// Whether what the members' metadata says covers what is wrong with their parity: read from the bytes, as a kernel that
// trusts any one copy would.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/crash/array_spec.h"
#include "tests/crash/oracle.h"

namespace mdtool::crash {

// What is wrong; none: all is well.
using Complaint = std::optional<std::string>;

// By row: not 0 where parity does not agree with the data.
using WrongRows = std::vector<std::uint8_t>;

// What the superblock that speaks for the array says, and whose members' data counts.
struct ArrayMark {
  std::uint64_t events = 0;
  bool clean = false;
  std::uint64_t resync_offset = 0;  // sectors
  std::vector<std::uint32_t> in_sync;
};

// How many members have a superblock whose checksum is wrong.
std::uint32_t torn_superblocks(const ArraySpec&, const std::vector<Image>&, std::uint64_t absent);
// Every row with wrong parity is called due by every copy, or was never promised.
Complaint check_marked(const ArraySpec&, const std::vector<Image>&, const ArrayMark&, const WrongRows&);
// No chunk that holds users' data is called unwritten: a rebuild would pass it over.
Complaint check_written(const ArraySpec&, const std::vector<Image>&, const ArrayMark&,
                        std::span<const Oracle::Allowed>);
// Every chunk of these sectors, which a missing member lacks, is still marked for it.
Complaint check_kept(const ArraySpec&, const std::vector<Image>&, const ArrayMark&,
                     std::span<const std::uint64_t> sectors);
// Clean, with nothing due, and parity right wherever it is promised.
Complaint check_synchronised(const ArraySpec&, const std::vector<Image>&, const ArrayMark&, const WrongRows&);

}  // namespace mdtool::crash
