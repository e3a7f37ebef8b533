// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/member_view.h"

#include <algorithm>

namespace mdtool {

namespace {

// Up to here events rise one by one, and members that a cut leaves one apart still belong together.
constexpr std::uint64_t most_steps = 8;

// No array lives to see it; above it the counter could wrap.
constexpr std::uint64_t most_events = std::uint64_t{1} << 62;

std::uint16_t role_in(const std::vector<std::uint16_t>& roles, std::size_t dev_number) {
  return dev_number < roles.size() ? roles[dev_number] : role_spare;
}

// In 0.90 the descriptor of an empty slot is the same whether its device failed or was removed.
bool same_role(const MemberDescription& d, std::size_t dev_number, std::uint16_t wanted) {
  const std::uint16_t have = role_in(d.dev_roles, dev_number);
  const bool empty_slot = d.metadata == "0.90" && dev_number < d.raid_disks;
  return have == wanted || (empty_slot && have >= role_max_regular && wanted >= role_max_regular);
}

std::vector<RoleChange> role_changes(const MemberDescription& d, const std::vector<std::uint16_t>& wanted) {
  std::vector<RoleChange> changes;
  for (std::uint32_t number = 0; number < std::max(d.dev_roles.size(), wanted.size()); ++number) {
    if (const std::uint16_t role = role_in(wanted, number); !same_role(d, number, role)) {
      changes.push_back({number, role});
    }
  }
  return changes;
}

bool torn(const Assembly& a, const Member& m) {
  const MemberDescription& d = m.description();
  return may_be_torn(m) && d.slot && a.in_slot(*d.slot) == nullptr &&
         role_in(a.array().dev_roles, d.dev_number) == *d.slot && d.events + 1 >= a.array().events &&
         d.events <= a.array().events + 1;
}

bool stays(const Assembly& a, const Member& m) {
  switch (m.state) {
    case MemberState::in_sync:
    case MemberState::recovering:
    case MemberState::replacement:
      return true;
    case MemberState::spare:
      // One that the freshest member calls a spare, and that calls itself active, has left.
      return m.description().role == Role::spare;
    case MemberState::unusable:
      return torn(a, m);
    default:
      return false;
  }
}

bool named(const NewView& view, const Candidate* candidate) {
  return std::find(view.leaving.begin(), view.leaving.end(), candidate) != view.leaving.end() ||
         std::any_of(view.joining.begin(), view.joining.end(),
                     [&](const Joining& j) { return j.candidate == candidate; });
}

Sectors resync_offset_of(const Assembly& a) {
  const Sectors said = a.array().resync_offset;
  return a.clean ? Sectors::max() : said.is_max() ? Sectors() : said;
}

class ViewWriter {
 public:
  ViewWriter(EditDraft& draft, const Assembly& a, NewView view, std::uint64_t now_seconds)
      : draft_(draft), a_(a), view_(std::move(view)), now_seconds_(now_seconds) {}

  Status write() {
    for (const Member* m : staying_members(a_, view_)) {
      const Part part = m->state == MemberState::spare ? Part::spare : Part::counts;
      staying_.push_back({m->candidate, m->candidate->chosen()->metadata.get(), nullptr, part, {}});
    }
    TRY(events, highest());
    if (others_change(events)) {
      give_up_absent();
      TRY(raised, raise(events));
      return Done{};
    }
    TRY(bitmaps, write_joining_bitmaps(events));
    return write_joining(events);
  }

 private:
  enum class Part { counts, spare };
  enum class Bitmap { now, afterwards };
  struct Written {
    const Candidate* candidate;
    const Metadata* superblock;  // as the draft leaves it up to here; null: none that counts
    std::unique_ptr<Metadata> changed;
    Part part = Part::counts;
    Fields bitmap;  // as the draft leaves its header; empty: not written yet
  };

  Result<std::uint64_t> highest() const {
    std::uint64_t events = 0;
    for (const Written& s : staying_) {
      events = s.part == Part::counts ? std::max(events, s.superblock->describe().events) : events;
    }
    if (std::max(events, view_.above_events) > most_events) {
      return Error{ErrorKind::refused, "the event count " + std::to_string(std::max(events, view_.above_events)) +
                                           " cannot be real, and has no room to rise"};
    }
    return events;
  }

  Sectors resync_offset() const { return view_.resync_offset.value_or(resync_offset_of(a_)); }

  // What changes in this superblock but for events and time.
  SuperblockChange to_view(const MemberDescription& d) const {
    SuperblockChange change;
    change.roles = role_changes(d, view_.roles);
    change.roles.insert(change.roles.end(), view_.besides.begin(), view_.besides.end());
    if (d.resync_offset != resync_offset()) {
      change.resync_offset = resync_offset();
    }
    return change;
  }

  // The freshest superblock's view as it is now.
  SuperblockChange to_present(const MemberDescription& d, Sectors resync_offset) const {
    SuperblockChange change;
    change.roles = role_changes(d, a_.array().dev_roles);
    if (d.resync_offset != resync_offset) {
      change.resync_offset = resync_offset;
    }
    return change;
  }

  bool others_change(std::uint64_t events) const {
    return (view_.above_events != 0 && events < view_.above_events + 2) ||
           std::any_of(staying_.begin(), staying_.end(), [&](const Written& s) {
             const MemberDescription d = s.superblock->describe();
             return (s.part == Part::counts && d.events != events) ||
                    s.superblock->changed(to_view(d))->encode() != s.superblock->encode();
           });
  }

  void give_up_absent() {
    for (const RoleChange& absent : absent_members(a_, view_)) {
      view_.roles[absent.dev_number] = role_spare;
      draft_.cost(
          "slot " + std::to_string(absent.role) +
          ": its member is not among those given, or too far behind; the others will call it missing, and it has "
          "to be re-added or recovered later");
    }
  }

  Status raise(std::uint64_t events) {
    const std::uint64_t last = std::max(events, view_.above_events) + 2;
    draft_.step("raise the events of the members that stay from " + std::to_string(events) + " to " +
                std::to_string(last) + ", so that no member that is not written is taken back");
    TRY(level, catch_up(events));
    for (std::uint64_t step = events + 1; step < last && step <= events + most_steps; ++step) {
      TRY(bitmaps, write_bitmaps(step, Bitmap::now));
      TRY(written, write_present(step, resync_offset_of(a_)));
    }
    TRY(bitmaps, write_bitmaps(last, view_.joining.empty() ? Bitmap::afterwards : Bitmap::now));
    if (!view_.joining.empty()) {
      // Clean first, where that is to come: with who joins the array may be complete, and would be resynchronised.
      TRY(present, write_present(last, resync_offset()));
      TRY(content, view_.lockless ? write_bitmaps(last, Bitmap::afterwards) : Status(Done{}));
      TRY(copies, write_joining_bitmaps(last));
      TRY(waiting, write_joining(last - 1));
    }
    TRY(seen, write_view(last));
    return write_joining(last);
  }

  // After a cut members may be one event apart. Who is behind catches up first: the next event, on its way from member
  // to member, would put him two behind, and out of the array.
  Status catch_up(std::uint64_t events) {
    draft_.next_stage();
    for (Written& s : staying_) {
      const MemberDescription d = s.superblock->describe();
      if (s.part == Part::counts && d.events < events) {
        TRY(written, write_one(s, to_present(d, resync_offset_of(a_)), events));
      }
    }
    return Done{};
  }

  Status write_present(std::uint64_t events, Sectors resync_offset) {
    draft_.next_stage();
    for (Written& s : staying_) {
      if (s.part == Part::counts) {
        TRY(written, write_one(s, to_present(s.superblock->describe(), resync_offset), events));
      }
    }
    return Done{};
  }

  Status write_view(std::uint64_t events) {
    draft_.next_stage();
    // Spares last: their events count for nothing.
    for (const Part part : {Part::counts, Part::spare}) {
      for (Written& s : staying_) {
        TRY(written, s.part == part ? write_one(s, to_view(s.superblock->describe()), events) : Status(Done{}));
      }
    }
    return Done{};
  }

  Status write_one(Written& w, SuperblockChange change, std::uint64_t events) {
    change.events = events;
    change.utime_seconds = now_seconds_;
    auto next = w.superblock->changed(change);
    TRY(written, draft_.superblock(*w.candidate, *w.superblock, *next));
    w.changed = std::move(next);
    w.superblock = w.changed.get();
    return Done{};
  }

  Status write_joining(std::uint64_t events) {
    draft_.next_stage();
    for (Joining& j : view_.joining) {
      SuperblockChange change = to_view(j.superblock->describe());
      change.events = events;
      // In an array that stays as it is the newcomer is no newer than the others.
      change.utime_seconds = events == a_.array().events ? a_.array().utime_seconds : now_seconds_;
      auto after = j.superblock->changed(change);
      TRY(written, j.before != nullptr ? draft_.superblock(*j.candidate, *j.before, *after)
                                       : draft_.new_superblock(*j.candidate, *after));
      j.superblock = std::move(after);
      j.before = j.superblock.get();
    }
    return Done{};
  }

  // The merged copies, in the state before or after the edit. None where nothing vouches for them: they stay as they
  // are, and out of date for everybody.
  std::optional<std::vector<std::byte>> bitmap_bytes(std::uint64_t events, Bitmap state) const {
    const BitmapView& view = a_.bitmap;
    if (view.trust != Trust::believed) {
      return std::nullopt;
    }
    if (view.classic) {
      bitmap::Classic copy = *view.classic;
      copy.set_events(std::max<std::uint64_t>(events, copy.header().events), copy.header().events_cleared);
      return copy.encode();
    }
    bitmap::Lockless copy = state == Bitmap::afterwards && view_.lockless ? *view_.lockless : *view.lockless;
    copy.set_events(std::max<std::uint64_t>(events, copy.header().events));
    return copy.encode();
  }

  // The header is never behind the superblocks, or all bits would count as set.
  Status write_bitmaps(std::uint64_t events, Bitmap state) {
    draft_.next_stage();
    const auto bytes = bitmap_bytes(events, state);
    if (!bytes) {
      return Done{};
    }
    const std::size_t header = std::min<std::size_t>(bytes->size(), Sectors::bytes_each);
    const bool content = state == Bitmap::afterwards && view_.lockless;
    for (Written& s : staying_) {
      if (s.part != Part::counts) {
        continue;
      }
      const MemberDescription d = s.superblock->describe();
      if (s.bitmap.empty()) {
        TRY(written, write_bitmap_where_it_differs(*s.candidate, d, *bytes));
      } else {
        TRY(written,
            write_bitmap(*s.candidate, d, std::span(*bytes).first(content ? bytes->size() : header), s.bitmap));
      }
      s.bitmap = fields_of(*bytes);
    }
    return Done{};
  }

  // Spares, too, as mdadm --add does: to mdadm a superblock without the bitmap that it speaks of has a wrong checksum.
  Status write_joining_bitmaps(std::uint64_t events) {
    draft_.next_stage();
    auto bytes = bitmap_bytes(events, Bitmap::afterwards);
    if (!bytes && a_.bitmap.trust != Trust::rejected) {
      const BitmapView& view = a_.bitmap;
      bytes = view.classic    ? std::optional(view.classic->encode())
              : view.lockless ? std::optional(view.lockless->encode())
                              : std::nullopt;
    }
    for (const Joining& j : view_.joining) {
      if (bytes) {
        TRY(written, write_bitmap_where_it_differs(*j.candidate, j.superblock->describe(), *bytes));
      }
    }
    return Done{};
  }

  // Nothing of the draft has touched this member's copy before.
  Status write_bitmap_where_it_differs(const Candidate& member, const MemberDescription& d,
                                       const std::vector<std::byte>& bytes) {
    if (!d.bitmap_offset_bytes) {
      return Done{};
    }
    TRY(there, read_bytes(*member.metadata, *d.bitmap_offset_bytes, bytes.size()).in(member.path));
    std::size_t end = bytes.size();
    while (end > 0 && there[end - 1] == bytes[end - 1]) {
      --end;
    }
    const std::size_t sectors = (end + Sectors::bytes_each - 1) / Sectors::bytes_each * Sectors::bytes_each;
    const auto old = bitmap::read_header(*member.metadata, *d.bitmap_offset_bytes);
    return write_bitmap(member, d, std::span(bytes).first(std::min(sectors, bytes.size())),
                        old ? bitmap::header_fields(*old) : Fields());
  }

  // From the start of the bitmap on.
  Status write_bitmap(const Candidate& member, const MemberDescription& d, std::span<const std::byte> bytes,
                      const Fields& before) {
    if (!d.bitmap_offset_bytes || bytes.size() < bitmap::header_bytes) {
      return Done{};
    }
    if (bytes.size() > d.bitmap_room_bytes) {
      return Error{ErrorKind::refused,
                   member.path + ": the bitmap of " + std::to_string(bytes.size()) + " bytes does not fit there"};
    }
    return draft_.bytes(member, "bitmap", *d.bitmap_offset_bytes, {bytes.begin(), bytes.end()},
                        changes_between(before, fields_of(bytes)));
  }

  static Fields fields_of(std::span<const std::byte> bitmap) {
    const auto header = load<bitmap::Header>(bitmap, 0);
    return header ? bitmap::header_fields(*header) : Fields();
  }

  EditDraft& draft_;
  const Assembly& a_;
  NewView view_;
  std::uint64_t now_seconds_;
  std::vector<Written> staying_;
};

}  // namespace

bool may_be_torn(const Member& m) {
  const FoundSuperblock& found = *m.candidate->chosen();
  return m.state == MemberState::unusable && found.metadata->encode().size() > Sectors::bytes_each &&
         std::all_of(found.findings.begin(), found.findings.end(), [](const Finding& f) {
           return f.effect < Effect::refuses_member || f.id == "superblock-checksum";
         });
}

std::vector<const Member*> staying_members(const Assembly& array, const NewView& view) {
  std::vector<const Member*> staying;
  for (const Member& m : array.members) {
    if (m.candidate != nullptr && stays(array, m) && !named(view, m.candidate)) {
      staying.push_back(&m);
    }
  }
  return staying;
}

std::vector<RoleChange> absent_members(const Assembly& array, const NewView& view) {
  const std::vector<const Member*> staying = staying_members(array, view);
  const auto here = [&](std::uint32_t number) {
    return std::any_of(staying.begin(), staying.end(),
                       [&](const Member* m) { return m->description().dev_number == number; }) ||
           std::any_of(view.joining.begin(), view.joining.end(),
                       [&](const Joining& j) { return j.superblock->describe().dev_number == number; });
  };
  std::vector<RoleChange> absent;
  for (std::uint32_t number = 0; number < view.roles.size(); ++number) {
    if (view.roles[number] < role_max_regular && !here(number)) {
      absent.push_back({number, view.roles[number]});
    }
  }
  return absent;
}

Status draft_view(EditDraft& draft, const Assembly& array, NewView view, std::uint64_t now_seconds) {
  return ViewWriter(draft, array, std::move(view), now_seconds).write();
}

}  // namespace mdtool
