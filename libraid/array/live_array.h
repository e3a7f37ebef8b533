// SPDX-License-Identifier: GPL-2.0-or-later
// An array of level 4, 5 or 6 in use: read and written by many threads, healthy or degraded, its bitmap and superblocks
// kept as md keeps them. Starts no thread: whoever serves it calls maintain(). Knows no metadata format.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "libraid/array/intent.h"
#include "libraid/array/live_members.h"
#include "libraid/array/stripe_cache.h"
#include "libraid/array/stripes.h"
#include "libraid/array/superblocks.h"
#include "libraid/io/block_device.h"
#include "libraid/parity/kernels.h"

namespace mdtool {

struct LiveParts {
  std::unique_ptr<LiveMembers> members;
  std::unique_ptr<Intent> intent;
  std::unique_ptr<Superblocks> superblocks;
  std::function<Ticks()> now;  // a clock that never goes back
  bool clean = true;           // as the superblocks say at the start
};

struct LiveCondition {
  bool active = false;  // the superblocks say that writes may be in flight
  bool degraded = false;
  bool failed = false;  // too few members: nothing is written any more
  bool due = false;     // parity of some chunks is still to be built
  std::uint64_t events = 0;
  std::vector<LiveMembers::Failure> failures;
  std::vector<std::uint32_t> corrected_reads;  // sectors, by slot
};

class LiveArray final : public BlockDevice {
 public:
  LiveArray(const Layout&, LiveParts, const parity::Kernels&);

  std::uint64_t size_bytes() const override { return layout_.array_size().bytes(); }
  // All offsets and lengths are whole sectors, else: usage.
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;
  // When it returns, the data is with the members: the end of this process does not lose it, a power cut may until the
  // next flush(). Refused once the array has failed.
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) override;
  Status zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override;
  // Whole stripes only, which then read as zeroes; the ends of the range stay as they are.
  Status discard(std::uint64_t offset_bytes, std::uint64_t length_bytes) override;
  Status flush() override;

  // Does what is due by now: a piece of parity, clearing bits, the clean mark after idle time. Returns how long nothing
  // more will be due; zero: at once. One caller at a time; it waits for no reader or writer longer than for a stripe.
  Result<Ticks> maintain();
  // Orderly end, after the last of all other calls: flushes, writes bitmap and superblocks, clean where that is true.
  // Nothing is written where nothing had been, and no unreadable sector was rewritten.
  Status stop();
  LiveCondition condition() const;

 private:
  // One write in flight: the array is marked active before, and not marked clean while it lasts.
  class InFlight;
  enum class Change { data, discarded };

  Status check_range(std::uint64_t offset_bytes, std::uint64_t length_bytes) const;
  SectorRange stripes_of(SectorRange array_sectors) const;  // component sectors
  Status read_place(Place, std::span<std::byte> out) const;
  Status read_leased(Place, std::span<std::byte> out) const;
  template <typename Act>  // Status act()
  Status change(SectorRange rows, Change, Act act);
  Status write_stripes(const WriteRequest&);
  Status zero_stripes(SectorRange rows);
  Result<SectorRange> zero_whole_stripes(SectorRange array_sectors, Change);

  Status mark_active();
  Status record_failures();
  Status write_metadata(Sectors resync_offset);
  std::optional<Ticks> until_idle(Ticks now) const;
  Result<bool> build_parity();
  Status clear_intent(Ticks now);
  Status mark_clean();
  std::vector<std::uint32_t> corrected_reads() const;

  Layout layout_;
  LiveParts parts_;
  mutable StripeCache cache_;
  mutable Stripes stripes_;

  mutable std::mutex mutex_;  // of all superblock writes and what they say; the atomic ones change with it, too
  std::atomic<bool> active_ = false;
  bool clean_;  // as the superblocks say
  std::uint64_t events_;
  std::atomic<std::uint64_t> recorded_failures_ = 0;
  std::vector<std::uint32_t> recorded_corrected_;  // by slot

  // Of every write, without a lock: see InFlight.
  alignas(cache_line_bytes) std::atomic<std::uint64_t> in_flight_ = 0;
  std::atomic<std::uint64_t> started_ = 0;  // writes so far
  std::atomic<Ticks> last_write_{};

  // maintain()'s own.
  alignas(cache_line_bytes) Sectors build_from_;
  bool left_some_ = false;
  Ticks build_again_{};
};

}  // namespace mdtool
