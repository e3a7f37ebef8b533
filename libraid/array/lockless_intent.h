// SPDX-License-Identifier: GPL-2.0-or-later
// The lockless bitmap of a running array, kept as md-llbitmap.c of Linux 7.2 keeps it. Knows when states change and
// when they must be on the members; which state follows which, and what it drags along, is LocklessWalk's.
#pragma once

#include <mutex>
#include <vector>

#include "libmeta/bitmap/lockless_walk.h"
#include "libraid/array/intent.h"
#include "libraid/array/write_out.h"

namespace mdtool {

class LocklessIntent final : public Intent {
 public:
  enum class Loaded {
    believed,
    stale,      // it missed updates: everything is due, also what it calls unwritten
    first_use,  // states are made up: Clean with the header's CLEAN flag, else Unwritten
  };
  struct Start {
    Loaded loaded = Loaded::believed;
    Sectors component;  // length of the sync range, which the chunks cover
    bool raid456 = true;
    bool clean = true;  // the array, by its superblocks
    bool degraded = false;
    std::uint64_t events = 0;
    std::uint64_t block_bytes = Sectors::bytes_each;  // the array's logical block size
  };
  LocklessIntent(bitmap::Lockless loaded, const Start&, BitmapCopies);

  Status start_write(SectorRange rows) override;
  void end_write(SectorRange rows, Written, Ticks now) override;
  Status start_discard(SectorRange rows) override;
  void discard(SectorRange rows) override;
  bool trusts_parity(SectorRange rows) const override;
  std::optional<SectorRange> start_sync(Sectors from) override;
  void end_sync(SectorRange rows, Synced, Ticks now) override;
  bool anything_due() const override;
  Sectors resync_offset() const override;
  bool prepare_to_clear(Ticks now) override;
  Status clear_prepared(Ticks now) override;
  std::optional<Ticks> clears_in(Ticks now) const override;
  void degraded() override;
  Status write_header(std::uint64_t events) override;
  Status write_all(std::uint64_t events) override;

 private:
  struct Chunk {
    std::uint16_t in_flight = 0;
    bool shared : 1 = false;        // two writes were in flight at once since it was last idle
    bool crash_due : 1 = false;     // written rows may have wrong parity: the array is not clean
    bool keeps_parity : 1 = false;  // NeedSync only for a missing member's sake
    bool spoiled : 1 = false;       // a write went wrong while its parity was being built
  };
  // 4 KiB of state bytes: what the kernel's daemon clears at once.
  struct Page {
    std::uint64_t in_flight = 0;
    std::optional<Ticks> last_write;
    bool prepared = false;
  };
  struct Span {  // of chunks or pages, both inclusive
    std::uint64_t first;
    std::uint64_t last;
  };
  using Lock = WriteOut::Lock;

  void load(const Start&);
  Span chunks_of(SectorRange rows) const;
  Span chunks_inside(SectorRange rows) const;
  Span chunks_of_page(std::uint64_t page) const;
  SectorRange rows_of(std::uint64_t chunk) const;
  static std::uint64_t page_of(std::uint64_t chunk);
  bool is_degraded() const;
  bitmap::Condition condition() const;
  void enter(Span chunks);
  void leave(Span chunks);
  void keep_parity_in_mind(Span chunks);
  void mark_for_discard(std::uint64_t chunk);
  Status settle(Lock&, Span chunks);
  void pass_on_waiting(std::uint64_t first_block, std::uint64_t last_block);
  Status write_everything(Lock&);
  void spoil(std::uint64_t chunk);
  void set_crash_due(Chunk&);
  void clear_crash_due(Chunk&);
  bool trusts(std::uint64_t chunk) const;
  bool is_ripe(std::uint64_t page, Ticks now) const;
  void arm(Ticks now);

  mutable std::mutex mutex_;
  bitmap::LocklessWalk walk_;
  bool raid456_;
  bool degraded_;
  Sectors component_;
  std::vector<Chunk> chunks_;
  std::vector<Page> pages_;
  std::uint64_t crash_due_ = 0;  // chunks
  std::optional<Ticks> daemon_at_;
  WriteOut out_;
};

}  // namespace mdtool
