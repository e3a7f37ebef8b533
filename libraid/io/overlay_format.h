// SPDX-License-Identifier: GPL-2.0-or-later
// The overlay file as it lies on disk: what it says of its members, where each written block is, and the record of a
// commit. Any bytes are refused or give contents that hold together. Knows bytes and places, not what they mean.
//
// Head | commit head | member table | groups of one index page and the blocks that its entries speak of | commit
// record. A block's place follows from its entry's number alone: no offset in the file leads anywhere.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libmeta/ondisk.h"
#include "libmeta/source.h"
#include "libraid/io/overlay_index.h"

namespace mdtool {

// Bytes of a member that must be what they were when the overlay was made.
struct BoundBytes {
  std::string name;  // "superblock", "bitmap header"
  std::uint64_t offset_bytes = 0;
  std::vector<std::byte> bytes;
};

struct OverlayMember {
  std::string path;      // when the overlay was made
  std::string identity;  // the caller's: by what it knows this member again
  std::uint64_t size_bytes = 0;
  std::vector<BoundBytes> binding;
};

// Metadata that a commit writes to a member; stages in order, patches of a stage in order.
struct OverlayPatch {
  std::uint32_t stage = 0;
  std::uint32_t member = 0;
  std::uint64_t offset_bytes = 0;
  std::vector<std::byte> bytes;
};

// What a commit writes beside the data, recorded before it writes anything: so that it can be finished after a cut.
struct OverlayCommit {
  std::uint32_t stages_before_data = 0;
  std::vector<OverlayPatch> patches;  // by stage
};

struct OverlayContents {
  std::vector<OverlayMember> members;
  OverlayIndex index;
  std::uint64_t pages = 0;  // index pages that count
  std::optional<OverlayCommit> commit;
};

namespace overlay_disk {

constexpr std::uint32_t format_version = 1;
constexpr std::size_t page_bytes = 4096;
constexpr std::uint64_t commit_head_offset = 512;
constexpr std::uint64_t table_offset = page_bytes;
constexpr std::uint64_t most_table_bytes = 12U << 20;
constexpr std::uint64_t most_commit_bytes = 28U << 20;
constexpr std::array<char, 8> head_magic = {'m', 'd', 't', 'l', 'o', 'v', 'e', 'r'};
constexpr std::array<char, 8> commit_magic = {'m', 'd', 't', 'l', 'o', 'v', 'c', 'm'};
constexpr std::array<char, 8> page_magic = {'m', 'd', 't', 'l', 'o', 'v', 'p', 'g'};

struct Head {
  std::array<char, 8> magic;
  le32 version;
  le32 block_bytes;
  le32 member_count;
  le32 table_bytes;
  le32 table_check;  // CRC-32C of the member table
  std::array<unsigned char, 480> reserved;
  le32 check;  // CRC-32C of everything before it
};
static_assert(sizeof(Head) == 512);

// Written once, in one sector, when the record is durable.
struct CommitHead {
  std::array<char, 8> magic;
  le64 offset;  // of the record
  le64 length;
  le32 record_check;
  std::array<unsigned char, 480> reserved;
  le32 check;
};
static_assert(sizeof(CommitHead) == 512);

// The first of a page's records.
struct PageHead {
  std::array<char, 8> magic;
  le64 number;
  std::array<unsigned char, 12> reserved;
  le32 check;
};

// All zero: no block. Sixteen records fill a sector, so that each is written whole or not at all.
struct Entry {
  le64 block;
  le64 valid;
  le64 zeroed;
  le32 member;
  le32 check;  // CRC-32C of the entry's number (le64) and everything before
};
static_assert(sizeof(PageHead) == 32 && sizeof(Entry) == 32);

constexpr std::uint64_t entries_each = page_bytes / sizeof(Entry) - 1;
constexpr std::uint64_t group_bytes = page_bytes + entries_each * overlay_block_bytes;

// Where the groups begin behind a table of this length.
std::uint64_t groups_offset(std::uint64_t table_bytes);
constexpr std::uint64_t page_offset(std::uint64_t groups, std::uint64_t page) {
  return groups + page * group_bytes;
}
constexpr std::uint64_t block_offset(std::uint64_t groups, std::uint64_t entry) {
  return page_offset(groups, entry / entries_each) + page_bytes + entry % entries_each * overlay_block_bytes;
}

Head make_head(std::span<const OverlayMember> members, std::span<const std::byte> table);
CommitHead make_commit_head(std::uint64_t offset, std::span<const std::byte> record);
PageHead make_page_head(std::uint64_t number);
Entry make_entry(std::uint64_t number, const OverlayBlock& block);

}  // namespace overlay_disk

std::vector<std::byte> encode_overlay_members(std::span<const OverlayMember> members);
std::vector<std::byte> encode_overlay_commit(const OverlayCommit& commit);

// The whole file, apart from the blocks' bytes. Refused (format) where anything does not fit together.
Result<OverlayContents> read_overlay(const Source& file);

}  // namespace mdtool
