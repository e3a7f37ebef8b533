// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/metadata_stages.h"

#include <algorithm>
#include <cstring>

namespace mdtool {

namespace {

// Runs of sectors that differ: an undo file of a run of days holds what changed, not every checkpoint whole.
void add_differences(std::vector<UndoRecord>& records, const MemberPatch& p, const std::vector<std::byte>& before) {
  const std::vector<std::byte>& after = p.patch.bytes;
  bool open = false;
  for (std::size_t at = 0; at < after.size(); at += Sectors::bytes_each) {
    const std::size_t end = std::min<std::size_t>(at + Sectors::bytes_each, after.size());
    const auto from = static_cast<std::ptrdiff_t>(at);
    const auto to = static_cast<std::ptrdiff_t>(end);
    if (std::memcmp(after.data() + at, before.data() + at, end - at) == 0) {
      open = false;
      continue;
    }
    if (!open) {
      records.push_back({static_cast<std::uint32_t>(p.member), p.patch.offset_bytes + at, {}, {}});
      open = true;
    }
    UndoRecord& record = records.back();
    record.before.insert(record.before.end(), before.begin() + from, before.begin() + to);
    record.after.insert(record.after.end(), after.begin() + from, after.begin() + to);
  }
}

}  // namespace

Result<std::vector<UndoRecord>> MetadataStages::changes(std::span<const MemberPatch> stage) const {
  std::vector<UndoRecord> records;
  for (const MemberPatch& p : stage) {
    const WritableMember& m = members_[p.member];
    TRY(before, read_bytes(*m.past_cache, p.patch.offset_bytes, p.patch.bytes.size()).in(m.path));
    add_differences(records, p, before);
  }
  return records;
}

Status MetadataStages::write(std::span<const MemberPatch> stage) {
  TRY(records, changes(stage));
  if (records.empty()) {
    return Done{};
  }
  TRY(saved, undo_->append(records).in("undo file " + undo_->path()));
  for (const UndoRecord& record : records) {
    const WritableMember& m = members_[record.member];
    TRY(written, m.device->write_verified(record.offset_bytes, record.after, *m.past_cache).in(m.path));
  }
  return Done{};
}

}  // namespace mdtool
