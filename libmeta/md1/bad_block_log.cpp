// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/md1/bad_block_log.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "libmeta/field_list.h"
#include "libmeta/plausibility.h"

namespace mdtool::md1 {
namespace {

// BB_OFFSET and BB_LEN of the entry as stored on disk.
constexpr int length_bits = 10;
constexpr std::uint64_t length_mask = (std::uint64_t{1} << length_bits) - 1;

std::uint64_t shifted(std::uint64_t value, std::uint8_t shift) {
  const std::uint64_t back = (value << shift) >> shift;
  return back == value ? value << shift : Sectors::max().count();
}

BadRange range_of(std::uint64_t entry, std::uint8_t shift) {
  const std::uint64_t first = shifted(entry >> length_bits, shift);
  const std::uint64_t count = shifted(entry & length_mask, shift);
  return {Sectors(first), Sectors(std::min(count, Sectors::max().count() - first))};
}

std::vector<BadRange> merged(std::vector<BadRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const BadRange& a, const BadRange& b) { return a.first < b.first; });
  std::vector<BadRange> out;
  for (const BadRange& range : ranges) {
    if (range.count.is_zero()) {
      continue;
    }
    if (out.empty() || out.back().first + out.back().count < range.first) {
      out.push_back(range);
    } else {
      BadRange& last = out.back();
      last.count = std::max(last.first + last.count, range.first + range.count) - last.first;
    }
  }
  return out;
}

std::string name_of(std::size_t index) {
  return "badblocks[" + std::to_string(index) + "]";
}

}  // namespace

BadBlockLog::BadBlockLog(std::vector<le64> entries, std::uint8_t shift) : entries_(std::move(entries)), shift_(shift) {
  std::vector<BadRange> ranges;
  for (std::uint64_t entry : listed()) {
    ranges.push_back(range_of(entry, shift_));
  }
  ranges_ = merged(std::move(ranges));
}

std::span<const le64> BadBlockLog::listed() const {
  const auto end =
      std::find_if(entries_.begin(), entries_.end(), [](const le64& entry) { return entry == bad_block_end; });
  return {entries_.begin(), end};
}

Result<BadBlockLog> BadBlockLog::read(const Source& source, const BadBlockLogPlace& place) {
  const std::uint32_t sectors = std::min(place.sectors, bad_block_log_sectors_most);
  TRY(bytes, read_bytes(source, place.offset_bytes, sectors * Sectors::bytes_each).in("bad-block log"));
  return decode(bytes, place.shift).in("bad-block log");
}

Result<BadBlockLog> BadBlockLog::decode(std::span<const std::byte> bytes, std::uint8_t shift) {
  if (bytes.size() % sizeof(le64) != 0 || bytes.size() > bad_block_log_sectors_most * Sectors::bytes_each) {
    return Error{ErrorKind::format, std::to_string(bytes.size()) + " bytes are not a list of entries"};
  }
  if (shift >= bad_block_shift_limit) {
    return Error{ErrorKind::format, "units of 2^" + std::to_string(shift) + " sectors are not possible"};
  }
  std::vector<le64> entries(bytes.size() / sizeof(le64));
  if (!bytes.empty()) {
    std::memcpy(entries.data(), bytes.data(), bytes.size());
  }
  return BadBlockLog(std::move(entries), shift);
}

bool BadBlockLog::covers(Sectors first, Sectors count) const {
  const Sectors end = first + std::min(count, Sectors::max() - first);
  // Sorted and merged: only the last range that begins before the end can reach into it.
  const auto behind =
      std::partition_point(ranges_.begin(), ranges_.end(), [end](const BadRange& range) { return range.first < end; });
  if (first == end || behind == ranges_.begin()) {
    return false;
  }
  const BadRange& range = *std::prev(behind);
  return range.first + range.count > first;
}

Findings BadBlockLog::verify(std::uint64_t member_bytes) const {
  Findings findings;
  const Sectors member = Sectors::from_bytes(member_bytes);
  const std::span<const le64> entries = listed();
  std::uint64_t previous_end = 0;
  bool sorted = true;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const BadRange range = range_of(entries[i], shift_);
    if ((entries[i] & length_mask) == 0) {
      findings.push_back(
          refuses_member("bad-block-length", name_of(i), "entry " + std::to_string(i) + " has length 0"));
    }
    if (!fits(range.first.count(), range.count.count(), member.count())) {
      findings.push_back({Severity::warning, "bad-block-beyond-member", name_of(i),
                          "entry " + std::to_string(i) + " lists " + std::to_string(range.count.count()) +
                              " sectors from sector " + std::to_string(range.first.count()) +
                              " on, beyond the member's " + std::to_string(member.count()),
                          Effect::none});
    }
    sorted = sorted && range.first.count() >= previous_end;
    previous_end = range.first.count() + range.count.count();
  }
  if (!sorted) {
    findings.push_back({Severity::note, "bad-block-order", "badblocks",
                        "the entries are not sorted or overlap; the kernel writes them sorted", Effect::none});
  }
  return findings;
}

Fields BadBlockLog::fields() const {
  FieldList list;
  const std::span<const le64> entries = listed();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const BadRange range = range_of(entries[i], shift_);
    list.number(name_of(i) + ".sector", range.first.count(), Unit::sectors);
    list.number(name_of(i) + ".length", range.count.count(), Unit::sectors);
  }
  return std::move(list).take();
}

std::vector<std::byte> BadBlockLog::encode() const {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(entries_));
  return {bytes.begin(), bytes.end()};
}

}  // namespace mdtool::md1
