// SPDX-License-Identifier: GPL-2.0-or-later
// An overlay file whose checksums are right, whatever its parts say: how tests get behind the first check.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "libraid/io/overlay_format.h"

namespace mdtool::test {

struct OverlayParts {
  std::uint8_t members = 0;  // as the head counts them
  std::vector<std::byte> table;
  std::vector<std::byte> entries;  // of one page, without their checksums: 28 bytes each
  std::vector<std::byte> commit;   // the record; empty: none
};

constexpr std::size_t unsealed_entry_bytes = sizeof(overlay_disk::Entry) - sizeof(le32);

inline OverlayBlock block_of(std::span<const std::byte> unsealed) {
  OverlayBlock block;
  block.block = *load<le64>(unsealed, 0);
  block.valid = *load<le64>(unsealed, 8);
  block.zeroed = *load<le64>(unsealed, 16);
  block.member = *load<le32>(unsealed, 24);
  return block;
}

// With room for all that the entries may speak of.
inline std::vector<std::byte> sealed_overlay(const OverlayParts& parts) {
  using namespace overlay_disk;
  const std::uint64_t groups = groups_offset(parts.table.size());
  const bool paged = !parts.entries.empty();
  const std::uint64_t end = page_offset(groups, paged ? 1 : 0);
  std::vector<std::byte> file(static_cast<std::size_t>(end) + parts.commit.size());
  const auto put = [&](std::uint64_t at, std::span<const std::byte> bytes) {
    std::ranges::copy(bytes, file.begin() + static_cast<std::ptrdiff_t>(at));
  };
  Head head = make_head(std::vector<OverlayMember>(parts.members), parts.table);
  put(0, std::as_bytes(std::span(&head, 1)));
  put(table_offset, parts.table);
  if (paged) {
    const PageHead page = make_page_head(0);
    put(groups, std::as_bytes(std::span(&page, 1)));
  }
  const std::size_t count = std::min<std::size_t>(parts.entries.size() / unsealed_entry_bytes, entries_each);
  for (std::size_t i = 0; i < count; ++i) {
    const Entry entry =
        make_entry(i, block_of(std::span(parts.entries).subspan(i * unsealed_entry_bytes, unsealed_entry_bytes)));
    put(groups + (i + 1) * sizeof(Entry), std::as_bytes(std::span(&entry, 1)));
  }
  if (!parts.commit.empty()) {
    const CommitHead commit = make_commit_head(end, parts.commit);
    put(commit_head_offset, std::as_bytes(std::span(&commit, 1)));
    put(end, parts.commit);
  }
  return file;
}

}  // namespace mdtool::test
