// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/overlay_commit.h"

#include <algorithm>
#include <filesystem>

#include "libraid/io/folder.h"

namespace mdtool {

namespace {

// Read and written at once, and how much is done between two looks at whether to stop.
constexpr std::uint64_t step_bytes = 1U << 20;

class Committer {
 public:
  Committer(OverlayFile& overlay, const OverlayCommitPlan& plan, const std::vector<WritableMember>& members,
            UndoSink& undo, const Run& run)
      : overlay_(overlay), plan_(plan), members_(members), undo_(undo), run_(run) {
    for (const OverlayCommitMember& m : plan_.members) {
      above_.push_back(overlay_.device(m.base));
    }
  }

  Result<OverlayCommitReport> execute() {
    for (std::size_t i = 0; i < members_.size(); ++i) {
      TRY(same, overlay_.check_unchanged(plan_.members[i].base, *members_[i].past_cache));
    }
    if (!plan_.resumed) {
      TRY(begun, overlay_.begin_commit(plan_.record));
    }
    TRY(finishing, is_finishing());
    report_.undo_kept = plan_.data_undoable && !undo_.path().empty();
    if (!finishing) {
      TRY(marked, write_stages(0, plan_.record.stages_before_data));
      TRY(data, write_data());
      if (report_.interrupted) {
        return report_;
      }
    }
    TRY(finished, write_stages(plan_.record.stages_before_data, ~std::uint32_t{0}));
    return report_;
  }

 private:
  std::optional<std::size_t> index_of(std::uint32_t member) const {
    for (std::size_t i = 0; i < plan_.members.size(); ++i) {
      if (overlay_.member_of(plan_.members[i].base) == member) {
        return i;
      }
    }
    return std::nullopt;
  }

  Result<bool> starts_on_member(const OverlayPatch& patch) const {
    const WritableMember& m = members_[*index_of(patch.member)];
    const std::size_t length = std::min<std::size_t>(Sectors::bytes_each, patch.bytes.size());
    TRY(now, read_bytes(*m.past_cache, patch.offset_bytes, length).in(m.path));
    return std::equal(now.begin(), now.end(), patch.bytes.begin());
  }

  // A superblock of the last stage is only there once all data is durable. Its events, in its first sector, are those
  // of no other stage.
  Result<bool> is_finishing() const {
    for (const OverlayPatch& patch : plan_.record.patches) {
      if (patch.stage != plan_.record.patches.back().stage) {
        continue;
      }
      TRY(there, starts_on_member(patch));
      if (there) {
        return true;
      }
    }
    return false;
  }

  // A later mark is on the member already: it is not taken back.
  Result<bool> is_passed(const OverlayPatch& patch) const {
    for (const OverlayPatch& later : plan_.record.patches) {
      if (later.stage > patch.stage && later.stage < plan_.record.stages_before_data && later.member == patch.member &&
          later.offset_bytes == patch.offset_bytes) {
        TRY(there, starts_on_member(later));
        if (there) {
          return true;
        }
      }
    }
    return false;
  }

  Status write_stages(std::uint32_t first, std::uint32_t end) {
    MetadataStages stages(members_, report_.undo_kept || first == 0 ? undo_ : no_undo_);
    const std::vector<OverlayPatch>& patches = plan_.record.patches;
    for (std::size_t i = 0; i < patches.size();) {
      const std::uint32_t stage = patches[i].stage;
      std::vector<MemberPatch> together;
      for (; i < patches.size() && patches[i].stage == stage; ++i) {
        if (stage < first || stage >= end) {
          continue;
        }
        TRY(passed, is_passed(patches[i]));
        if (!passed) {
          together.push_back({*index_of(patches[i].member), {patches[i].offset_bytes, patches[i].bytes}});
        }
      }
      TRY(written, stages.write(together));
    }
    return Done{};
  }

  Status write_data() {
    TRY(prepared, prepare_undo());
    for (std::size_t i = 0; i < members_.size() && !report_.interrupted; ++i) {
      TRY(written, write_member(i));
    }
    for (const WritableMember& m : members_) {
      TRY(flushed, m.device->flush().in(m.path));
    }
    return Done{};
  }

  // Either the undo file takes back everything, or there is none from here on.
  Status prepare_undo() {
    if (report_.undo_kept) {
      auto records = data_records();
      report_.undo_kept = static_cast<bool>(records);
      if (records && !records->empty()) {
        TRY(saved, undo_.append(*records).in("undo file " + undo_.path()));
      }
    }
    if (report_.undo_kept || undo_.path().empty()) {
      return Done{};
    }
    std::error_code error;
    std::filesystem::remove(undo_.path(), error);
    if (error) {
      return io_error(undo_.path() + ": removing it", error.value());
    }
    return sync_folder(std::filesystem::path(undo_.path()).parent_path());
  }

  // Fails where a member cannot be read: what is unreadable cannot be taken back.
  Result<std::vector<UndoRecord>> data_records() const {
    std::vector<UndoRecord> records;
    for (std::size_t i = 0; i < members_.size(); ++i) {
      TRY(visited, each_data_extent(overlay_, plan_.members[i], [&](Extent e) -> Status {
            const auto length = static_cast<std::size_t>(e.length_bytes);
            TRY(before, read_bytes(*members_[i].past_cache, e.offset_bytes, length));
            TRY(after, read_bytes(*above_[i], e.offset_bytes, length));
            records.push_back({static_cast<std::uint32_t>(i), e.offset_bytes, std::move(before), std::move(after)});
            return Done{};
          }));
    }
    return records;
  }

  Status write_member(std::size_t i) {
    return each_data_extent(overlay_, plan_.members[i], [&](Extent e) -> Status {
      for (std::uint64_t done = 0; done < e.length_bytes && !report_.interrupted;) {
        const std::uint64_t length = std::min(step_bytes, e.length_bytes - done);
        TRY(written, write_step(i, {e.offset_bytes + done, length}));
        done += length;
      }
      return Done{};
    });
  }

  Status write_step(std::size_t i, Extent step) {
    if (run_.stop.stop_requested()) {
      report_.interrupted = true;
      return Done{};
    }
    buffer_.resize(static_cast<std::size_t>(step.length_bytes));
    TRY(read, above_[i]->read(step.offset_bytes, buffer_).in(overlay_.path()));
    TRY(written, members_[i].device->write(step.offset_bytes, buffer_).in(members_[i].path));
    report_.bytes_written += step.length_bytes;
    if (run_.progress) {
      run_.progress({report_.bytes_written, plan_.data_bytes()});
    }
    return Done{};
  }

  OverlayFile& overlay_;
  const OverlayCommitPlan& plan_;
  const std::vector<WritableMember>& members_;
  UndoSink& undo_;
  NoUndo no_undo_;
  const Run& run_;
  std::vector<std::unique_ptr<BlockDevice>> above_;  // the plan's members with the overlay above them
  std::vector<std::byte> buffer_;
  OverlayCommitReport report_;
};

}  // namespace

Result<OverlayCommitReport> run_overlay_commit(OverlayFile& overlay, const OverlayCommitPlan& plan,
                                               const std::vector<WritableMember>& members, UndoSink& undo,
                                               const Run& run) {
  return Committer(overlay, plan, members, undo, run).execute();
}

}  // namespace mdtool
