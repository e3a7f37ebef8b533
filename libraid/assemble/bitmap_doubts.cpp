// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/bitmap_doubts.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>

#include "libraid/assemble/open_array.h"
#include "libraid/engine/sync.h"

namespace mdtool {

namespace {

using bitmap::ChunkState;

// How much of each member is read between two looks at whether to stop.
constexpr Sectors step_sectors(32768);

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

// The engine takes devices; this one cannot be written.
class ReadOnly final : public BlockDevice {
 public:
  explicit ReadOnly(const Source& source) : source_(source) {}
  std::uint64_t size_bytes() const override { return source_.size_bytes(); }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override {
    return source_.read(offset_bytes, out);
  }
  Status write(std::uint64_t, std::span<const std::byte>) override { return refused("opened for reading only"); }
  Status flush() override { return Done{}; }

 private:
  const Source& source_;
};

// The doubt that this state can be in; none: whatever is due anyway promises nothing.
std::optional<Doubt> doubt_about(std::uint8_t raw_state) {
  switch (static_cast<ChunkState>(raw_state)) {
    case ChunkState::clean:
      return Doubt::wrong_parity_clean;
    case ChunkState::clean_unwritten:
      return Doubt::wrong_parity_clean_unwritten;
    case ChunkState::unwritten:
      return Doubt::data_in_unwritten;
    default:
      return std::nullopt;
  }
}

bool confirms(Doubt doubt, const SyncOutcome& outcome) {
  return doubt == Doubt::data_in_unwritten ? !outcome.data_is_zero : outcome.parity_bytes_wrong != 0;
}

Status check_usable(const Assembly& a) {
  switch (a.bitmap.trust) {
    case Trust::absent:
      return refused("the array has no write-intent bitmap: there are no states to doubt");
    case Trust::rejected:
      return refused("the bitmap cannot be used: no state in it means anything");
    case Trust::stale:
      return refused("the bitmap missed updates: every chunk is due, and mdtool resync settles them");
    case Trust::first_use:
      return refused("the bitmap has not been used yet: it has no states");
    case Trust::believed:
      break;
  }
  if (!a.bitmap.lockless) {
    return refused("the bitmap is a classic one: its bits only say what is due, they promise nothing");
  }
  if (!a.complete) {
    return refused("a slot is missing or being rebuilt: parity can be compared on complete arrays only");
  }
  return Done{};
}

class Search {
 public:
  Search(const Assembly& a, const Layout& layout, ParitySync sync, const Run& run)
      : states_(*a.bitmap.lockless), component_(layout.geometry().component_size), sync_(std::move(sync)), run_(run) {}

  Result<DoubtReport> all() {
    for (std::uint64_t chunk = 0; chunk < states_.chunks(); ++chunk) {
      progress_.total_bytes += doubt_about(states_.raw(chunk)) ? range_of(chunk).count.bytes() : 0;
    }
    for (std::uint64_t chunk = 0; chunk < states_.chunks() && !report_.interrupted; ++chunk) {
      if (const auto doubt = doubt_about(states_.raw(chunk))) {
        TRY(looked, look_at(chunk, *doubt));
      }
    }
    return std::move(report_);
  }

 private:
  SectorRange range_of(std::uint64_t chunk) const {
    const Sectors first = std::min(states_.chunk() * chunk, component_);
    return {first, std::min(states_.chunk(), component_ - first)};
  }

  Status look_at(std::uint64_t chunk, Doubt doubt) {
    SectorRange left = range_of(chunk);
    bool confirmed = false;
    while (!left.count.is_zero()) {
      if (run_.stop.stop_requested()) {
        report_.interrupted = true;
        return Done{};
      }
      const SectorRange step{left.first, std::min(left.count, step_sectors)};
      if (!confirmed) {  // one row says enough about its chunk
        TRY(outcome, sync_.sync(step, ParitySync::Mode::check).in("chunk " + std::to_string(chunk)));
        confirmed = confirms(doubt, outcome);
      }
      left = {step.end(), left.count - step.count};
      progress_.done_bytes += step.count.bytes();
      if (run_.progress) {
        run_.progress(progress_);
      }
    }
    ++report_.chunks_read;
    if (confirmed) {
      report_.chunks.push_back({chunk, doubt});
    }
    return Done{};
  }

  const bitmap::Lockless& states_;
  Sectors component_;
  ParitySync sync_;
  const Run& run_;
  Progress progress_;
  DoubtReport report_;
};

}  // namespace

std::string_view doubt_name(Doubt doubt) {
  switch (doubt) {
    case Doubt::wrong_parity_clean:
      return "wrong-parity-clean";
    case Doubt::wrong_parity_clean_unwritten:
      return "wrong-parity-clean-unwritten";
    case Doubt::data_in_unwritten:
      break;
  }
  return "data-in-unwritten";
}

Result<DoubtReport> find_doubts(const Assembly& a, const parity::Kernels& kernels, const Run& run) {
  TRY(layout, workable_layout(a));
  TRY(usable, check_usable(a));
  std::vector<std::unique_ptr<ReadOnly>> devices;
  std::vector<SyncMember> members;
  for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
    const Member& m = *a.in_slot(slot);
    TRY(bad, bad_ranges(m, a.bitmap));
    devices.push_back(std::make_unique<ReadOnly>(*m.candidate->data));
    members.push_back({devices.back().get(), m.description().data_offset, Sectors::max(), std::move(bad)});
  }
  return Search(a, layout, ParitySync(layout, std::move(members), kernels), run).all();
}

}  // namespace mdtool
