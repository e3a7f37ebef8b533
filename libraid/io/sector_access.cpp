// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/sector_access.h"

#include <algorithm>

namespace mdtool {
namespace {

constexpr std::uint64_t sector = SectorAccess::sector_bytes;

// A range as a part of a sector, whole sectors, and a part of a sector again; any of them may be empty.
struct Parts {
  std::uint64_t begin, whole_begin, whole_end, end;
};

// The end of the device ends a sector, too.
Parts parts_of(std::uint64_t offset_bytes, std::uint64_t length_bytes, std::uint64_t size_bytes) {
  const std::uint64_t end = offset_bytes + length_bytes;
  const std::uint64_t up = offset_bytes + (sector - offset_bytes % sector) % sector;
  const std::uint64_t whole_begin = std::min(up, end);
  const std::uint64_t down = end == size_bytes ? end : end - end % sector;
  return {offset_bytes, whole_begin, std::max(whole_begin, down), end};
}

bool is_partial(const Parts& parts) {
  return parts.begin != parts.whole_begin || parts.whole_end != parts.end;
}

Status check_inside(std::uint64_t offset_bytes, std::uint64_t length_bytes, std::uint64_t size_bytes) {
  if (fits(offset_bytes, length_bytes, size_bytes)) {
    return Done{};
  }
  return Error{ErrorKind::out_of_range,
               std::to_string(length_bytes) + " bytes at byte " + std::to_string(offset_bytes) + ": beyond the end"};
}

}  // namespace

// The sectors of a write, from which writers of parts of them keep away, or which keeps away itself.
class SectorAccess::Claim {
 public:
  Claim(SectorAccess& access, const Range& range) : access_(access) {
    std::unique_lock lock(access.mutex_);
    access.freed_.wait(lock, [&] { return (place_ = access.place_for(range)) != nullptr; });
    *place_ = range;
  }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  ~Claim() {
    {
      const std::lock_guard lock(access_.mutex_);
      *place_ = {};
    }
    access_.freed_.notify_all();
  }

 private:
  SectorAccess& access_;
  Range* place_ = nullptr;
};

SectorAccess::Range SectorAccess::sectors_of(std::uint64_t offset_bytes, std::uint64_t length_bytes) const {
  const Parts parts = parts_of(offset_bytes, length_bytes, size_bytes());
  const std::uint64_t past = (parts.end + sector - 1) / sector * sector;
  return {offset_bytes - offset_bytes % sector, past, is_partial(parts)};
}

// None while a claim overlaps it and either is partial, or while there is no room.
SectorAccess::Range* SectorAccess::place_for(const Range& range) {
  Range* free = nullptr;
  for (Range& other : in_flight_) {
    if (other.begin_bytes == other.end_bytes) {
      free = &other;
    } else if ((range.partial || other.partial) && range.begin_bytes < other.end_bytes &&
               other.begin_bytes < range.end_bytes) {
      return nullptr;
    }
  }
  return free;
}

Status SectorAccess::read_part(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  if (out.empty()) {
    return Done{};
  }
  std::array<std::byte, sector> bytes{};
  const std::uint64_t begin = offset_bytes - offset_bytes % sector;
  const std::uint64_t length = std::min<std::uint64_t>(sector, size_bytes() - begin);
  TRY(read, device_.read(begin, std::span(bytes).first(static_cast<std::size_t>(length))));
  std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset_bytes - begin), out.size(), out.begin());
  return Done{};
}

// Direct I/O on a FUSE file comes as its user wants it.
Status SectorAccess::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  TRY(inside, check_inside(offset_bytes, out.size(), size_bytes()));
  const Parts parts = parts_of(offset_bytes, out.size(), size_bytes());
  const auto part = [&](std::uint64_t begin, std::uint64_t end) {
    return out.subspan(static_cast<std::size_t>(begin - offset_bytes), static_cast<std::size_t>(end - begin));
  };
  TRY(head, read_part(parts.begin, part(parts.begin, parts.whole_begin)));
  if (parts.whole_begin != parts.whole_end) {
    TRY(middle, device_.read(parts.whole_begin, part(parts.whole_begin, parts.whole_end)));
  }
  return read_part(parts.whole_end, part(parts.whole_end, parts.end));
}

Status SectorAccess::patch(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  if (in.empty()) {
    return Done{};
  }
  std::array<std::byte, sector> bytes{};
  const std::uint64_t begin = offset_bytes - offset_bytes % sector;
  const std::uint64_t length = std::min<std::uint64_t>(sector, size_bytes() - begin);
  const std::span<std::byte> whole = std::span(bytes).first(static_cast<std::size_t>(length));
  TRY(read, device_.read(begin, whole));
  std::copy(in.begin(), in.end(), whole.begin() + static_cast<std::ptrdiff_t>(offset_bytes - begin));
  return device_.write(begin, whole);
}

Status SectorAccess::write(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  TRY(inside, check_inside(offset_bytes, in.size(), size_bytes()));
  if (in.empty()) {
    return Done{};
  }
  const Claim claim(*this, sectors_of(offset_bytes, in.size()));
  const Parts parts = parts_of(offset_bytes, in.size(), size_bytes());
  const auto part = [&](std::uint64_t begin, std::uint64_t end) {
    return in.subspan(static_cast<std::size_t>(begin - offset_bytes), static_cast<std::size_t>(end - begin));
  };
  TRY(head, patch(parts.begin, part(parts.begin, parts.whole_begin)));
  if (parts.whole_begin != parts.whole_end) {
    TRY(middle, device_.write(parts.whole_begin, part(parts.whole_begin, parts.whole_end)));
  }
  return patch(parts.whole_end, part(parts.whole_end, parts.end));
}

Status SectorAccess::zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  static constexpr std::array<std::byte, sector> zeroes{};
  TRY(inside, check_inside(offset_bytes, length_bytes, size_bytes()));
  if (length_bytes == 0) {
    return Done{};
  }
  const Claim claim(*this, sectors_of(offset_bytes, length_bytes));
  const Parts parts = parts_of(offset_bytes, length_bytes, size_bytes());
  TRY(head, patch(parts.begin, std::span(zeroes).first(static_cast<std::size_t>(parts.whole_begin - parts.begin))));
  if (parts.whole_begin != parts.whole_end) {
    TRY(middle, device_.zero(parts.whole_begin, parts.whole_end - parts.whole_begin));
  }
  return patch(parts.whole_end, std::span(zeroes).first(static_cast<std::size_t>(parts.end - parts.whole_end)));
}

Status SectorAccess::discard(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  TRY(inside, check_inside(offset_bytes, length_bytes, size_bytes()));
  const Parts parts = parts_of(offset_bytes, length_bytes, size_bytes());
  if (parts.whole_begin == parts.whole_end) {
    return Done{};
  }
  const std::uint64_t length = parts.whole_end - parts.whole_begin;
  const Claim claim(*this, sectors_of(parts.whole_begin, length));
  return device_.discard(parts.whole_begin, length);
}

}  // namespace mdtool
