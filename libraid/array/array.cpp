// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/array.h"

#include <algorithm>

#include "libraid/parity/recover.h"

namespace mdtool {

namespace {

// A device that fails a long read may still give most of it; md itself works in these units.
constexpr std::size_t retry_bytes = 4096;
// What a reconstruction reads of each member at a time.
constexpr std::size_t reconstruct_bytes = std::size_t{64} * 1024;

Sectors smaller(Sectors a, Sectors b) {
  return a < b ? a : b;
}

}  // namespace

Array::Array(const Layout& layout, std::vector<ArrayMember> members, const parity::Kernels& kernels)
    : layout_(layout), members_(std::move(members)), kernels_(&kernels) {}

Array::Validity Array::validity(std::uint32_t slot, Sectors sector) const {
  const ArrayMember& m = members_[slot];
  if (m.data == nullptr || sector >= m.valid_until) {
    return {false, Sectors::max()};
  }
  auto next = std::partition_point(m.bad.begin(), m.bad.end(), [&](const SectorRange& r) { return r.end() <= sector; });
  if (next == m.bad.end()) {
    return {true, m.valid_until};
  }
  if (next->first <= sector) {
    return {false, next->end()};
  }
  return {true, smaller(next->first, m.valid_until)};
}

Status Array::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  if (!fits(offset_bytes, out.size(), size_bytes())) {
    return Error{ErrorKind::out_of_range, "array: read beyond the end"};
  }
  if (offset_bytes % Sectors::bytes_each != 0 || out.size() % Sectors::bytes_each != 0) {
    return Error{ErrorKind::usage, "array: reads are in whole sectors"};
  }
  const Sectors chunk = layout_.geometry().chunk;
  Sectors at = Sectors::from_bytes(offset_bytes);
  while (!out.empty()) {
    const Sectors in_chunk = chunk - at % chunk;
    const std::size_t bytes = std::min<std::size_t>(out.size(), in_chunk.bytes());
    TRY(done, read_place(layout_.data(at), out.first(bytes)).in("array sector " + std::to_string(at.count())));
    out = out.subspan(bytes);
    at += Sectors::from_bytes(bytes);
  }
  return Done{};
}

Status Array::read_good(std::uint32_t slot, Sectors sector, std::span<std::byte> out) const {
  const ArrayMember& m = members_[slot];
  return m.data->read((m.data_offset + sector).bytes(), out);
}

Status Array::read_place(Place place, std::span<std::byte> out) const {
  while (!out.empty()) {
    const Validity v = validity(place.slot, place.sector);
    const Sectors left = smaller(Sectors::from_bytes(out.size()), v.until - place.sector);
    std::span<std::byte> piece = out.first(left.bytes());
    if (!v.good) {
      TRY(done, reconstruct(place, piece));
    } else if (!read_good(place.slot, place.sector, piece)) {
      for (std::size_t at = 0; at < piece.size(); at += retry_bytes) {
        const Place here{place.slot, place.sector + Sectors::from_bytes(at)};
        std::span<std::byte> part = piece.subspan(at, std::min(retry_bytes, piece.size() - at));
        if (!read_good(here.slot, here.sector, part)) {
          TRY(done, reconstruct(here, part));
        }
      }
    }
    out = out.subspan(piece.size());
    place.sector += left;
  }
  return Done{};
}

namespace {

// The slots of one piece of a row that cannot be used; the wanted one is the first.
std::string lost_text(const std::vector<std::uint32_t>& lost) {
  std::string text = "slots";
  for (std::uint32_t slot : lost) {
    text += " " + std::to_string(slot);
  }
  return text + " cannot be read there";
}

}  // namespace

Status Array::reconstruct(Place place, std::span<std::byte> out) const {
  const auto slots = static_cast<std::uint32_t>(members_.size());
  const std::uint64_t stripe = place.sector / layout_.geometry().chunk;
  const ParitySlots parity = layout_.parity(stripe);
  std::vector<std::optional<std::uint32_t>> exponents(slots);
  for (std::uint32_t slot = 0; slot < slots; ++slot) {
    exponents[slot] = layout_.q_exponent(stripe, slot);
  }
  std::vector<std::byte> pool(slots * std::min(out.size(), reconstruct_bytes));
  while (!out.empty()) {
    std::size_t bytes = std::min(out.size(), reconstruct_bytes);
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
      bytes = std::min<std::size_t>(
          bytes, (smaller(validity(slot, place.sector).until - place.sector, Sectors::from_bytes(bytes))).bytes());
    }
    std::vector<parity::MutableBlock> blocks(slots);
    std::vector<std::uint32_t> lost{place.slot};
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
      blocks[slot] = pool.data() + slot * std::min(pool.size() / slots, reconstruct_bytes);
      if (slot != place.slot &&
          (!validity(slot, place.sector).good || !read_good(slot, place.sector, std::span(blocks[slot], bytes)))) {
        lost.push_back(slot);
      }
    }
    if (lost.size() > layout_.parity_disks()) {
      return Error{ErrorKind::io,
                   "member sector " + std::to_string(place.sector.count()) + ": too much is lost: " + lost_text(lost)};
    }
    TRY(done, parity::recover(*kernels_, {blocks, exponents, parity.p, parity.q, bytes}, lost));
    std::copy_n(blocks[place.slot], bytes, out.begin());
    out = out.subspan(bytes);
    place.sector += Sectors::from_bytes(bytes);
  }
  return Done{};
}

}  // namespace mdtool
