// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/overlay_format.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "libmeta/checksum.h"
#include "libraid/io/byte_stream.h"

namespace mdtool {
namespace overlay_disk {
namespace {

template <DiskStructure T>
std::uint32_t check_of(const T& head) {
  const auto bytes = std::as_bytes(std::span(&head, 1));
  return crc32c_standard(bytes.first(sizeof(T) - sizeof(head.check)));
}

std::uint32_t check_of(std::uint64_t number, const Entry& entry) {
  const le64 place = number;
  const std::uint32_t seed = crc32c(~0U, std::as_bytes(std::span(&place, 1)));
  return ~crc32c(seed, std::as_bytes(std::span(&entry, 1)).first(sizeof(Entry) - sizeof(entry.check)));
}

}  // namespace

std::uint64_t groups_offset(std::uint64_t table_bytes) {
  return table_offset + (table_bytes + page_bytes - 1) / page_bytes * page_bytes;
}

Head make_head(std::span<const OverlayMember> members, std::span<const std::byte> table) {
  Head head{};
  head.magic = head_magic;
  head.version = format_version;
  head.block_bytes = overlay_block_bytes;
  head.member_count = static_cast<std::uint32_t>(members.size());
  head.table_bytes = static_cast<std::uint32_t>(table.size());
  head.table_check = crc32c_standard(table);
  head.check = check_of(head);
  return head;
}

CommitHead make_commit_head(std::uint64_t offset, std::span<const std::byte> record) {
  CommitHead head{};
  head.magic = commit_magic;
  head.offset = offset;
  head.length = record.size();
  head.record_check = crc32c_standard(record);
  head.check = check_of(head);
  return head;
}

PageHead make_page_head(std::uint64_t number) {
  PageHead head{};
  head.magic = page_magic;
  head.number = number;
  head.check = check_of(head);
  return head;
}

Entry make_entry(std::uint64_t number, const OverlayBlock& block) {
  Entry entry;
  entry.block = block.block;
  entry.valid = block.valid;
  entry.zeroed = block.zeroed;
  entry.member = block.member;
  entry.check = check_of(number, entry);
  return entry;
}

}  // namespace overlay_disk

namespace {

using namespace overlay_disk;

constexpr std::uint32_t most_members = 4096;
constexpr std::uint32_t most_bound_areas = 8;
constexpr std::uint32_t most_stages = 16;
constexpr std::uint64_t most_member_bytes = std::numeric_limits<std::int64_t>::max();

Error damaged(std::uint64_t at, std::string_view what) {
  return {ErrorKind::format, "overlay file damaged at byte " + std::to_string(at) + ": " + std::string(what)};
}

bool is_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

template <DiskStructure T>
Result<T> read_structure(const Source& file, std::uint64_t at) {
  TRY(bytes, read_bytes(file, at, sizeof(T)));
  return load<T>(bytes, 0);
}

OverlayMember take_member(ByteReader& in) {
  OverlayMember member;
  member.path = in.take_text();
  member.identity = in.take_text();
  member.size_bytes = in.take<le64>();
  const std::uint32_t areas = in.take<le32>();
  for (std::uint32_t i = 0; i < std::min(areas, most_bound_areas) && in.ok(); ++i) {
    BoundBytes bound;
    bound.name = in.take_text();
    bound.offset_bytes = in.take<le64>();
    bound.bytes = in.take_sized();
    member.binding.push_back(std::move(bound));
  }
  return member;
}

bool is_sound(const OverlayMember& member) {
  return member.size_bytes <= most_member_bytes &&
         std::all_of(member.binding.begin(), member.binding.end(), [&](const BoundBytes& bound) {
           return fits(bound.offset_bytes, bound.bytes.size(), member.size_bytes);
         });
}

class OverlayReader {
 public:
  explicit OverlayReader(const Source& file) : file_(file), size_(file.size_bytes()) {}

  Result<OverlayContents> read() {
    TRY(headed, read_head());
    TRY(commit, read_commit());
    TRY(paged, read_pages());
    if (commit_offset_ && *commit_offset_ != page_offset(groups_, contents_.pages)) {
      return damaged(commit_head_offset, "the record of the commit is not behind the last block");
    }
    return std::move(contents_);
  }

 private:
  Status read_head() {
    if (size_ < table_offset) {
      return Error{ErrorKind::format, "not an overlay file"};
    }
    TRY(head, read_structure<Head>(file_, 0));
    if (head.magic != head_magic) {
      return Error{ErrorKind::format, "not an overlay file"};
    }
    if (head.check != check_of(head)) {
      return damaged(0, "the head's checksum is wrong");
    }
    if (head.version != format_version || head.block_bytes != overlay_block_bytes) {
      return Error{ErrorKind::format, "overlay file of version " + std::to_string(head.version) + " with blocks of " +
                                          std::to_string(head.block_bytes) +
                                          " bytes; this mdtool reads version 1 with blocks of 32768"};
    }
    if (head.member_count > most_members || head.table_bytes > most_table_bytes ||
        !fits(table_offset, head.table_bytes, size_)) {
      return damaged(0, "the member table does not fit");
    }
    TRY(table, read_bytes(file_, table_offset, head.table_bytes));
    if (crc32c_standard(table) != head.table_check) {
      return damaged(table_offset, "the member table's checksum is wrong");
    }
    groups_ = groups_offset(head.table_bytes);
    return take_members(table, head.member_count);
  }

  Status take_members(std::span<const std::byte> table, std::uint32_t count) {
    ByteReader in(table);
    for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
      contents_.members.push_back(take_member(in));
      if (!is_sound(contents_.members.back())) {
        return damaged(table_offset, "a member's areas do not lie inside of it");
      }
    }
    return in.ok() && in.at_end() ? Status(Done{}) : damaged(table_offset, "the member table makes no sense");
  }

  Status read_commit() {
    TRY(sector, read_bytes(file_, commit_head_offset, sizeof(CommitHead)));
    if (is_zero(sector)) {
      return Done{};
    }
    TRY(head, load<CommitHead>(sector, 0));
    if (head.magic != commit_magic || head.check != check_of(head) || head.length > most_commit_bytes ||
        !fits(head.offset, head.length, size_)) {
      return damaged(commit_head_offset, "what it says of a commit that was begun");
    }
    TRY(record, read_bytes(file_, head.offset, static_cast<std::size_t>(head.length)));
    if (crc32c_standard(record) != head.record_check) {
      return damaged(head.offset, "the checksum of the commit's record is wrong");
    }
    commit_offset_ = head.offset.value();
    return take_commit(record);
  }

  Status take_commit(std::span<const std::byte> record) {
    ByteReader in(record);
    OverlayCommit commit;
    const auto magic = in.take<std::array<char, 8>>();
    commit.stages_before_data = in.take<le32>();
    while (in.ok() && !in.at_end()) {
      OverlayPatch patch;
      patch.stage = in.take<le32>();
      patch.member = in.take<le32>();
      patch.offset_bytes = in.take<le64>();
      patch.bytes = in.take_sized();
      const bool in_order = commit.patches.empty() || patch.stage >= commit.patches.back().stage;
      if (!in.ok() || !in_order || patch.stage >= most_stages || patch.member >= contents_.members.size() ||
          !fits(patch.offset_bytes, patch.bytes.size(), contents_.members[patch.member].size_bytes)) {
        return damaged(*commit_offset_, "the commit's record makes no sense");
      }
      commit.patches.push_back(std::move(patch));
    }
    if (!in.ok() || magic != commit_magic || commit.stages_before_data > most_stages) {
      return damaged(*commit_offset_, "the commit's record makes no sense");
    }
    contents_.commit = std::move(commit);
    return Done{};
  }

  Status read_pages() {
    const std::uint64_t end = commit_offset_ ? *commit_offset_ : size_;
    std::vector<std::byte> page(page_bytes);
    for (std::uint64_t at = groups_; fits(at, page_bytes, end); at += group_bytes) {
      TRY(got, file_.read(at, page));
      TRY(head, load<PageHead>(page, 0));
      if (head.magic != page_magic) {
        // A page that was never flushed, or the record of a commit that never began.
        const bool torn_record = std::equal(commit_magic.begin(), commit_magic.end(), head.magic.begin());
        return torn_record || is_zero(std::span(page).first(sizeof(PageHead)))
                   ? Status(Done{})
                   : damaged(at, "an index page that is none");
      }
      if (head.number != contents_.pages || head.check != check_of(head)) {
        return damaged(at, "the head of an index page is wrong");
      }
      TRY(taken, take_entries(at, page));
      ++contents_.pages;
    }
    return Done{};
  }

  Status take_entries(std::uint64_t page_at, std::span<const std::byte> page) {
    for (std::uint64_t i = 0; i < entries_each; ++i) {
      const std::size_t at = static_cast<std::size_t>((i + 1) * sizeof(Entry));
      if (is_zero(page.subspan(at, sizeof(Entry)))) {
        continue;
      }
      const std::uint64_t number = contents_.pages * entries_each + i;
      TRY(entry, load<Entry>(page, at));
      if (entry.check != check_of(number, entry)) {
        return damaged(page_at + at, "an index entry's checksum is wrong");
      }
      const OverlayBlock block{entry.block, entry.valid, entry.zeroed, entry.member};
      if (!holds(number, block)) {
        return damaged(page_at + at, "an index entry for what is not on its member or not in the file");
      }
      while (contents_.index.size() < number) {
        contents_.index.add_unused();
      }
      if (!contents_.index.add(block)) {
        return damaged(page_at + at, "the same block twice");
      }
    }
    return Done{};
  }

  bool holds(std::uint64_t number, const OverlayBlock& block) const {
    if (block.member >= contents_.members.size() || block.valid == 0 || (block.zeroed & ~block.valid) != 0) {
      return false;
    }
    const std::uint64_t member_bytes = contents_.members[block.member].size_bytes;
    if (block.block > member_bytes / overlay_block_bytes) {
      return false;
    }
    const std::uint64_t room = member_bytes - block.block * overlay_block_bytes;
    const auto spoken_for = static_cast<unsigned>(std::bit_width(block.valid));
    const auto held = static_cast<unsigned>(std::bit_width(block.written()));
    const std::uint64_t held_bytes = std::min(Sectors(held).bytes(), room);
    return Sectors(spoken_for).bytes() < room + Sectors::bytes_each &&
           fits(block_offset(groups_, number), held_bytes, std::max(size_, block_offset(groups_, number)));
  }

  const Source& file_;
  std::uint64_t size_;
  std::uint64_t groups_ = 0;
  std::optional<std::uint64_t> commit_offset_;
  OverlayContents contents_;
};

}  // namespace

std::vector<std::byte> encode_overlay_members(std::span<const OverlayMember> members) {
  ByteWriter out;
  for (const OverlayMember& member : members) {
    out.put_text(member.path);
    out.put_text(member.identity);
    out.put(le64(member.size_bytes));
    out.put(le32(static_cast<std::uint32_t>(member.binding.size())));
    for (const BoundBytes& bound : member.binding) {
      out.put_text(bound.name);
      out.put(le64(bound.offset_bytes));
      out.put_sized(bound.bytes);
    }
  }
  return out.take();
}

std::vector<std::byte> encode_overlay_commit(const OverlayCommit& commit) {
  ByteWriter out;
  out.put(commit_magic);
  out.put(le32(commit.stages_before_data));
  for (const OverlayPatch& patch : commit.patches) {
    out.put(le32(patch.stage));
    out.put(le32(patch.member));
    out.put(le64(patch.offset_bytes));
    out.put_sized(patch.bytes);
  }
  return out.take();
}

Result<OverlayContents> read_overlay(const Source& file) {
  return OverlayReader(file).read();
}

}  // namespace mdtool
