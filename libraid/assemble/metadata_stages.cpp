// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/metadata_stages.h"

#include <algorithm>
#include <cstring>

namespace mdtool {

namespace {

// A superblock is believed as a whole or not at all: what differs of one goes in one write, with what lies between.
constexpr std::size_t written_at_once = 4096;

struct Run {
  std::size_t from, to;
};

// Runs of sectors that differ: an undo file of a run of days holds what changed, not every checkpoint whole.
std::vector<Run> differing_runs(const std::vector<std::byte>& before, const std::vector<std::byte>& after) {
  std::vector<Run> runs;
  for (std::size_t at = 0; at < after.size(); at += Sectors::bytes_each) {
    const std::size_t end = std::min<std::size_t>(at + Sectors::bytes_each, after.size());
    if (std::memcmp(after.data() + at, before.data() + at, end - at) == 0) {
      continue;
    }
    if (!runs.empty() && (runs.back().to == at || after.size() <= written_at_once)) {
      runs.back().to = end;
    } else {
      runs.push_back({at, end});
    }
  }
  return runs;
}

void add_differences(std::vector<UndoRecord>& records, const MemberPatch& p, const std::vector<std::byte>& before) {
  const std::vector<std::byte>& after = p.patch.bytes;
  for (const Run& run : differing_runs(before, after)) {
    const auto from = static_cast<std::ptrdiff_t>(run.from);
    const auto to = static_cast<std::ptrdiff_t>(run.to);
    records.push_back({static_cast<std::uint32_t>(p.member),
                       p.patch.offset_bytes + run.from,
                       {before.begin() + from, before.begin() + to},
                       {after.begin() + from, after.begin() + to}});
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
  ++stages_;
  for (UndoRecord& record : records) {
    record.stage = stages_;
  }
  if (replaced_ == Replaced::kept) {
    TRY(saved, undo_->append(records).in("undo file " + undo_->path()));
  }
  for (const UndoRecord& record : records) {
    const WritableMember& m = members_[record.member];
    TRY(written, m.device->write_verified(record.offset_bytes, record.after, *m.past_cache).in(m.path));
  }
  return Done{};
}

}  // namespace mdtool
