// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/live_array.h"

#include <algorithm>
#include <bit>

namespace mdtool {

namespace {

// What a member is asked for at a time by one update, a chunk where that is less: long calls cost less, but what
// parity is computed from should still be in the cache when it is stored.
constexpr Sectors least_rows{128};
constexpr Sectors most_rows{512};
constexpr Sectors cached_stripe{3072};
constexpr std::size_t stripe_memory_bytes = std::size_t{32} << 20;
constexpr Ticks safe_mode_delay{200};  // md's default: idle for so long, and the array is marked clean
// A chunk with rows that could not be computed is tried again after this.
constexpr Ticks build_retry{60'000};
constexpr Ticks nothing_waiting{3'600'000};

Sectors rows_at_a_time(const Geometry& geometry) {
  const Sectors cached(std::bit_floor(cached_stripe.count() / geometry.raid_disks));
  return std::min(geometry.chunk, std::clamp(cached, least_rows, most_rows));
}

}  // namespace

// Announces itself before it looks at active_; mark_clean() takes that back before it looks who is there.
class LiveArray::InFlight {
 public:
  explicit InFlight(LiveArray& array) : array_(array) {}
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;
  ~InFlight() {
    if (entered_) {
      array_.last_write_ = array_.parts_.now();
      --array_.in_flight_;
    }
  }

  Status enter() {
    TRY(redundant, array_.parts_.members->check_redundancy());
    ++array_.in_flight_;
    entered_ = true;
    if (!array_.active_) {
      TRY(marked, array_.mark_active());
    }
    ++array_.started_;
    return Done{};
  }

 private:
  LiveArray& array_;
  bool entered_ = false;
};

LiveArray::LiveArray(const Layout& layout, LiveParts parts, const parity::Kernels& kernels)
    : layout_(layout),
      parts_(std::move(parts)),
      cache_(layout.geometry().raid_disks, rows_at_a_time(layout.geometry()), stripe_memory_bytes),
      stripes_(layout, *parts_.members, *parts_.intent, kernels),
      clean_(parts_.clean),
      events_(parts_.superblocks->events()),
      recorded_corrected_(parts_.members->slots()) {}

Status LiveArray::check_range(std::uint64_t offset_bytes, std::uint64_t length_bytes) const {
  if (!fits(offset_bytes, length_bytes, size_bytes())) {
    return Error{ErrorKind::out_of_range, "beyond the end of the array"};
  }
  if (offset_bytes % Sectors::bytes_each != 0 || length_bytes % Sectors::bytes_each != 0) {
    return Error{ErrorKind::usage, "an array is read and written in whole sectors"};
  }
  return Done{};
}

SectorRange LiveArray::stripes_of(SectorRange array_sectors) const {
  const Sectors chunk = layout_.geometry().chunk;
  const Sectors width = chunk * layout_.data_disks();
  const std::uint64_t first = array_sectors.first / width;
  const std::uint64_t last = (array_sectors.end() - Sectors(1)) / width;
  return {chunk * first, chunk * (last - first + 1)};
}

// ---- reading

Status LiveArray::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  TRY(in_range, check_range(offset_bytes, out.size()));
  const Sectors chunk = layout_.geometry().chunk;
  for (Sectors at = Sectors::from_bytes(offset_bytes); !out.empty();) {
    const std::size_t bytes = std::min<std::size_t>(out.size(), (chunk - at % chunk).bytes());
    if (Status done = read_place(layout_.data(at), out.first(bytes)); !done) {
      return std::move(done).in("array sector " + std::to_string(at.count()));
    }
    out = out.subspan(bytes);
    at += Sectors::from_bytes(bytes);
  }
  return Done{};
}

Status LiveArray::read_place(Place place, std::span<std::byte> out) const {
  const LiveMembers& members = *parts_.members;
  while (!out.empty()) {
    const auto [good, until] = members.validity(place.slot, place.sector);
    const Sectors unit_end = (Sectors(place.sector / cache_.rows()) + Sectors(1)) * cache_.rows().count();
    const Sectors end = std::min(place.sector + Sectors::from_bytes(out.size()), good ? until : unit_end);
    const std::span<std::byte> part = out.first((end - place.sector).bytes());
    if (!good || !members.read(place.slot, place.sector, part)) {
      TRY(done, read_leased(place, part));
    }
    out = out.subspan(part.size());
    place.sector = end;
  }
  return Done{};
}

// While nobody updates the stripes: what has to be reconstructed must not change meanwhile.
Status LiveArray::read_leased(Place place, std::span<std::byte> out) const {
  while (!out.empty()) {
    const std::uint64_t stripe = place.sector / cache_.rows();
    const Sectors end = std::min(place.sector + Sectors::from_bytes(out.size()), cache_.rows() * (stripe + 1));
    StripeCache::Lease lease(cache_, stripe);
    const std::span<std::byte> part = out.first((end - place.sector).bytes());
    TRY(done, stripes_.read(place.slot, {place.sector, end - place.sector}, part, lease.workspace()));
    out = out.subspan(part.size());
    place.sector = end;
  }
  return Done{};
}

// ---- writing

template <typename Act>
Status LiveArray::change(SectorRange rows, Change kind, Act act) {
  InFlight write(*this);
  TRY(entered, write.enter());
  Intent& intent = *parts_.intent;
  TRY(marked, kind == Change::data ? intent.start_write(rows) : intent.start_discard(rows));
  // A member that did not take the mark may be the one whose word a kernel takes after a cut: the others disown it
  // first.
  Status done = parts_.members->failures_seen() == 0 ? Status(Done{}) : record_failures();
  if (done) {
    done = act();
  }
  if (done && kind == Change::discarded) {
    intent.discard(rows);
  }
  if (done) {
    // Nobody may rely on data that a member lacks which the others still call good.
    done = record_failures();
  }
  intent.end_write(rows, done ? Intent::Written::yes : Intent::Written::no, parts_.now());
  return done;
}

Status LiveArray::write(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  TRY(in_range, check_range(offset_bytes, in.size()));
  if (in.empty()) {
    return Done{};
  }
  const WriteRequest request{Sectors::from_bytes(offset_bytes), in};
  const SectorRange rows = stripes_of({request.first, Sectors::from_bytes(in.size())});
  return change(rows, Change::data, [&] { return write_stripes(request); });
}

Status LiveArray::write_stripes(const WriteRequest& request) {
  const Sectors chunk = layout_.geometry().chunk;
  const Sectors unit = cache_.rows();
  const Sectors end = request.first + Sectors::from_bytes(request.bytes.size());
  const SectorRange all = stripes_of({request.first, end - request.first});
  for (Sectors row = all.first; row < all.end(); row += unit) {
    // The rows of one chunk only, where the request lies within one.
    if (request.first / chunk == (end - Sectors(1)) / chunk) {
      const Sectors within = row % chunk;
      if (within + unit <= request.first % chunk || within > (end - Sectors(1)) % chunk) {
        continue;
      }
    }
    const SectorRange rows{row, std::min(unit, all.end() - row)};
    // No more than a std::function keeps without allocating.
    const StripeCache::Update update = [this, &rows](std::span<const WriteRequest* const> batch, Workspace& workspace) {
      return stripes_.write(rows, batch, workspace);
    };
    TRY(done, cache_.update(row / unit, request, update));
  }
  return Done{};
}

Status LiveArray::zero_stripes(SectorRange rows) {
  for (Sectors row = rows.first; row < rows.end(); row += cache_.rows()) {
    StripeCache::Lease lease(cache_, row / cache_.rows());
    TRY(done, stripes_.zero({row, std::min(cache_.rows(), rows.end() - row)}));
  }
  return Done{};
}

// Zeroes what of the range is whole stripes, and says what that is, in array sectors.
Result<SectorRange> LiveArray::zero_whole_stripes(SectorRange range, Change kind) {
  const Sectors chunk = layout_.geometry().chunk;
  const Sectors width = chunk * layout_.data_disks();
  const std::uint64_t first = (range.first + width - Sectors(1)) / width;
  const std::uint64_t end = range.end() / width;
  if (first >= end) {
    return SectorRange{range.first, Sectors(0)};
  }
  const SectorRange rows{chunk * first, chunk * (end - first)};
  TRY(zeroed, change(rows, kind, [&] { return zero_stripes(rows); }));
  return SectorRange{width * first, width * (end - first)};
}

Status LiveArray::zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  TRY(in_range, check_range(offset_bytes, length_bytes));
  const SectorRange range{Sectors::from_bytes(offset_bytes), Sectors::from_bytes(length_bytes)};
  TRY(whole, zero_whole_stripes(range, Change::data));
  TRY(before, BlockDevice::zero(offset_bytes, (whole.first - range.first).bytes()));
  return BlockDevice::zero(whole.end().bytes(), (range.end() - whole.end()).bytes());
}

Status LiveArray::discard(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  TRY(in_range, check_range(offset_bytes, length_bytes));
  TRY(done,
      zero_whole_stripes({Sectors::from_bytes(offset_bytes), Sectors::from_bytes(length_bytes)}, Change::discarded));
  return Done{};
}

Status LiveArray::flush() {
  TRY(flushed, parts_.members->flush());
  return record_failures();
}

// ---- superblocks

// With mutex_ held. The bitmap's header first: one that is older than the superblock counts as stale.
Status LiveArray::write_metadata(Sectors resync_offset) {
  LiveMembers& members = *parts_.members;
  std::uint64_t seen;
  do {
    seen = members.failures_seen();
    TRY(redundant, members.check_redundancy());
    const std::vector<LiveMembers::Failure> failures = members.failures();
    if (!failures.empty()) {
      parts_.intent->degraded();
    }
    std::vector<std::uint32_t> faulty;
    std::transform(failures.begin(), failures.end(), std::back_inserter(faulty), [](const auto& f) { return f.slot; });
    std::vector<std::uint32_t> corrected = corrected_reads();
    ++events_;
    TRY(header, parts_.intent->write_header(events_));
    TRY(written, parts_.superblocks->write({events_, resync_offset, faulty, corrected}));
    clean_ = resync_offset.is_max();
    recorded_failures_ = failures.size();
    recorded_corrected_ = std::move(corrected);
  } while (members.failures_seen() != seen);
  return Done{};
}

Status LiveArray::mark_active() {
  const std::lock_guard lock(mutex_);
  if (!active_) {
    TRY(marked, write_metadata(Sectors(0)));
    active_ = true;
  }
  return Done{};
}

Status LiveArray::record_failures() {
  const LiveMembers& members = *parts_.members;
  if (recorded_failures_ == members.failures_seen()) {
    return members.check_redundancy();
  }
  const std::lock_guard lock(mutex_);
  if (recorded_failures_ == members.failures_seen()) {
    return members.check_redundancy();
  }
  return write_metadata(active_ ? Sectors(0) : parts_.intent->resync_offset());
}

// ---- maintenance

Result<Ticks> LiveArray::maintain() {
  TRY(recorded, record_failures());
  TRY(built, build_parity());
  if (built) {
    return Ticks(0);
  }
  const Ticks now = parts_.now();
  TRY(cleared, clear_intent(now));
  TRY(marked, mark_clean());
  const Ticks again = parts_.now();
  Ticks next = nothing_waiting;
  for (const std::optional<Ticks> wait : {parts_.intent->clears_in(again), until_idle(again)}) {
    next = std::min(next, wait.value_or(next));
  }
  if (parts_.members->complete() && parts_.intent->anything_due()) {
    next = std::min(next, std::max(build_again_ - again, Ticks(0)));
  }
  return next;
}

// One chunk that is due. False where there was none to build.
Result<bool> LiveArray::build_parity() {
  Intent& intent = *parts_.intent;
  if (!parts_.members->complete() || !intent.anything_due() || parts_.now() < build_again_) {
    return false;
  }
  InFlight writing(*this);
  TRY(entered, writing.enter());
  const std::optional<SectorRange> rows = intent.start_sync(build_from_);
  if (!rows) {
    build_again_ = left_some_ ? parts_.now() + build_retry : Ticks(0);
    const bool turned = !build_from_.is_zero() && !left_some_;
    build_from_ = Sectors(0);
    left_some_ = false;
    return turned;
  }
  Stripes::Synced synced = Stripes::Synced::all;
  Status done = Done{};
  const Sectors unit = cache_.rows();
  for (Sectors row = rows->first; done && row < rows->end();) {
    const std::uint64_t stripe = row / unit;
    const Sectors end = std::min(rows->end(), unit * (stripe + 1));
    StripeCache::Lease lease(cache_, stripe);
    const auto one = stripes_.synchronise({row, end - row}, lease.workspace());
    if (!one) {
      done = one.error();
    } else if (*one == Stripes::Synced::left) {
      synced = Stripes::Synced::left;
    }
    row = end;
  }
  if (done) {
    done = record_failures();
  }
  const bool all = done && synced == Stripes::Synced::all && parts_.members->complete();
  left_some_ = left_some_ || !all;
  intent.end_sync(*rows, all ? Intent::Synced::yes : Intent::Synced::no, parts_.now());
  build_from_ = rows->end();
  TRY(built, std::move(done));
  return true;
}

Status LiveArray::clear_intent(Ticks now) {
  if (!parts_.intent->prepare_to_clear(now)) {
    return Done{};
  }
  TRY(flushed, flush());
  return parts_.intent->clear_prepared(now);
}

std::optional<Ticks> LiveArray::until_idle(Ticks now) const {
  const std::lock_guard lock(mutex_);
  if (!active_ && clean_) {
    return std::nullopt;
  }
  const Ticks left = last_write_.load() + safe_mode_delay - now;
  return left > Ticks(0) ? left : safe_mode_delay;
}

Status LiveArray::mark_clean() {
  const auto idle = [&] {
    return in_flight_ == 0 && parts_.now() - last_write_.load() >= safe_mode_delay &&
           parts_.intent->resync_offset().is_max();
  };
  std::uint64_t started;
  {
    const std::lock_guard lock(mutex_);
    if ((!active_ && clean_) || !idle()) {
      return Done{};
    }
    started = started_;
  }
  TRY(flushed, flush());
  const std::lock_guard lock(mutex_);
  const bool was_active = active_.exchange(false);
  Status marked = Done{};
  if (idle() && started_ == started) {
    marked = write_metadata(Sectors::max());
  }
  active_ = was_active && !clean_;
  return marked;
}

Status LiveArray::stop() {
  TRY(flushed, flush());
  const std::lock_guard lock(mutex_);
  const bool counted = corrected_reads() == recorded_corrected_;
  if (started_ == 0 && recorded_failures_ == 0 && clean_ && counted) {
    return Done{};
  }
  // Where the superblocks say it all already, only the bitmap has something to add.
  const bool settled = !active_ && clean_ && counted;
  TRY(intent, parts_.intent->write_all(settled ? events_ : events_ + 1));
  if (settled && recorded_failures_ == parts_.members->failures_seen()) {
    return Done{};
  }
  TRY(written, write_metadata(parts_.intent->resync_offset()));
  active_ = false;
  return Done{};
}

std::vector<std::uint32_t> LiveArray::corrected_reads() const {
  std::vector<std::uint32_t> corrected;
  for (std::uint32_t slot = 0; slot < parts_.members->slots(); ++slot) {
    corrected.push_back(stripes_.corrected_reads(slot));
  }
  return corrected;
}

LiveCondition LiveArray::condition() const {
  const LiveMembers& members = *parts_.members;
  LiveCondition now;
  now.corrected_reads = corrected_reads();
  now.degraded = !members.complete();
  now.failed = members.failed();
  now.failures = members.failures();
  now.due = parts_.intent->anything_due();
  const std::lock_guard lock(mutex_);
  now.active = active_;
  now.events = events_;
  return now;
}

}  // namespace mdtool
