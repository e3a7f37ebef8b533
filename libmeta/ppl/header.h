// SPDX-License-Identifier: GPL-2.0-or-later
// The header of a partial parity log (RAID-5): which stripes were being written on this member. Knows one header, not
// the ring of them nor how to replay it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "libmeta/field.h"
#include "libmeta/finding.h"
#include "libmeta/ondisk.h"
#include "libmeta/sectors.h"
#include "libmeta/uuid.h"

namespace mdtool::ppl {

constexpr std::size_t header_bytes = 4096;   // PPL_HEADER_SIZE
constexpr std::size_t reserved_bytes = 512;  // PPL_HDR_RESERVED
constexpr std::size_t max_entries = 148;     // PPL_HDR_MAX_ENTRIES

// struct ppl_header_entry.
struct Entry {
  le64 data_sector;  // first array sector of the write
  le32 pp_size;      // bytes of partial parity behind the header; 0 for full stripes
  le32 data_size;    // bytes written
  le32 parity_disk;  // the slot of this member
  le32 checksum;     // of the partial parity
};
static_assert(sizeof(Entry) == 24);

// struct ppl_header.
struct Header {
  std::array<unsigned char, reserved_bytes> reserved;  // 0xff, not checked
  le32 signature;                                      // standard CRC-32C of set_uuid
  le32 padding;
  le64 generation;  // 0 in an empty header
  le32 entries_count;
  le32 checksum;  // standard CRC-32C of the header with this field 0
  std::array<Entry, max_entries> entries;
  std::array<unsigned char, 8> rest;
};
static_assert(offsetof(Header, signature) == 512 && offsetof(Header, generation) == 520);
static_assert(offsetof(Header, checksum) == 532 && offsetof(Header, entries) == 536);
static_assert(sizeof(Header) == header_bytes);

// Fails only if there are fewer than 4096 bytes: a header has no magic, intact() judges it.
Result<Header> decode(std::span<const std::byte>);
std::vector<std::byte> encode(const Header&);
Fields fields(const Header&);

std::uint32_t expected_signature(const Uuid& set_uuid);
std::uint32_t expected_checksum(const Header&);
// Checksum and signature are right: the kernel would take it for a header of this array.
bool intact(const Header&, const Uuid& set_uuid);
// entries_count, bounded by what fits.
std::span<const Entry> entries(const Header&);
// It names stripes: the array's parity there is not to be trusted before a replay, unless it was stopped cleanly.
inline bool holds_content(const Header& header) {
  return header.entries_count != 0;
}

struct Expected {
  Uuid set_uuid;
  std::uint32_t slot = 0;        // this member's
  std::uint64_t room_bytes = 0;  // from the header's start to the end of the area
};
Findings verify(const Header&, const Expected&);

}  // namespace mdtool::ppl
