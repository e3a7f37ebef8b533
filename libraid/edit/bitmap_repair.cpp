// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "libmeta/bitmap/new_bitmap.h"
#include "libraid/assemble/array_metadata.h"
#include "libraid/edit/bitmap_change.h"
#include "libraid/edit/bitmap_debt.h"
#include "libraid/edit/bitmap_rules.h"
#include "libraid/edit/bitmap_stages.h"
#include "libraid/edit/meaning.h"
#include "libraid/edit/try_plan.h"

namespace mdtool {

namespace {

using bitmap::ChunkState;

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

struct Damaged {
  const Candidate* candidate = nullptr;
  std::uint64_t offset_bytes = 0;
  bitmap::Header header;
};

std::vector<Damaged> damaged_copies(const Assembly& a) {
  std::vector<Damaged> found;
  for (const Member& m : a.members) {
    if (m.candidate == nullptr || m.state != MemberState::in_sync || !m.description().bitmap_offset_bytes) {
      continue;
    }
    const std::uint64_t at = *m.description().bitmap_offset_bytes;
    const auto header = bitmap::read_header(*m.candidate->metadata, at);
    if (header && bitmap::overwritten_by_states(*header)) {
      found.push_back({m.candidate, at, *header});
    }
  }
  return found;
}

// llbitmap_infect_dirty_bits(): header bytes that look like Unwritten, Clean and CleanUnwritten became Dirty, or
// NeedSync. What the zeroes of version 6 became says which.
std::array<unsigned char, 4> infected(std::uint32_t number, unsigned char unwritten_became) {
  auto bytes = std::bit_cast<std::array<unsigned char, 4>>(le32(number));
  for (unsigned char& byte : bytes) {
    byte = byte == static_cast<unsigned char>(ChunkState::unwritten) ? unwritten_became
           : byte == static_cast<unsigned char>(ChunkState::clean) ||
                   byte == static_cast<unsigned char>(ChunkState::clean_unwritten)
               ? static_cast<unsigned char>(ChunkState::dirty)
               : byte;
  }
  return bytes;
}

// The only chunk size, in sectors, that can have been there; none if there are several. It is whole where the kernel
// has updated the header since: llbitmap_update_sb() writes the size anew, but not the version (seen in the lab).
std::optional<std::uint32_t> surviving_chunk(const bitmap::Header& header, std::uint32_t least) {
  if ((header.state & bitmap::state_first_use) != 0) {
    return std::nullopt;  // mdadm's placeholder
  }
  const auto became = static_cast<unsigned char>(header.version >> 24);
  const auto there = std::bit_cast<std::array<unsigned char, 4>>(header.chunksize);
  std::optional<std::uint32_t> found;
  for (std::uint32_t chunk = least; chunk != 0; chunk <<= 1) {
    if (header.chunksize == chunk || infected(chunk, became) == there) {
      if (found) {
        return std::nullopt;
      }
      found = chunk;
    }
  }
  return found;
}

class Repairer {
 public:
  Repairer(const Assembly& array, const BitmapNow& now, std::vector<Damaged> damaged, const EditClock& clock)
      : a_(array), now_(now), damaged_(std::move(damaged)), clock_(clock) {}

  Result<EditPlan> plan() && {
    TRY(shape, shape_now());
    TRY(states, states_in(shape));
    BitmapTurn turn;
    turn.array = &a_;
    turn.members = bitmap_holders(a_);
    turn.before = shape;
    turn.after = shape;
    turn.area = [&](std::uint64_t events) { return area_of(shape, states, events); };
    turn.resync_offset = Sectors();
    turn.now_seconds = clock_.now_seconds;
    turn.content = BitmapTurn::Content::to_rewrite;
    EditDraft draft;
    TRY(events, draft_bitmap_turn(draft, turn));
    EditPlan plan = std::move(draft).take();
    explain(plan, shape, states);
    return plan;
  }

 private:
  bool believed() const { return now_.view.trust == Trust::believed && now_.view.lockless; }

  Result<BitmapShape> shape_now() {
    BitmapShape shape = *now_.shape;
    shape.kind = bitmap::Kind::lockless;
    shape.sectors_reserved = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(bitmap::lockless_room_sectors, Sectors::from_bytes(shape.room_bytes).count()));
    if (believed()) {
      // Members that this repair has reached before it was cut off.
      shape.sectors_reserved = now_.view.lockless->header().sectors_reserved;
      return shape;
    }
    const Sectors sync_size = now_.view.expected.sync_size;
    TRY(geometry, bitmap::default_lockless_geometry(sync_size, shape.sectors_reserved));
    shape.geometry = geometry;
    const auto least = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(geometry.chunk.count(), std::numeric_limits<std::uint32_t>::max()));
    const std::optional<std::uint32_t> chunk = surviving_chunk(damaged_.front().header, least);
    const bool alike = std::all_of(damaged_.begin(), damaged_.end(),
                                   [&](const Damaged& d) { return surviving_chunk(d.header, least) == chunk; });
    if (chunk && alike) {
      const Sectors cut(*chunk);
      shape.geometry = {cut, bitmap::chunks_in(sync_size, cut)};
      chunk_is_known_ = true;
    }
    if (shape.used_bytes() > shape.room_bytes) {
      return refused("the bitmap's place has no room for its chunk states");
    }
    return shape;
  }

  // As the kernel takes them where a bitmap missed updates: Action::stale, on all copies together.
  Result<std::vector<std::byte>> states_in(const BitmapShape& shape) const {
    std::vector<std::byte> states(static_cast<std::size_t>(shape.geometry.chunks),
                                  static_cast<std::byte>(ChunkState::need_sync));
    if (!believed() && !chunk_is_known_) {
      return states;
    }
    std::optional<bitmap::Lockless> merged = believed() ? now_.view.lockless : std::nullopt;
    for (const Damaged& d : damaged_) {
      if (believed()) {
        break;
      }
      TRY(copy, read_copy(d, shape));
      if (merged) {
        merged->merge(copy);
      } else {
        merged = copy;
      }
    }
    for (std::size_t i = 0; i < states.size(); ++i) {
      states[i] = std::byte{merged->raw(i)};
    }
    owe_first_chunk(states);
    return states;
  }

  Result<bitmap::Lockless> read_copy(const Damaged& d, const BitmapShape& shape) const {
    std::vector<std::byte> header =
        bitmap::new_lockless(new_bitmap_of(a_, shape, a_.array().events), ChunkState::need_sync);
    header.resize(bitmap::header_bytes);
    TRY(cured, PatchedSource::of(*d.candidate->metadata, {{d.offset_bytes, std::move(header)}}).in(d.candidate->path));
    TRY(copy, bitmap::Lockless::read(*cured, d.offset_bytes, now_.view.expected).in(d.candidate->path));
    copy.apply(bitmap::Action::stale, 0, copy.chunks(), {.degraded = false, .raid456 = now_.view.expected.raid456});
    return copy;
  }

  std::vector<std::byte> area_of(const BitmapShape& shape, const std::vector<std::byte>& states,
                                 std::uint64_t events) const {
    std::vector<std::byte> area = bitmap::new_lockless(new_bitmap_of(a_, shape, events), ChunkState::need_sync);
    std::ranges::copy(states, area.begin() + bitmap::lockless_states_offset);
    area.resize(static_cast<std::size_t>(shape.area_bytes()), std::byte{0xff});
    return area;
  }

  void explain(EditPlan& plan, const BitmapShape& shape, const std::vector<std::byte>& states) const {
    const auto due = std::ranges::count(states, static_cast<std::byte>(ChunkState::need_sync));
    plan.steps.emplace_back("mark the array dirty: resync_offset becomes 0");
    plan.steps.push_back("write the bitmap's header anew on every member: version 6, chunks of " +
                         std::to_string(shape.geometry.chunk.bytes()) + " bytes" +
                         (believed()        ? ""
                          : chunk_is_known_ ? ", as what is left of the old one says"
                                            : ", as the kernel would choose them now: the old size cannot be told"));
    plan.costs.push_back("the bitmap may have missed updates: " + std::to_string(due) + " of " +
                         std::to_string(shape.geometry.chunks) +
                         " chunks are due for a resync; until that is done a lost member costs data there");
    plan.next.emplace_back(resync_advice(a_));
    plan.next.emplace_back(
        "kernels destroy such a header on logical blocks of 4 KiB again and again: mdtool bitmap "
        "convert --bitmap=internal MEMBER... gives the array a classic one");
  }

  const Assembly& a_;
  const BitmapNow& now_;
  std::vector<Damaged> damaged_;
  EditClock clock_;
  bool chunk_is_known_ = false;
};

}  // namespace

Result<EditPlan> plan_bitmap_repair(const Assembly& array, const EditClock& clock) {
  TRY(fine, check_bitmap_change(array));
  std::vector<Damaged> damaged = damaged_copies(array);
  if (damaged.empty()) {
    EditPlan nothing;
    nothing.steps = {"no header of the bitmap was written over with chunk states: there is nothing to repair"};
    return nothing;
  }
  if (!array.complete) {
    return refused(
        "the array is degraded, and a rebuilt bitmap calls chunks due, which needs all members. Name the "
        "missing ones as well; if one is lost, mdtool copy reads what is there, and mdtool set "
        "--update=no-bitmap lets the array start without the bitmap");
  }
  const BitmapNow now = bitmap_now(array);
  if (!now.shape) {
    return refused("the freshest superblock has no bitmap");
  }
  TRY(plan, Repairer(array, now, std::move(damaged), clock).plan());
  TRY(worse, worsened_by(plan, array, Apart::worse));
  if (!worse.empty()) {
    return refused("this would not be accepted: [" + worse.front().id + "] " + worse.front().text);
  }
  return std::move(plan);
}

}  // namespace mdtool
