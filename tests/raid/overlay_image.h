// SPDX-License-Identifier: GPL-2.0-or-later
// An overlay file in memory: an empty one for given members, and the store over it.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "libraid/io/memory.h"
#include "libraid/io/overlay.h"

namespace mdtool::test {

// Large enough for `pages` index pages and their blocks.
inline std::vector<std::byte> empty_overlay(const std::vector<OverlayMember>& members, std::uint64_t pages) {
  const std::vector<std::byte> table = encode_overlay_members(members);
  const overlay_disk::Head head = overlay_disk::make_head(members, table);
  std::vector<std::byte> file(
      static_cast<std::size_t>(overlay_disk::page_offset(overlay_disk::groups_offset(table.size()), pages)));
  std::ranges::copy(std::as_bytes(std::span(&head, 1)), file.begin());
  std::ranges::copy(table, file.begin() + static_cast<std::ptrdiff_t>(overlay_disk::table_offset));
  return file;
}

inline Result<std::unique_ptr<OverlayStore>> store_over(std::unique_ptr<BlockDevice> file) {
  TRY(contents, read_overlay(*file));
  return OverlayStore::over(std::move(file), std::move(contents));
}

}  // namespace mdtool::test
