// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/zero_init.h"

#include <algorithm>

#include "libraid/engine/checkpoints.h"
#include "libraid/engine/zero.h"

namespace mdtool {

namespace {

// recovery_cp of 0.90 has 32 bits, and all ones mean clean.
constexpr Sectors last_checkpoint_0_90(0xfffffffe);

// Between two looks at whether to stop: as much as takes about this long.
class Step {
 public:
  Sectors size() const { return size_; }
  void took(std::chrono::steady_clock::duration time) {
    if (time < fast && size_ < most) {
      size_ = size_ * 2;
    } else if (time > slow && size_ > least) {
      size_ = size_ / 2;
    }
  }

 private:
  static constexpr auto fast = std::chrono::milliseconds(100), slow = std::chrono::milliseconds(500);
  static constexpr Sectors least{2048}, most{2097152};  // 1 MiB, 1 GiB

  Sectors size_ = least;
};

SuperblockChange with_resync_offset(Sectors offset) {
  SuperblockChange change;
  change.resync_offset = offset;
  change.recovery = SuperblockChange::Recovery::clear;
  return change;
}

void finish_all(WriteIntent& intent, BuiltState built) {
  for (const std::uint64_t chunk : intent.due()) {
    intent.finish_zeroed(chunk, built);
  }
}

class Runner {
 public:
  Runner(const Assembly& a, ZeroInitPlan plan, MetadataStages& stages, const Clock& clock, const Run& run)
      : a_(a),
        plan_(std::move(plan)),
        before_(plan_.intent),
        stages_(stages),
        metadata_(a, plan_, stages, clock),
        zeroing_(members(stages)),
        run_(run) {}

  Result<ZeroInitReport> execute() {
    TRY(same, metadata_.check_identity());
    TRY(begun, begin());
    const Status done = zero_everything();
    report_.bytes_zeroed = zeroing_.bytes_zeroed();
    if (!done) {
      return done.error();
    }
    if (report_.interrupted) {
      return report_;
    }
    TRY(finished, finish());
    return report_;
  }

 private:
  std::vector<ZeroMember> members(const MetadataStages& stages) const {
    std::vector<ZeroMember> members;
    for (std::size_t i = 0; i < plan_.members.size(); ++i) {
      const WritableMember& m = stages.members()[i];
      const MemberDescription& d = a_.members[plan_.members[i].member].description();
      members.push_back({m.path, m.device, m.past_cache, d.data_offset.bytes()});
    }
    return members;
  }

  // An undo brings no data back: it goes back to here, where nothing vouches for parity, and not to a clean array.
  Status begin() {
    if (plan_.due.empty()) {
      return metadata_.begin(plan_.intent);
    }
    stages_.let_replaced_be(MetadataStages::Replaced::given_up);
    TRY(begun, metadata_.begin(plan_.intent));
    TRY(marked, metadata_.write(with_resync_offset(plan_.start), plan_.intent));
    stages_.let_replaced_be(MetadataStages::Replaced::kept);
    return Done{};
  }

  Status zero_everything() {
    Checkpoints checkpoints(run_.checkpoint_interval);
    for (const SectorRange& range : plan_.due) {
      for (reached_ = range.first; reached_ < range.end();) {
        if (run_.stop.stop_requested()) {
          report_.interrupted = true;
          return checkpoint();
        }
        if (checkpoints.due()) {
          TRY(saved, checkpoint());
          checkpoints.taken();
        }
        const Sectors count = std::min(step_.size(), range.end() - reached_);
        if (auto zeroed = zero({reached_, count}); !zeroed) {
          // What was done before is kept; the first error is the one to tell.
          [[maybe_unused]] auto saved = checkpoint();
          return zeroed;
        }
        reached_ += count;
      }
    }
    return Done{};
  }

  Status zero(SectorRange range) {
    const auto began = std::chrono::steady_clock::now();
    TRY(zeroed, zeroing_.zero(range));
    step_.took(std::chrono::steady_clock::now() - began);
    if (!unverified_.empty() && unverified_.back().end() == range.first) {
      unverified_.back().count += range.count;
    } else {
      unverified_.push_back(range);
    }
    done_bytes_ += range.count.bytes();
    if (run_.progress) {
      run_.progress({done_bytes_, plan_.due_bytes()});
    }
    return Done{};
  }

  // Durable and seen to be zero first, then said.
  Status settle() {
    TRY(flushed, zeroing_.flush());
    TRY(verified, verify(unverified_, Sampling::brief));
    unverified_.clear();
    const std::vector<std::uint64_t>& due = plan_.intent.due();
    for (; next_ < due.size() && plan_.intent.range_of(due[next_]).end() <= reached_; ++next_) {
      plan_.intent.finish_zeroed(due[next_], plan_.task.built);
      ++report_.chunks_zeroed;
    }
    return Done{};
  }

  // Who lied once may have lied before: nothing that this run called zero stays called so.
  Status verify(const std::vector<SectorRange>& ranges, Sampling sampling) {
    auto verified = zeroing_.verify_samples(ranges, sampling);
    if (!verified) {
      plan_.intent = before_;
      [[maybe_unused]] auto taken_back = plan_.intent.has_bitmap()
                                             ? metadata_.write_bitmap(plan_.intent)
                                             : metadata_.write(with_resync_offset(plan_.start), plan_.intent);
    }
    return verified;
  }

  Status checkpoint() {
    TRY(settled, settle());
    if (plan_.intent.has_bitmap()) {
      return metadata_.write_bitmap(plan_.intent);
    }
    const Sectors zeroed = plan_.intent.range_of(plan_.intent.due()[next_]).first;
    if (a_.array().metadata == "0.90" && zeroed > last_checkpoint_0_90) {
      return Done{};
    }
    return metadata_.write(with_resync_offset(zeroed), plan_.intent);
  }

  Status finish() {
    TRY(settled, settle());
    TRY(verified, verify(plan_.due, Sampling::thorough));
    return metadata_.write(with_resync_offset(Sectors::max()), plan_.intent);
  }

  const Assembly& a_;
  ZeroInitPlan plan_;
  const WriteIntent before_;
  MetadataStages& stages_;
  ArrayMetadata metadata_;
  Zeroing zeroing_;
  const Run& run_;
  Step step_;
  Sectors reached_;                      // everything due below it was zeroed
  std::size_t next_ = 0;                 // the first due chunk that is not finished
  std::vector<SectorRange> unverified_;  // since the last checkpoint
  std::uint64_t done_bytes_ = 0;         // on each member
  ZeroInitReport report_;
};

}  // namespace

std::vector<Patch> metadata_after(const Assembly& a, const ZeroInitPlan& plan, const PlannedMember& planned,
                                  const Clock& clock) {
  SuperblockChange last = with_resync_offset(Sectors::max());
  last.events = plan.events_after(plan.due.empty() ? 1 : 2);
  last.utime_seconds = clock.now_seconds;
  WriteIntent intent = plan.intent;
  finish_all(intent, plan.task.built);
  return metadata_after(a, plan, planned, std::move(intent), last);
}

Result<ZeroInitReport> run_zero_init(const Assembly& a, ZeroInitPlan plan, MetadataStages& stages, const Clock& clock,
                                     const Run& run) {
  return Runner(a, std::move(plan), stages, clock, run).execute();
}

}  // namespace mdtool
