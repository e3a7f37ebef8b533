// SPDX-License-Identifier: GPL-2.0-or-later
// What `bitmap` says of one array's write-intent bitmap, or of a bitmap file: header, counts, what is due, every copy
// and where they differ. As text and as JSON, both bounded.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/bitmap_map.h"
#include "cli/command.h"
#include "libraid/assemble/member_bitmaps.h"

namespace mdtool::cli {

struct BitmapReport {
  const Assembly* array = nullptr;  // null: a bitmap file
  std::string file;                 // its path
  BitmapView view;
  std::vector<MemberBitmap> copies;
  std::vector<bool> differing;  // by chunk

  std::uint64_t differing_chunks() const;
  // What chunks are counted in: md's sync range.
  std::string_view counted() const;  // "bytes of every member's data", "bytes of the array"
};

BitmapReport report_of(const Assembly& array);
// Of a file that holds nothing but a bitmap; none if there is none at its start.
std::optional<BitmapReport> report_of_file(const Candidate& candidate);

int exit_status_of(const BitmapReport& report);
std::string report_text(const BitmapReport& report);
Json json_of(const BitmapReport& report);

// What is drawn: all copies together, or one of them.
Result<BitmapPicture> picture_of(const BitmapReport& report, const MemberBitmap* copy);
Json ranges_json(const BitmapPicture& picture);
std::uint64_t ranges_left_out(const BitmapPicture& picture);

}  // namespace mdtool::cli
