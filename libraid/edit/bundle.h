// SPDX-License-Identifier: GPL-2.0-or-later
// What of a member is metadata and belongs into a dump: every superblock, and the bitmap, bad-block log and PPL that
// they point at. Data never does, nor does what a journal device holds behind its superblock.
#pragma once

#include <memory>
#include <vector>

#include "libmeta/bitmap/header.h"
#include "libmeta/source.h"
#include "libraid/assemble/candidate.h"
#include "libraid/edit/bundle_format.h"

namespace mdtool {

// Where a bitmap's bits or states are, from its start: by its own header and by the superblock's sizes, whichever is
// more. Both at the header's end where the header cannot be used.
struct BitmapContent {
  std::uint64_t begin_bytes = bitmap::header_bytes;
  std::uint64_t end_bytes = bitmap::header_bytes;
};
BitmapContent bitmap_content(const bitmap::Header& header, const MemberDescription& description);

// How many bytes of the member belong to its bitmap: whole sectors. One page where its header cannot be used; 0 without
// a bitmap.
std::uint64_t bitmap_used_bytes(const MemberDescription& description, const Source& member);

// Where a member's metadata is, by its superblocks: in order, cut where what matters more lies over it, and none
// beyond the member's end.
struct MetadataRange {
  BundleAreaKind kind = BundleAreaKind::superblock;
  std::uint64_t begin_bytes = 0;
  std::uint64_t end_bytes = 0;

  friend bool operator==(const MetadataRange&, const MetadataRange&) = default;
};
std::vector<MetadataRange> metadata_ranges(const Candidate& member);

// The bytes that are there. What cannot be read is a finding.
struct GatheredAreas {
  std::vector<BundleArea> areas;
  Findings findings;
};
GatheredAreas gather_areas(const Candidate& member);

// A member as a dump has it: zeroes where the dump has nothing. The recorded member outlives it.
class BundleSource final : public Source {
 public:
  explicit BundleSource(const BundleMember& member) : member_(&member) {}
  std::uint64_t size_bytes() const override { return member_->size_bytes; }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;

 private:
  const BundleMember* member_;
};

// The member with the superblocks that the dump has of it; the candidate points at the source.
struct RecordedMember {
  std::unique_ptr<BundleSource> source;
  Candidate candidate;
};
Result<RecordedMember> recorded_member(const BundleMember& member);

// Copies the part of `from` that lies over `onto`; both start at the offsets given, on the same member.
void lay_over(std::span<std::byte> onto, std::uint64_t onto_offset, std::span<const std::byte> from,
              std::uint64_t from_offset);

}  // namespace mdtool
