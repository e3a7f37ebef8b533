// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/bundle.h"

#include <algorithm>

#include "libmeta/md1/bad_block_log.h"
#include "libmeta/sectors.h"

namespace mdtool {

namespace {

constexpr std::uint64_t page_bytes = 4096;  // MD_SB_BYTES; read as one for a superblock, a bitmap header, a log

std::uint64_t whole_sectors(std::uint64_t bytes) {
  return (bytes + Sectors::bytes_each - 1) / Sectors::bytes_each * Sectors::bytes_each;
}

BitmapContent content_for(const bitmap::Header& header, const MemberDescription& d, Sectors sync_size) {
  bitmap::Expected expected;
  expected.sync_size = sync_size;
  expected.room_bytes = d.bitmap_room_bytes;
  const auto geometry = bitmap::geometry_of(header, expected);
  if (!geometry) {
    return {};
  }
  if (bitmap::kind_of(header) == bitmap::Kind::lockless) {
    return {bitmap::lockless_states_offset, bitmap::lockless_states_offset + geometry->chunks};
  }
  return {bitmap::header_bytes, bitmap::header_bytes + (geometry->chunks + 7) / 8};
}

// Those of one superblock, what matters more first.
std::vector<MetadataRange> ranges_of(const MemberDescription& d, const Source& member) {
  std::vector<MetadataRange> ranges;
  if (d.bitmap_offset_bytes) {
    ranges.push_back(
        {BundleAreaKind::bitmap, *d.bitmap_offset_bytes, *d.bitmap_offset_bytes + bitmap_used_bytes(d, member)});
  }
  if (d.bad_block_log) {
    const std::uint64_t sectors = std::min(d.bad_block_log->sectors, md1::bad_block_log_sectors_most);
    ranges.push_back({BundleAreaKind::bad_block_log, d.bad_block_log->offset_bytes,
                      d.bad_block_log->offset_bytes + Sectors(sectors).bytes()});
  }
  if (d.ppl) {
    ranges.push_back({BundleAreaKind::ppl, d.ppl->offset_bytes, d.ppl->offset_bytes + d.ppl->length_bytes});
  }
  return ranges;
}

// Adds those parts of `range` that no range has yet and that lie within the member.
void add_free_parts(std::vector<MetadataRange>& taken, MetadataRange range, std::uint64_t member_bytes) {
  range.end_bytes = std::min(range.end_bytes, member_bytes);
  std::vector<MetadataRange> free{range};
  for (const MetadataRange& other : taken) {
    std::vector<MetadataRange> left;
    for (const MetadataRange& part : free) {
      left.push_back({part.kind, part.begin_bytes, std::min(part.end_bytes, other.begin_bytes)});
      left.push_back({part.kind, std::max(part.begin_bytes, other.end_bytes), part.end_bytes});
    }
    std::erase_if(left, [](const MetadataRange& part) { return part.begin_bytes >= part.end_bytes; });
    free = std::move(left);
  }
  std::erase_if(free, [](const MetadataRange& part) { return part.begin_bytes >= part.end_bytes; });
  taken.insert(taken.end(), free.begin(), free.end());
}

}  // namespace

BitmapContent bitmap_content(const bitmap::Header& header, const MemberDescription& d) {
  const BitmapContent own = content_for(header, d, Sectors(header.sync_size));
  const BitmapContent expected = content_for(header, d, d.size);
  return own.end_bytes > expected.end_bytes ? own : expected;
}

std::uint64_t bitmap_used_bytes(const MemberDescription& d, const Source& member) {
  if (!d.bitmap_offset_bytes) {
    return 0;
  }
  const auto header = bitmap::read_header(member, *d.bitmap_offset_bytes);
  if (!header) {
    return page_bytes;
  }
  const std::uint64_t end = bitmap_content(*header, d).end_bytes;
  return end == bitmap::header_bytes ? page_bytes : whole_sectors(std::min(end, bitmap::max_area_bytes));
}

std::vector<MetadataRange> metadata_ranges(const Candidate& member) {
  const std::uint64_t size = member.metadata->size_bytes();
  std::vector<MetadataRange> ranges;
  for (const FoundSuperblock& found : member.superblocks) {
    const std::uint64_t begin = found.metadata->offset_bytes();
    add_free_parts(ranges, {BundleAreaKind::superblock, begin, begin + page_bytes}, size);
  }
  for (const FoundSuperblock& found : member.superblocks) {
    for (const MetadataRange& range : ranges_of(found.description, *member.metadata)) {
      add_free_parts(ranges, range, size);
    }
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const MetadataRange& a, const MetadataRange& b) { return a.begin_bytes < b.begin_bytes; });
  return ranges;
}

GatheredAreas gather_areas(const Candidate& member) {
  GatheredAreas gathered;
  for (const MetadataRange& range : metadata_ranges(member)) {
    auto bytes =
        read_bytes(*member.metadata, range.begin_bytes, static_cast<std::size_t>(range.end_bytes - range.begin_bytes));
    if (bytes) {
      gathered.areas.push_back({range.kind, range.begin_bytes, std::move(*bytes)});
    } else {
      gathered.findings.push_back({Severity::problem, "area-unreadable", "",
                                   "the " + std::string(bundle_area_name(range.kind)) + " at byte " +
                                       std::to_string(range.begin_bytes) + " is left out: " + bytes.error().text,
                                   Effect::none});
    }
  }
  return gathered;
}

Status BundleSource::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  if (!fits(offset_bytes, out.size(), member_->size_bytes)) {
    return Error{ErrorKind::out_of_range, std::to_string(out.size()) + " bytes at byte " +
                                              std::to_string(offset_bytes) + " are beyond the member's end"};
  }
  std::fill(out.begin(), out.end(), std::byte{0});
  for (const BundleArea& area : member_->areas) {
    lay_over(out, offset_bytes, area.bytes, area.offset_bytes);
  }
  return Done{};
}

Result<RecordedMember> recorded_member(const BundleMember& member) {
  RecordedMember recorded;
  recorded.source = std::make_unique<BundleSource>(member);
  TRY(candidate, inspect(member.path, "", *recorded.source, *recorded.source).in(member.path));
  recorded.candidate = std::move(candidate);
  return recorded;
}

void lay_over(std::span<std::byte> onto, std::uint64_t onto_offset, std::span<const std::byte> from,
              std::uint64_t from_offset) {
  const std::uint64_t begin = std::max(onto_offset, from_offset);
  const std::uint64_t end = std::min(onto_offset + onto.size(), from_offset + from.size());
  if (begin < end) {
    const auto part =
        from.subspan(static_cast<std::size_t>(begin - from_offset), static_cast<std::size_t>(end - begin));
    std::copy(part.begin(), part.end(), onto.begin() + static_cast<std::ptrdiff_t>(begin - onto_offset));
  }
}

}  // namespace mdtool
