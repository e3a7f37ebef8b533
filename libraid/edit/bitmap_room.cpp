// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/bitmap_room.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>

#include "libmeta/bitmap/new_bitmap.h"

namespace mdtool {

namespace {

using bitmap::Kind;

constexpr std::int64_t block_sectors = 8;           // 4 KiB: places and pages of a bitmap are multiples of it
constexpr std::int64_t superblock_sectors = 8;      // of every format
constexpr std::int64_t most_classic_sectors = 256;  // mdadm never gives a bitmap more than 128 KiB
constexpr std::int64_t lockless_room_sectors = bitmap::lockless_room_sectors;
constexpr std::int64_t room_0_90_sectors = 120;  // 60 KiB
// llbitmap_init() does not count the header: state bytes reach up to a page beyond the room.
constexpr std::int64_t lockless_spill_sectors = block_sectors;
constexpr std::int64_t far = std::int64_t{1} << 30;  // no bitmap begins further off: bitmap_offset is 32 bits

// Sectors from the superblock, [from, to).
struct Span {
  std::int64_t from = 0;
  std::int64_t to = 0;
  std::int64_t sectors() const { return std::max<std::int64_t>(to - from, 0); }
};

std::int64_t blocks_up(std::int64_t sectors) {
  return (sectors + block_sectors - 1) & -block_sectors;
}

std::int64_t relative(std::uint64_t sector, std::uint64_t superblock) {
  const std::uint64_t distance = sector < superblock ? superblock - sector : sector - superblock;
  const auto bounded = static_cast<std::int64_t>(std::min<std::uint64_t>(distance, far));
  return sector < superblock ? -bounded : bounded;
}

bool at_end(const MemberDescription& d) {
  return d.metadata == "1.0";
}

bool fixed_place(const MemberDescription& d) {
  return d.metadata == "0.90";
}

// Where the format leaves room: before the data, before a 1.0 superblock, behind a 0.90 one.
Span window_of(const MemberDescription& d) {
  const std::uint64_t superblock = d.super_offset.count();
  if (fixed_place(d)) {
    return {superblock_sectors, superblock_sectors + room_0_90_sectors};
  }
  if (at_end(d)) {
    const std::uint64_t begin = d.data_offset.count();
    const std::uint64_t most = std::numeric_limits<std::uint64_t>::max() - begin;
    return {relative(begin + std::min(d.data_size.count(), most), superblock), 0};
  }
  return {superblock_sectors, std::max(relative(d.data_offset.count(), superblock), superblock_sectors)};
}

std::optional<Span> log_of(const MemberDescription& d) {
  if (!d.bad_block_log) {
    return std::nullopt;
  }
  const std::int64_t from =
      relative(Sectors::from_bytes(d.bad_block_log->offset_bytes).count(), d.super_offset.count());
  return Span{from, from + d.bad_block_log->sectors};
}

// What is left of these spans without that one.
std::vector<Span> without(const std::vector<Span>& spans, const Span& taken) {
  std::vector<Span> left;
  for (const Span& s : spans) {
    if (taken.sectors() == 0 || taken.from >= s.to || taken.to <= s.from) {
      left.push_back(s);
      continue;
    }
    left.push_back({s.from, taken.from});
    left.push_back({taken.to, s.to});
  }
  std::erase_if(left, [](const Span& s) { return s.sectors() == 0; });
  return left;
}

// An empty log makes way for a lockless bitmap, as it does where mdadm creates one.
std::vector<Span> gaps_on(std::span<const Member* const> members, Kind kind) {
  Span window{-far, far};
  for (const Member* m : members) {
    const Span own = window_of(m->description());
    window = {std::max(window.from, own.from), std::min(window.to, own.to)};
  }
  std::vector<Span> gaps{window};
  for (const Member* m : members) {
    const MemberDescription& d = m->description();
    const std::optional<Span> log = log_of(d);
    if (log && (kind == Kind::classic || d.bad_block_log->not_empty)) {
      gaps = without(gaps, *log);
    }
  }
  return gaps;
}

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

Status check_chunk(std::uint64_t bytes) {
  if (bytes < bitmap::min_new_chunk_bytes || bytes > bitmap::max_new_chunk_bytes || !std::has_single_bit(bytes)) {
    return Error{ErrorKind::usage,
                 "a bitmap's chunk is a power of two from 4 KiB to 2 GiB, not " + std::to_string(bytes) + " bytes"};
  }
  return Done{};
}

// What is kept where its bits fit, else the finest that fits.
std::uint64_t chunk_for(const BitmapView& view, std::uint64_t room_bytes) {
  if (!view.classic) {
    return bitmap::default_classic_chunk_bytes(view.expected.sync_size, room_bytes);
  }
  const bool fits = bitmap::header_bytes + (view.classic->chunks() + 7) / 8 <= room_bytes;
  return fits ? view.classic->chunk().bytes() : bitmap::min_classic_chunk_bytes(view.expected.sync_size, room_bytes);
}

Result<BitmapShape> classic_shape(const BitmapTarget& target, const BitmapView& view, std::int64_t offset,
                                  std::uint64_t room_bytes, const std::string& room_text) {
  if (room_bytes <= bitmap::header_bytes) {
    return refused("there are only " + room_text + ": too few for a bitmap");
  }
  const std::uint64_t chunk = target.chunk_bytes ? *target.chunk_bytes : chunk_for(view, room_bytes);
  const bool kept = !target.chunk_bytes && view.classic && chunk == view.classic->chunk().bytes();
  TRY(possible, kept ? Status(Done{}) : check_chunk(chunk));
  const Sectors cut = Sectors::from_bytes(chunk);
  BitmapShape shape{Kind::classic, offset, {cut, bitmap::chunks_in(view.expected.sync_size, cut)}, 0, room_bytes};
  if (shape.used_bytes() > room_bytes) {
    return refused("a bit for each of " + std::to_string(shape.geometry.chunks) + " chunks of " +
                   std::to_string(chunk) + " bytes does not fit into the " + room_text);
  }
  return shape;
}

// Picks one of the places, for one target.
class Chooser {
 public:
  Chooser(std::span<const Member* const> members, const BitmapTarget& target, const std::optional<BitmapShape>& before,
          const BitmapView& view)
      : members_(members), target_(target), before_(before), view_(view), sync_size_(view.expected.sync_size) {}

  Result<BitmapShape> choose() {
    const std::vector<Span> gaps = gaps_on(members_, target_.kind);
    if (target_.offset_sectors) {
      return at(*target_.offset_sectors, gaps);
    }
    std::vector<BitmapShape> found;
    if (before_) {
      keep(shape_in(in_place(gaps, before_->offset_sectors)), found);
    }
    for (const Span& gap : before_ ? without(gaps, taken_by(*before_)) : gaps) {
      keep(shape_in({blocks_up(gap.from), gap.to}), found);
    }
    if (found.empty()) {
      return refused(reason_.empty() ? "the members have no room for a bitmap" : reason_);
    }
    // The first with all the room that this bitmap can use, or else the one with the finest chunks.
    return *std::min_element(found.begin(), found.end(), [](const BitmapShape& a, const BitmapShape& b) {
      return a.geometry.chunk < b.geometry.chunk;
    });
  }

 private:
  static Span taken_by(const BitmapShape& shape) {
    const auto sectors = static_cast<std::int64_t>(Sectors::from_bytes(shape.area_bytes()).count());
    return {shape.offset_sectors, shape.offset_sectors + sectors};
  }

  // From this place to the end of its gap; nothing where it lies in none.
  static Span in_place(const std::vector<Span>& gaps, std::int64_t offset) {
    const auto gap =
        std::find_if(gaps.begin(), gaps.end(), [&](const Span& g) { return g.from <= offset && offset < g.to; });
    return gap == gaps.end() ? Span{offset, offset} : Span{offset, gap->to};
  }

  Result<BitmapShape> at(std::int64_t offset, const std::vector<Span>& gaps) const {
    const bool stays = before_ && before_->offset_sectors == offset;
    if (offset % block_sectors != 0 && !stays) {
      return Error{ErrorKind::usage, "a bitmap begins at a multiple of 8 sectors from the superblock"};
    }
    if (fixed_place(members_.front()->description()) && offset != superblock_sectors) {
      return Error{ErrorKind::usage, "a bitmap of 0.90 metadata begins 8 sectors from the superblock, nowhere else"};
    }
    const Span room = in_place(before_ && !stays ? without(gaps, taken_by(*before_)) : gaps, offset);
    if (room.sectors() == 0) {
      return refused(std::to_string(offset) +
                     " sectors from the superblock is no place for a bitmap: " + what_is_at(offset));
    }
    return shape_in(room, Place::given);
  }

  std::string what_is_at(std::int64_t offset) const {
    for (const Member* m : members_) {
      const std::optional<Span> log = log_of(m->description());
      if (log && log->from <= offset && offset < log->to) {
        return "the bad-block log has sectors " + std::to_string(log->from) + " to " + std::to_string(log->to - 1);
      }
    }
    return before_ && taken_by(*before_).from <= offset && offset < taken_by(*before_).to
               ? "the present bitmap is there"
               : "it lies outside of the room for one";
  }

  void keep(Result<BitmapShape> shape, std::vector<BitmapShape>& found) {
    if (shape) {
      found.push_back(*shape);
    } else if (reason_.empty()) {
      reason_ = shape.error().text;
    }
  }

  enum class Place { chosen, given };
  Result<BitmapShape> shape_in(Span room, Place place = Place::chosen) const {
    TRY(shape, target_.kind == Kind::lockless ? lockless_in(room) : classic_in(room));
    const bool in_place = before_ && shape.offset_sectors == before_->offset_sectors;
    if (at_end(members_.front()->description()) && place == Place::chosen && !in_place) {
      move_to_superblock(shape, room);
    }
    if (in_place && view_.trust != Trust::rejected && !turns_over_in_place(*before_, shape)) {
      return refused("in its place one bitmap cannot become the other without a moment in which there is none; " +
                     std::string("larger chunks (--bitmap-chunk) or another place (--offset) may help, or mdtool "
                                 "bitmap remove and add"));
    }
    return shape;
  }

  // 1.0: as near to the superblock as can be.
  static void move_to_superblock(BitmapShape& shape, const Span& room) {
    const std::uint64_t bytes = shape.kind == Kind::lockless ? shape.room_bytes : shape.area_bytes();
    const std::int64_t nearest =
        (room.to - static_cast<std::int64_t>(Sectors::from_bytes(bytes).count())) & -block_sectors;
    shape.offset_sectors = std::max(nearest, room.from);
  }

  static std::string room_text(const Span& room) {
    return std::to_string(room.sectors()) + " sectors of room " + std::to_string(room.from) +
           " sectors from the superblock";
  }

  Result<BitmapShape> lockless_in(const Span& room) const {
    const std::int64_t available = std::min(room.sectors(), lockless_room_sectors + lockless_spill_sectors);
    if (available < block_sectors) {
      return refused("there are only " + room_text(room) + ": too few for a lockless bitmap");
    }
    const std::int64_t reserved =
        available >= 2 * lockless_spill_sectors ? available - lockless_spill_sectors : available;
    BitmapShape shape{Kind::lockless,
                      room.from,
                      {},
                      static_cast<std::uint32_t>(reserved),
                      static_cast<std::uint64_t>(available) * Sectors::bytes_each};
    TRY(geometry, bitmap::default_lockless_geometry(sync_size_, shape.sectors_reserved));
    shape.geometry = geometry;
    while (shape.used_bytes() > shape.room_bytes) {
      shape.geometry.chunk = shape.geometry.chunk * 2;
      shape.geometry.chunks = bitmap::chunks_in(sync_size_, shape.geometry.chunk);
    }
    if (may_keep_chunks(shape)) {
      shape.geometry = before_->geometry;
    }
    if (shape.geometry.chunk.count() > std::numeric_limits<std::uint32_t>::max()) {
      return refused("no chunk is large enough for the " + room_text(room));
    }
    if (target_.chunk_bytes && *target_.chunk_bytes != shape.geometry.chunk.bytes()) {
      return Error{ErrorKind::usage, "a lockless bitmap's chunk follows from its room: here " +
                                         std::to_string(shape.geometry.chunk.bytes()) + " bytes"};
    }
    return shape;
  }

  bool may_keep_chunks(const BitmapShape& shape) const {
    return before_ && before_->kind == Kind::lockless && view_.lockless && before_->used_bytes() <= shape.room_bytes &&
           before_->geometry.chunks <= Sectors(shape.sectors_reserved).bytes();
  }

  Result<BitmapShape> classic_in(const Span& room) const {
    const std::int64_t sectors = std::min(room.sectors(), most_classic_sectors);
    return classic_shape(target_, view_, room.from, Sectors(static_cast<std::uint64_t>(sectors)).bytes(),
                         room_text(room));
  }

  std::span<const Member* const> members_;
  const BitmapTarget& target_;
  const std::optional<BitmapShape>& before_;
  const BitmapView& view_;
  Sectors sync_size_;
  std::string reason_;  // why the first place is none
};

// Sectors that hold bits or states, beside the first.
Span beside_header(const BitmapShape& shape) {
  const std::uint64_t first = shape.kind == Kind::lockless ? bitmap::lockless_states_offset / Sectors::bytes_each : 1;
  const std::uint64_t end = (shape.used_bytes() + Sectors::bytes_each - 1) / Sectors::bytes_each;
  return {static_cast<std::int64_t>(first), static_cast<std::int64_t>(end)};
}

}  // namespace

std::uint64_t BitmapShape::used_bytes() const {
  return kind == Kind::lockless ? bitmap::lockless_states_offset + geometry.chunks
                                : bitmap::header_bytes + (geometry.chunks + 7) / 8;
}

std::uint64_t BitmapShape::area_bytes() const {
  constexpr auto block = static_cast<std::uint64_t>(block_sectors) * Sectors::bytes_each;
  const std::uint64_t whole = (used_bytes() + block - 1) / block * block;
  return std::max(used_bytes(), std::min(whole, room_bytes));
}

std::int64_t bitmap_offset_sectors(const MemberDescription& d) {
  return relative(Sectors::from_bytes(*d.bitmap_offset_bytes).count(), d.super_offset.count());
}

bool turns_over_in_place(const BitmapShape& before, const BitmapShape& after) {
  if (before.kind == after.kind && before.geometry == after.geometry) {
    return true;
  }
  const Span old = beside_header(before);
  const Span young = beside_header(after);
  return young.sectors() == 0 || old.sectors() == 0 || young.from >= old.to || old.from >= young.to;
}

bool covers_log(const BitmapShape& shape, const MemberDescription& d) {
  const std::optional<Span> log = log_of(d);
  const auto end = shape.offset_sectors + static_cast<std::int64_t>(Sectors::from_bytes(shape.room_bytes).count());
  return log && log->from < end && shape.offset_sectors < log->to;
}

Result<BitmapShape> choose_shape(std::span<const Member* const> members, const BitmapTarget& target,
                                 const std::optional<BitmapShape>& before, const BitmapView& view) {
  return Chooser(members, target, before, view).choose();
}

Result<BitmapShape> shape_in_file(const BitmapTarget& target, const BitmapView& view) {
  return classic_shape(target, view, 0, bitmap::max_area_bytes,
                       std::to_string(bitmap::max_area_bytes) + " bytes that an external file may have");
}

}  // namespace mdtool
