// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/bad_blocks.h"

#include <algorithm>

#include "libmeta/bitmap/header.h"
#include "libmeta/field_list.h"
#include "libmeta/md1/bad_block_log.h"
#include "libmeta/md1/superblock.h"
#include "libraid/edit/bundle.h"

namespace mdtool {

namespace {

// The state bytes of a lockless bitmap may run over a log that mdadm placed by the classic formula.
bool under_states(const Candidate& member) {
  const MemberDescription& d = member.chosen()->description;
  if (!d.bitmap_offset_bytes || !d.bad_block_log) {
    return false;
  }
  const std::uint64_t begin = *d.bitmap_offset_bytes;
  const auto header = bitmap::read_header(*member.metadata, begin);
  const bool lockless =
      header && (bitmap::kind_of(*header) == bitmap::Kind::lockless || bitmap::overwritten_by_states(*header));
  return lockless && d.bad_block_log->offset_bytes < begin + bitmap_used_bytes(d, *member.metadata) &&
         begin < d.bad_block_log->offset_bytes + Sectors(d.bad_block_log->sectors).bytes();
}

// What the kernel would read, but for states: nothing without feature BAD_BLOCKS.
Result<std::vector<md1::BadRange>> listed_bad(const Candidate& member) {
  const std::optional<BadBlockLogPlace>& place = member.chosen()->description.bad_block_log;
  if (!place || !place->not_empty || under_states(member)) {
    return std::vector<md1::BadRange>();
  }
  TRY(log, md1::BadBlockLog::read(*member.metadata, *place).in(member.path));
  return log.ranges();
}

std::uint64_t bytes_of(const std::vector<md1::BadRange>& ranges) {
  std::uint64_t sectors = 0;
  for (const md1::BadRange& range : ranges) {
    sectors += std::min(range.count.count(), Sectors::max().count() / Sectors::bytes_each - sectors);
  }
  return Sectors(sectors).bytes();
}

std::string text_of(const std::vector<md1::BadRange>& ranges) {
  std::string text;
  for (const md1::BadRange& range : ranges) {
    text +=
        (text.empty() ? "" : ", ") + std::to_string(range.first.count()) + "+" + std::to_string(range.count.count());
  }
  return text;
}

Finding shown(const Candidate& member, const std::vector<md1::BadRange>& ranges) {
  const std::optional<BadBlockLogPlace>& place = member.chosen()->description.bad_block_log;
  if (place && place->not_empty && under_states(member)) {
    return {Severity::warning, "bad-block-log-under-bitmap", "bblog_offset",
            member.path +
                ": its bad-block log is said to list sectors, but lies under the lockless bitmap's states: "
                "nothing in it is believed",
            Effect::none};
  }
  if (ranges.empty()) {
    return {Severity::note, "no-bad-blocks", "",
            member.path + (place ? ": no sector is listed as bad" : ": it has no bad-block log"), Effect::none};
  }
  return {Severity::warning, "bad-blocks", "",
          member.path + ": listed as bad, in sectors of the member (first+count): " + text_of(ranges), Effect::none};
}

Status empty_log(EditDraft& draft, const Candidate& member, const BadBlockLogPlace& log) {
  const std::uint64_t length = Sectors(std::min(log.sectors, md1::bad_block_log_sectors_most)).bytes();
  return draft.bytes(member, "bad-block log", log.offset_bytes, std::vector<std::byte>(length, std::byte{0xff}));
}

Status drop_feature(EditDraft& draft, const Candidate& member) {
  const Metadata& before = *member.chosen()->metadata;
  for (const Field& field : before.fields()) {
    const auto* features = field.name == "feature_map" ? std::get_if<std::uint64_t>(&field.value) : nullptr;
    if (features != nullptr) {
      const std::uint32_t kept = static_cast<std::uint32_t>(*features) & ~md1::feature_bad_blocks;
      TRY(after, before.with_field("feature_map", hexadecimal(kept)));
      return draft.superblock(member, before, *after);
    }
  }
  return Done{};
}

// Those that list anything.
Result<std::vector<const Candidate*>> with_bad_blocks(std::span<const Candidate* const> members, EditDraft& draft) {
  std::vector<const Candidate*> some;
  for (const Candidate* member : members) {
    const std::optional<BadBlockLogPlace>& place = member->chosen()->description.bad_block_log;
    if (!place || !place->not_empty) {
      continue;
    }
    if (worst_effect(member->chosen()->findings) != Effect::none) {
      return Error{ErrorKind::refused, member->path + ": something is wrong with its superblock; see mdtool examine"};
    }
    TRY(ranges, listed_bad(*member));
    draft.find(shown(*member, ranges));
    draft.step(member->path + ": " + std::to_string(ranges.size()) + " listed ranges are dropped");
    draft.cost(member->path + ": " + std::to_string(bytes_of(ranges)) +
               " bytes are believed again, whatever is in them");
    some.push_back(member);
  }
  return some;
}

}  // namespace

Result<EditPlan> show_bad_blocks(std::span<const Candidate* const> members) {
  EditDraft draft;
  for (const Candidate* member : members) {
    TRY(ranges, listed_bad(*member));
    draft.find(shown(*member, ranges));
  }
  return std::move(draft).take();
}

Result<EditPlan> clear_bad_blocks(std::span<const Candidate* const> members) {
  EditDraft draft;
  TRY(some, with_bad_blocks(members, draft));
  for (const Candidate* member : some) {
    const MemberDescription& d = member->chosen()->description;
    if (!under_states(*member)) {
      TRY(emptied, empty_log(draft, *member, *d.bad_block_log));
    }
  }
  draft.next_stage();
  for (const Candidate* member : some) {
    TRY(dropped, drop_feature(draft, *member));
  }
  return std::move(draft).take();
}

}  // namespace mdtool
