// SPDX-License-Identifier: GPL-2.0-or-later
// An array without a write-intent bitmap: all that is known is from where to where parity may be wrong, and the
// superblock's resync_offset is the only place to say so.
#pragma once

#include <mutex>

#include "libraid/array/intent.h"

namespace mdtool {

class NoIntent final : public Intent {
 public:
  struct Start {
    Sectors component;                       // length of the sync range
    Sectors chunk;                           // the array's
    Sectors resync_offset = Sectors::max();  // max(): clean
    bool degraded = false;
  };
  explicit NoIntent(const Start&);

  Status start_write(SectorRange) override { return Done{}; }
  void end_write(SectorRange rows, Written, Ticks now) override;
  Status start_discard(SectorRange) override { return Done{}; }
  void discard(SectorRange) override {}
  bool trusts_parity(SectorRange rows) const override;
  std::optional<SectorRange> start_sync(Sectors from) override;
  void end_sync(SectorRange rows, Synced, Ticks now) override;
  bool anything_due() const override;
  Sectors resync_offset() const override;
  bool prepare_to_clear(Ticks) override { return false; }
  Status clear_prepared(Ticks) override { return Done{}; }
  std::optional<Ticks> clears_in(Ticks) const override { return std::nullopt; }
  void degraded() override;
  Status write_header(std::uint64_t) override { return Done{}; }
  Status write_all(std::uint64_t) override { return Done{}; }

 private:
  mutable std::mutex mutex_;
  Sectors component_;
  Sectors unit_;
  SectorRange due_;  // empty: nothing
  bool degraded_;
  bool in_work_ = false;  // the unit at the start of due_
  bool spoiled_ = false;  // by a write that went wrong meanwhile
};

}  // namespace mdtool
