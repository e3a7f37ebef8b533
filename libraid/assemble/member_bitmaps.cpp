// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/member_bitmaps.h"

#include <algorithm>

namespace mdtool {

namespace {

using bitmap::Kind;

template <typename Bitmap>
std::optional<Bitmap> read_content(const Source& source, std::uint64_t offset_bytes, const bitmap::Expected& expected,
                                   MemberBitmap& copy) {
  auto read = Bitmap::read(source, offset_bytes, expected);
  if (!read) {
    copy.ignored = read.error().text;
    return std::nullopt;
  }
  const Findings findings = read->verify(expected);
  for (const Finding& f : findings) {
    if (f.effect >= Effect::refuses_array) {
      copy.ignored = f.text;
      return std::move(*read);
    }
  }
  copy.trust = read->stale(expected) ? Trust::stale : Trust::believed;
  return std::move(*read);
}

MemberBitmap read_copy(const Member& member, std::size_t index, bitmap::Expected expected) {
  MemberBitmap copy;
  copy.member = index;
  const MemberDescription& d = member.description();
  expected.room_bytes = d.bitmap_room_bytes;
  auto header = bitmap::read_header(*member.candidate->metadata, *d.bitmap_offset_bytes);
  if (!header) {
    copy.ignored = header.error().text;
    return copy;
  }
  copy.header = *header;
  if (bitmap::kind_of(*header) == Kind::classic) {
    copy.classic = read_content<bitmap::Classic>(*member.candidate->metadata, *d.bitmap_offset_bytes, expected, copy);
  } else if (bitmap::kind_of(*header) == Kind::lockless) {
    copy.lockless = read_content<bitmap::Lockless>(*member.candidate->metadata, *d.bitmap_offset_bytes, expected, copy);
    if (copy.trust != Trust::rejected && copy.lockless->first_use()) {
      copy.trust = Trust::first_use;
    }
  } else {
    copy.ignored = "version " + std::to_string(header->version) + " is neither classic (3, 4, 5) nor lockless (6)";
  }
  return copy;
}

// Of a copy that could be read: the first reason that applies.
std::string reason_to_ignore(const MemberBitmap& copy, const Assembly& array) {
  const BitmapView& view = array.bitmap;
  const Member& member = array.members[copy.member];
  if (std::find(view.copies.begin(), view.copies.end(), copy.member) != view.copies.end()) {
    return "";
  }
  if (member.state != MemberState::in_sync) {
    return "the member is not in sync (" + std::string(member_state_name(member.state)) + ")";
  }
  if (!copy.ignored.empty()) {
    return copy.ignored;
  }
  if (bitmap::kind_of(*copy.header) != view.kind) {
    return "version " + std::to_string(copy.header->version) + ", the copy that is believed is version " +
           std::to_string(view.version);
  }
  if (copy.trust == Trust::stale && view.trust != Trust::stale) {
    return "stale: it missed updates that another copy has";
  }
  if (copy.trust != view.trust) {
    return "another copy is to be believed more";
  }
  return view.trust == Trust::believed ? "it is cut into chunks of another size"
                                       : "no copy is believed, and one is enough to be shown";
}

}  // namespace

std::optional<ChunkMarks> MemberBitmap::marks() const {
  if (classic) {
    return ChunkMarks(*classic);
  }
  return lockless ? std::optional(ChunkMarks(*lockless)) : std::nullopt;
}

std::vector<MemberBitmap> member_bitmaps(const Assembly& array) {
  std::vector<MemberBitmap> copies;
  for (std::size_t i = 0; i < array.members.size(); ++i) {
    const Member& member = array.members[i];
    if (member.candidate == nullptr || !member.description().bitmap_offset_bytes) {
      continue;
    }
    MemberBitmap copy = read_copy(member, i, array.bitmap.expected);
    copy.ignored = reason_to_ignore(copy, array);
    copies.push_back(std::move(copy));
  }
  return copies;
}

std::string trust_reason(const BitmapView& view) {
  switch (view.trust) {
    case Trust::absent:
      return "the array has no bitmap";
    case Trust::believed:
      return "it saw all of the array's " + std::to_string(view.expected.events) + " events";
    case Trust::first_use:
      return "the kernel has not used it yet, and will initialise every chunk at the next start";
    case Trust::stale:
    case Trust::rejected:
      break;
  }
  const bool stale = view.trust == Trust::stale;
  for (const Finding& f : view.findings) {
    const bool says_why = stale ? f.id == "bitmap-stale" || f.id == "bitmap-write-error"
                                : f.effect >= Effect::stops_writing || f.severity == Severity::problem;
    if (says_why) {
      return f.text;
    }
  }
  return stale ? "it missed updates" : "no copy of it can be used";
}

std::optional<bitmap::Header> header_of(const BitmapView& view, const std::vector<MemberBitmap>& copies) {
  if (view.classic) {
    return view.classic->header();
  }
  if (view.lockless) {
    return view.lockless->header();
  }
  for (const MemberBitmap& copy : copies) {
    if (copy.header) {
      return copy.header;
    }
  }
  return std::nullopt;
}

std::vector<bool> differing_chunks(const BitmapView& view, const std::vector<MemberBitmap>& copies) {
  const auto merged = ChunkMarks::of(view);
  std::vector<bool> differing(merged ? static_cast<std::size_t>(merged->chunks()) : 0);
  for (const MemberBitmap& copy : copies) {
    const auto own = copy.marks();
    if (!merged || !own || !copy.ignored.empty() || !own->comparable(*merged)) {
      continue;
    }
    for (std::size_t chunk = 0; chunk < differing.size(); ++chunk) {
      differing[chunk] = differing[chunk] || own->at(chunk) != merged->at(chunk);
    }
  }
  return differing;
}

}  // namespace mdtool
