// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/metadata_stages.h"

namespace mdtool {

Result<std::vector<UndoRecord>> MetadataStages::changes(std::span<const MemberPatch> stage) const {
  std::vector<UndoRecord> records;
  for (const MemberPatch& p : stage) {
    const WritableMember& m = members_[p.member];
    TRY(before, read_bytes(*m.past_cache, p.patch.offset_bytes, p.patch.bytes.size()).in(m.path));
    if (before != p.patch.bytes) {
      records.push_back(
          {static_cast<std::uint32_t>(p.member), p.patch.offset_bytes, std::move(before), p.patch.bytes});
    }
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
