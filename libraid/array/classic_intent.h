// SPDX-License-Identifier: GPL-2.0-or-later
// The classic bitmap of a running array, kept as md-bitmap.c keeps it: bits set and durable before data, cleared
// lazily, events_cleared where a member that comes back may rely on them.
#pragma once

#include <mutex>
#include <vector>

#include "libmeta/bitmap/classic.h"
#include "libraid/array/intent.h"
#include "libraid/array/write_out.h"

namespace mdtool {

class ClassicIntent final : public Intent {
 public:
  enum class Loaded { believed, stale };
  struct Start {
    Loaded loaded = Loaded::believed;
    Sectors component;                       // length of the sync range, which the bits cover
    Sectors resync_offset = Sectors::max();  // max(): the array is clean
    bool degraded = false;
    std::uint64_t events = 0;
    std::uint64_t block_bytes = Sectors::bytes_each;  // the unit of writing
  };
  ClassicIntent(bitmap::Classic loaded, const Start&, BitmapCopies);

  Status start_write(SectorRange rows) override;
  void end_write(SectorRange rows, Written, Ticks now) override;
  Status start_discard(SectorRange rows) override { return start_write(rows); }
  void discard(SectorRange) override {}  // there is no bit for it
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
    std::uint8_t passes = 0;    // of the daemon until an idle chunk's bit is cleared; 0: not to be cleared
    bool due : 1 = false;       // its parity may be wrong
    bool in_work : 1 = false;   // and is being put right
    bool spoiled : 1 = false;   // a write went wrong meanwhile
    bool prepared : 1 = false;  // nothing has happened to it since its data was to be flushed
  };
  struct Span {  // both inclusive
    std::uint64_t first;
    std::uint64_t last;
  };
  using Lock = WriteOut::Lock;

  void load(const Start&);
  Span chunks_of(SectorRange rows) const;
  SectorRange rows_of(std::uint64_t chunk) const;
  std::size_t block_of(std::uint64_t chunk) const;
  Span chunks_of_block(std::size_t block) const;
  bool is_degraded() const;
  void set_bit(std::uint64_t chunk);
  void clear_bit(std::uint64_t chunk);
  void enter(std::uint64_t chunk);
  void leave(std::uint64_t chunk);
  void set_due(std::uint64_t chunk);
  void set_passes(std::uint64_t chunk, std::uint8_t passes);
  void let_age(std::uint64_t chunk);
  void arm(Ticks now);
  bool pass(std::uint64_t chunk);
  Status write_events_cleared(Lock&);

  mutable std::mutex mutex_;
  bitmap::Classic bitmap_;
  Sectors component_;
  std::uint64_t block_bytes_;
  bool degraded_;
  std::uint64_t events_;          // of the superblocks
  std::uint64_t events_cleared_;  // may be ahead of the header's
  std::vector<Chunk> chunks_;
  std::vector<std::uint32_t> aging_;  // by block: chunks with passes left
  std::uint64_t aging_chunks_ = 0;
  std::uint64_t due_chunks_ = 0;
  std::optional<Ticks> daemon_at_;
  WriteOut out_;
};

}  // namespace mdtool
