// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/bitmap_stages.h"

#include <algorithm>

#include "libmeta/convert.h"
#include "libraid/assemble/array_metadata.h"
#include "libraid/assemble/write_checks.h"

namespace mdtool {

namespace {

using Superblock = std::unique_ptr<Metadata>;

// Who is not written is this many events behind afterwards, too many to be taken back.
constexpr std::uint64_t steps_that_leave_behind = 2;

std::optional<std::int64_t> place_of(const MemberDescription& d) {
  return d.bitmap_offset_bytes ? std::optional(bitmap_offset_sectors(d)) : std::nullopt;
}

Result<Superblock> with_place(const Metadata& from, const std::optional<std::int64_t>& place) {
  return place ? with_bitmap_at(from, static_cast<std::int32_t>(*place)) : without_bitmap(from);
}

Fields header_fields_of(std::span<const std::byte> area) {
  const auto header = load<bitmap::Header>(area, 0);
  return header && header->magic == bitmap::magic_number ? bitmap::header_fields(*header) : Fields();
}

class Turner {
 public:
  Turner(EditDraft& draft, const BitmapTurn& turn) : draft_(draft), turn_(turn), a_(*turn.array) {}

  // Two ways. Where the new bitmap has a place of its own, it is written there while nothing points at it; then one
  // superblock after the other does. Where it takes the old one's place, the sectors of it that are none of the old
  // one's come first, then what the superblocks have to say before the new kind counts (a dirty mark, an empty log
  // given up), and last the sector with the header: whoever reads a member finds the one bitmap or the other whole, and
  // both owe the same. The old header goes with the events, or every chunk would count as due.
  Result<std::uint64_t> run() {
    TRY(started, start());
    if (!needed()) {
      return events_;
    }
    TRY(superblocks_change, any_superblock_changes());
    const bool in_place = turn_.before && turn_.after && turn_.before->offset_sectors == turn_.after->offset_sectors;
    const std::uint64_t last = events_ + (!missing_.empty()                 ? steps_that_leave_behind
                                          : superblocks_change || !in_place ? 1
                                                                            : 0);
    TRY(level, raise_those_behind());
    TRY(turned, in_place ? turn_over(last) : move(last));
    return last;
  }

 private:
  struct Written {
    const Member* member;
    const Metadata* superblock;  // as the draft leaves it up to here
    Superblock changed;
  };

  Status start() {
    std::vector<std::size_t> indices;
    for (const Member* m : turn_.members) {
      written_.push_back({m, m->candidate->chosen()->metadata.get(), nullptr});
      if (m->state != MemberState::spare) {
        indices.push_back(static_cast<std::size_t>(m - a_.members.data()));
      }
    }
    // A mark of lazy parity and a dirty superblock together would not start: who has the mark loses it first.
    std::stable_sort(written_.begin(), written_.end(),
                     [](const Written& x, const Written& y) { return rank(*x.member) < rank(*y.member); });
    for (std::uint32_t slot = 0; slot < a_.slots(); ++slot) {
      if (a_.in_slot(slot) == nullptr) {
        missing_.push_back(slot);
      }
    }
    TRY(highest, highest_events(a_, indices));
    events_ = highest;
    return Done{};
  }

  static int rank(const Member& m) {
    return m.state == MemberState::spare ? 2 : m.description().recovery_is_all_ones() ? 0 : 1;
  }

  bool needed() const {
    return turn_.content == BitmapTurn::Content::to_rewrite ||
           std::any_of(written_.begin(), written_.end(), [&](const Written& w) {
             const MemberDescription& d = w.member->description();
             return !placed_as_wanted(d) || !copy_in_order(*w.member) ||
                    (turn_.resync_offset && d.resync_offset != *turn_.resync_offset);
           });
  }

  bool placed_as_wanted(const MemberDescription& d) const {
    const bool has_one = d.bitmap_offset_bytes.has_value();
    return turn_.after ? has_one && bitmap_offset_sectors(d) == turn_.after->offset_sectors : !has_one;
  }

  bool copy_in_order(const Member& m) const {
    const auto& at = m.description().bitmap_offset_bytes;
    if (!turn_.after || !at || m.state == MemberState::spare) {
      return true;
    }
    const auto header = bitmap::read_header(*m.candidate->metadata, *at);
    if (!header || Uuid{header->uuid} != m.description().bitmap_uuid || bitmap::kind_of(*header) != turn_.after->kind) {
      return false;
    }
    bitmap::Expected expected = a_.bitmap.expected;
    expected.room_bytes = m.description().bitmap_room_bytes;
    const auto geometry = bitmap::geometry_of(*header, expected);
    return geometry && *geometry == turn_.after->geometry;
  }

  Result<Superblock> present(const Metadata& from) const {
    TRY(placed, with_place(from, place_of(a_.array())));
    SuperblockChange change;
    change.resync_offset = resync_offset_of(a_);
    change.missing_slots = missing_;
    return placed->changed(change);
  }

  Result<Superblock> wanted(const Metadata& from) const {
    const MemberDescription d = from.describe();
    SuperblockChange change;
    change.resync_offset = turn_.resync_offset.value_or(resync_offset_of(a_));
    change.missing_slots = missing_;
    change.recovery = d.recovery_is_all_ones() && !change.resync_offset->is_max() ? SuperblockChange::Recovery::clear
                                                                                  : SuperblockChange::Recovery::keep;
    Superblock changed = from.changed(change);
    const bool log_makes_way = log_is_in_the_way(d);
    if (log_makes_way) {
      TRY(bare, without_bad_block_log(*changed, ListedBlocks::refuse));
      changed = std::move(bare);
    }
    TRY(placed, with_place(*changed, turn_.after ? std::optional(turn_.after->offset_sectors) : std::nullopt));
    if (log_makes_way) {
      // Behind the bitmap, where there is room; an array can do without an empty log.
      auto logged = with_bad_block_log(*placed, Sectors::from_bytes(turn_.after->room_bytes).count());
      return logged && !covers_log(*turn_.after, (*logged)->describe()) ? std::move(logged) : std::move(placed);
    }
    return std::move(placed);
  }

  // A lockless bitmap that has been over an empty log all the time stays there, as the kernel leaves it.
  bool log_is_in_the_way(const MemberDescription& d) const {
    if (!turn_.after || turn_.after->kind != bitmap::Kind::lockless) {
      return false;
    }
    const bool new_there = !turn_.before || turn_.before->kind != bitmap::Kind::lockless ||
                           turn_.before->offset_sectors != turn_.after->offset_sectors;
    return new_there && covers_log(*turn_.after, d);
  }

  Result<bool> any_superblock_changes() const {
    for (const Written& w : written_) {
      TRY(now, present(*w.superblock));
      TRY(then, wanted(*now));
      if (now->encode() != then->encode()) {
        return true;
      }
    }
    return false;
  }

  Status write_superblock(Written& w, const Metadata& next, std::uint64_t events) {
    SuperblockChange change;
    change.events = events;
    change.utime_seconds = turn_.now_seconds;
    Superblock after = next.changed(change);
    TRY(written, draft_.superblock(*w.member->candidate, *w.superblock, *after));
    w.changed = std::move(after);
    w.superblock = w.changed.get();
    return Done{};
  }

  // After a cut members may be one event apart. Who is behind catches up first: the next event, on its way from member
  // to member, would put him two behind, and out of the array.
  Status raise_those_behind() {
    draft_.next_stage();
    for (Written& w : written_) {
      if (w.member->state != MemberState::spare && w.superblock->describe().events < events_) {
        TRY(next, present(*w.superblock));
        TRY(written, write_superblock(w, *next, events_));
      }
    }
    return Done{};
  }

  enum class Says { present, wanted };
  Status write_superblocks(std::uint64_t events, Says what) {
    draft_.next_stage();
    for (Written& w : written_) {
      TRY(next, what == Says::wanted ? wanted(*w.superblock) : present(*w.superblock));
      TRY(written, write_superblock(w, *next, events));
    }
    return Done{};
  }

  // The header is never behind the superblocks, or all chunks would count as due. Only of copies that are believed.
  Status raise_headers(std::uint64_t events) {
    draft_.next_stage();
    for (const std::size_t index : a_.bitmap.copies) {
      const Candidate& candidate = *a_.members[index].candidate;
      const std::uint64_t at = *a_.members[index].description().bitmap_offset_bytes;
      if (a_.bitmap.trust == Trust::stale || a_.bitmap.trust == Trust::rejected) {
        continue;
      }
      TRY(sector, read_bytes(*candidate.metadata, at, Sectors::bytes_each).in(candidate.path));
      TRY(header, load<bitmap::Header>(sector, 0));
      bitmap::Header raised = header;
      raised.events = std::max<std::uint64_t>(events, header.events);
      TRY(written, draft_.bytes(candidate, "bitmap", at, bitmap::area_with_header(sector, raised),
                                changes_between(bitmap::header_fields(header), bitmap::header_fields(raised))));
    }
    return Done{};
  }

  enum class Part { whole, beside_header, header };
  Status write_area(const std::vector<std::byte>& area, Part part) {
    draft_.next_stage();
    const std::size_t first = part == Part::beside_header ? first_beside_header() : 0;
    const std::size_t used = std::min<std::size_t>(in_sectors(turn_.after->used_bytes()), area.size());
    const std::size_t end = part == Part::whole ? area.size() : part == Part::header ? header_end(area) : used;
    for (const Written& w : written_) {
      if (first >= end) {
        break;
      }
      const Candidate& candidate = *w.member->candidate;
      const MemberDescription& d = w.member->description();
      const std::uint64_t at = place_on(d) + first;
      const auto from = area.begin();
      Fields before;
      if (first == 0) {
        const auto old = bitmap::read_header(*candidate.metadata, at);
        before = old ? bitmap::header_fields(*old) : Fields();
      }
      TRY(written,
          draft_.bytes(candidate, "bitmap", at,
                       {from + static_cast<std::ptrdiff_t>(first), from + static_cast<std::ptrdiff_t>(end)},
                       first == 0 ? changes_between(before, header_fields_of(area)) : std::vector<FieldChange>()));
    }
    return Done{};
  }

  std::uint64_t place_on(const MemberDescription& d) const {
    const auto sector = static_cast<std::int64_t>(d.super_offset.count()) + turn_.after->offset_sectors;
    return Sectors(static_cast<std::uint64_t>(sector)).bytes();
  }
  static std::size_t in_sectors(std::uint64_t bytes) {
    return static_cast<std::size_t>((bytes + Sectors::bytes_each - 1) / Sectors::bytes_each * Sectors::bytes_each);
  }
  std::size_t first_beside_header() const {
    return turn_.after->kind == bitmap::Kind::lockless ? bitmap::lockless_states_offset : Sectors::bytes_each;
  }
  static std::size_t header_end(const std::vector<std::byte>& area) {
    return std::min<std::size_t>(area.size(), Sectors::bytes_each);
  }

  Status turn_over(std::uint64_t last) {
    const std::vector<std::byte> area = turn_.area(last);
    TRY(beside, write_area(area, Part::beside_header));
    for (std::uint64_t events = events_ + 1; events <= last; ++events) {
      TRY(headers, raise_headers(events));
      TRY(superblocks, write_superblocks(events, events == last ? Says::wanted : Says::present));
    }
    return write_area(area, Part::header);
  }

  Status move(std::uint64_t last) {
    if (turn_.after) {
      TRY(written, write_area(turn_.area(last), Part::whole));
    }
    for (std::uint64_t events = events_ + 1; events < last; ++events) {
      TRY(headers, raise_headers(events));
      TRY(superblocks, write_superblocks(events, Says::present));
    }
    // Where the superblocks are half written, the members that are behind still have a bitmap that saw everything.
    TRY(headers, raise_headers(last));
    return write_superblocks(last, Says::wanted);
  }

  EditDraft& draft_;
  const BitmapTurn& turn_;
  const Assembly& a_;
  std::vector<Written> written_;
  std::vector<std::uint32_t> missing_;
  std::uint64_t events_ = 0;
};

}  // namespace

std::vector<const Member*> bitmap_holders(const Assembly& array) {
  std::vector<const Member*> holders;
  for (const Member& m : array.members) {
    const bool in_use = m.state == MemberState::in_sync || m.state == MemberState::recovering;
    // One that the freshest member calls a spare, and that calls itself active, has left.
    const bool spare = m.state == MemberState::spare && m.candidate != nullptr && m.description().role == Role::spare &&
                       m.reason.empty();
    if (m.candidate != nullptr && (in_use || spare)) {
      holders.push_back(&m);
    }
  }
  return holders;
}

Result<std::uint64_t> draft_bitmap_turn(EditDraft& draft, const BitmapTurn& turn) {
  return Turner(draft, turn).run();
}

}  // namespace mdtool
