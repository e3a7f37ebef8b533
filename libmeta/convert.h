// SPDX-License-Identifier: GPL-2.0-or-later
// Superblocks that mdadm's --update makes of others: another format, another byte order, logs placed or given up, the
// member's size taken anew. Each gives the superblock alone: what else belongs to it (a log's bytes, the old
// superblock) is the caller's, and so is that all members of an array change together.
#pragma once

#include <cstdint>
#include <memory>

#include "libmeta/format.h"

namespace mdtool {

// --update=metadata: a 1.0 superblock for a member that has a 0.90 one, which stays valid where it is; ctime is one
// second later, so that the new one is preferred. Events begin at 0: a member that is not up to date must not be
// converted. Refused where the array is not clean, has a bitmap or is being reshaped.
Result<std::unique_ptr<Metadata>> to_version_1_0(const Metadata&, std::uint64_t member_bytes, const Uuid& device_uuid);

// A 0.90 superblock as a machine of the other byte order writes it, at the same place (--update=byteorder).
Result<std::unique_ptr<Metadata>> in_other_byte_order(const Metadata&, std::uint64_t member_bytes);

// --update=bbl: place for a bad-block log; the identity where there is one. Empty as long as feature BAD_BLOCKS is
// clear: then no byte of it is read. `bitmap_sectors`: how long an internal bitmap is, by its own header. Refused
// without room. A log never reaches into the data, as mdadm's own can by 8 sectors where a 1.2 member has no head room.
Result<std::unique_ptr<Metadata>> with_bad_block_log(const Metadata&, std::uint64_t bitmap_sectors);

// --update=no-bbl, force-no-bbl: no log. Refused where it lists blocks that are not to be forgotten.
enum class ListedBlocks { refuse, forget };
Result<std::unique_ptr<Metadata>> without_bad_block_log(const Metadata&, ListedBlocks);

// --update=devicesize: data_size reaches to the end of a member of this size. Identity for 1.0, where the superblock
// limits it.
Result<std::unique_ptr<Metadata>> with_whole_member(const Metadata&, std::uint64_t member_bytes);

// An internal bitmap begins so many sectors from the superblock (0.90: 8, nothing else), or there is none. Its bytes
// are the caller's.
Result<std::unique_ptr<Metadata>> with_bitmap_at(const Metadata&, std::int32_t offset_sectors);
Result<std::unique_ptr<Metadata>> without_bitmap(const Metadata&);

// --update=no-ppl: the feature ends; its area stays as it is.
Result<std::unique_ptr<Metadata>> without_ppl(const Metadata&);

}  // namespace mdtool
