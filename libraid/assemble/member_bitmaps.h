// SPDX-License-Identifier: GPL-2.0-or-later
// Every member's own copy of the array's bitmap, one by one, and why it counts or does not. BitmapView is what those
// that count say together.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libraid/assemble/assembly.h"
#include "libraid/assemble/bitmap_ranges.h"

namespace mdtool {

struct MemberBitmap {
  std::size_t member = 0;  // index into Assembly::members
  std::optional<bitmap::Header> header;
  std::optional<bitmap::Classic> classic;
  std::optional<bitmap::Lockless> lockless;
  Trust trust = Trust::rejected;
  std::string ignored;  // why it is not among BitmapView::copies; empty: it is

  std::optional<ChunkMarks> marks() const;
};

// Of all members whose superblocks point at a bitmap, in the order of the members; reads their copies again.
std::vector<MemberBitmap> member_bitmaps(const Assembly& array);

// Why the view has the trust that it has: a sentence.
std::string trust_reason(const BitmapView& view);
// The header that the view's content came with; of a content that cannot be used: any member's that could be read.
std::optional<bitmap::Header> header_of(const BitmapView& view, const std::vector<MemberBitmap>& copies);

// By chunk: true where the copies that count do not all say the same. Empty without content.
std::vector<bool> differing_chunks(const BitmapView& view, const std::vector<MemberBitmap>& copies);

}  // namespace mdtool
