// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/convert.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "libmeta/md0/superblock.h"
#include "libmeta/md1/superblock.h"

namespace mdtool {
namespace {

using Converted = Result<std::unique_ptr<Metadata>>;

struct Setting {
  std::string_view name;
  std::string value;
};

Converted unchanged(const Metadata& from) {
  return from.changed({});
}

Converted with_fields(const Metadata& from, std::span<const Setting> settings) {
  Converted latest = unchanged(from);
  for (const Setting& setting : settings) {
    TRY(next, (*latest)->with_field(setting.name, setting.value).in(setting.name));
    latest = std::move(next);
  }
  return latest;
}

bool is_version_0(const Metadata& from) {
  return &from.format() == &md0::little_endian() || &from.format() == &md0::big_endian();
}

Error not_for(const Metadata& from, std::string_view what) {
  return {ErrorKind::usage, std::string(what) + " a superblock of version " + from.describe().metadata};
}

Result<md1::Superblock> version_1_of(const Metadata& from, std::string_view what) {
  if (is_version_0(from)) {
    return not_for(from, what);
  }
  return load<md1::Superblock>(from.encode(), 0);
}

std::uint32_t preferred_minor(const Fields& fields) {
  const auto at = std::find_if(fields.begin(), fields.end(), [](const Field& f) { return f.name == "md_minor"; });
  return static_cast<std::uint32_t>(std::get<std::uint64_t>(at->value));
}

// super_90_validate(): behind the superblock's 4 KiB.
constexpr std::int32_t bitmap_offset_0_90 = 8;

// `name` is a field of bits.
Converted with_bits(const Metadata& from, std::string_view name, std::uint32_t set, std::uint32_t cleared) {
  const Fields fields = from.fields();
  const auto at = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == name; });
  const auto bits = static_cast<std::uint32_t>(std::get<std::uint64_t>(at->value));
  return from.with_field(name, std::to_string((bits | set) & ~cleared)).in(name);
}

std::optional<std::string> not_convertible(const MemberDescription& d) {
  if (d.reshape) {
    return "the array is being reshaped";
  }
  if (!d.clean()) {
    return "the array is not clean";
  }
  if (d.bitmap_offset_bytes) {
    return "the array has a bitmap: remove it first";
  }
  return std::nullopt;
}

// What mdadm 4.6 writes, field by field (seen in the lab).
md1::Superblock version_1_superblock(const MemberDescription& d, std::uint32_t minor, const Uuid& device_uuid) {
  md1::Superblock sb{};
  sb.magic = md1::magic_number;
  sb.major_version = 1;
  sb.set_uuid = d.set_uuid.bytes;
  const std::string name = std::to_string(minor);
  std::copy(name.begin(), name.end(), sb.set_name.begin());
  sb.ctime = d.ctime_seconds + 1;
  sb.level = d.level;
  sb.layout = d.layout;
  sb.size = d.size.count();
  sb.chunksize = static_cast<std::uint32_t>(d.chunk.count());
  sb.raid_disks = d.raid_disks;
  sb.data_size = d.size.is_zero() ? d.super_offset.count() : d.size.count();
  sb.dev_number = d.dev_number;
  sb.device_uuid = device_uuid.bytes;
  sb.utime = d.utime_seconds;
  sb.resync_offset = Sectors::max().count();
  sb.max_dev = md0::max_disks;
  return sb;
}

template <std::endian From>
Converted reordered(const Metadata& from, std::uint64_t member_bytes) {
  constexpr std::endian to = From == std::endian::little ? std::endian::big : std::endian::little;
  constexpr std::size_t words = sizeof(md0::Superblock<From>) / sizeof(std::uint32_t);
  TRY(old, load<md0::Superblock<From>>(from.encode(), 0));
  const auto read = std::bit_cast<std::array<OnDisk<std::uint32_t, From>, words>>(old);
  std::array<OnDisk<std::uint32_t, to>, words> written;
  std::transform(read.begin(), read.end(), written.begin(), [](const auto& word) { return word.value(); });
  md0::Record<to> record;
  record.fixed = std::bit_cast<md0::Superblock<to>>(written);
  record.fixed.events = old.events.value();
  record.fixed.cp_events = old.cp_events.value();
  record.fixed.reshape_position = old.reshape_position.value();
  record.fixed.sb_csum = record.expected_checksum();
  record.offset_bytes = from.offset_bytes();
  record.member_bytes = member_bytes;
  return md0::metadata(record);
}

// A bitmap or a PPL, in sectors from the superblock.
struct Beside {
  std::int64_t offset = 0;
  std::int64_t sectors = 0;
};

Beside beside_superblock(const md1::Superblock& sb, std::int64_t bitmap_sectors) {
  if ((sb.feature_map & md1::feature_bitmap_offset) != 0) {
    return {sb.bitmap_offset, bitmap_sectors};
  }
  if ((sb.feature_map & (md1::feature_ppl | md1::feature_multiple_ppls)) != 0) {
    const md1::PplPlace ppl = md1::ppl_place(sb);
    return {ppl.offset, ppl.size};
  }
  return {};
}

// Between superblock and data: behind what is there, and where there is room so far away that a bitmap may grow.
std::optional<std::int64_t> log_before_data(std::int64_t superblock, const Beside& beside, std::int64_t room) {
  constexpr std::int64_t log = md1::bad_block_log_sectors;
  constexpr std::int64_t headroom = 64;  // 32 KiB
  const std::int64_t behind = beside.offset > 0 ? beside.offset + beside.sectors : log;
  const std::int64_t wanted = superblock + log + headroom;  // mdadm adds the superblock's own place
  const std::int64_t last = (room - log) / log * log;
  const std::int64_t place = std::max(behind, std::min(wanted, last));
  return place <= last ? std::optional(place) : std::nullopt;
}

// Right before a 1.0 superblock.
std::optional<std::int64_t> log_before_superblock(const Beside& beside, std::int64_t behind_data) {
  constexpr std::int64_t log = md1::bad_block_log_sectors;
  const std::int64_t free = beside.offset < 0 ? -beside.offset - beside.sectors : behind_data;
  return free >= log ? std::optional(-log) : std::nullopt;
}

// No log lies further off than 2^31 sectors, so that no number needs to be larger.
std::int64_t bounded(std::uint64_t sectors) {
  constexpr std::uint64_t far = std::uint64_t{1} << 31;
  return static_cast<std::int64_t>(std::min(sectors, far));
}

// From the end of [offset, offset + length) to `end`.
std::int64_t distance(std::uint64_t offset, std::uint64_t length, std::uint64_t end) {
  return fits(offset, length, end) ? bounded(end - offset - length) : 0;
}

std::int64_t whole_logs(std::uint64_t sectors) {
  constexpr std::int64_t log = md1::bad_block_log_sectors;
  return (bounded(sectors) + log - 1) / log * log;
}

}  // namespace

Converted to_version_1_0(const Metadata& from, std::uint64_t member_bytes, const Uuid& device_uuid) {
  if (!is_version_0(from)) {
    return not_for(from, "no conversion to 1.0 of");
  }
  const MemberDescription d = from.describe();
  if (const std::optional<std::string> reason = not_convertible(d)) {
    return Error{ErrorKind::refused, *reason};
  }
  const std::optional<Sectors> place = md1::superblock_place(0, Sectors::from_bytes(member_bytes));
  if (!place || *place < Sectors::from_bytes(from.offset_bytes() + from.encode().size())) {
    return Error{ErrorKind::refused, "no room for a 1.0 superblock behind the 0.90 one"};
  }
  md1::Record record;
  record.fixed = version_1_superblock(d, preferred_minor(from.fields()), device_uuid);
  record.fixed.super_offset = place->count();
  record.rest.resize(md1::superblock_limit_bytes - sizeof(md1::Superblock));
  record.member_bytes = member_bytes;
  record.offset_bytes = place->bytes();
  for (std::size_t i = 0; i < md0::max_disks; ++i) {
    record.set_dev_role(i, d.dev_roles[i] < role_max_regular ? d.dev_roles[i] : role_spare);
  }
  record.fixed.sb_csum = record.expected_checksum();
  return md1::metadata(std::move(record));
}

Converted in_other_byte_order(const Metadata& from, std::uint64_t member_bytes) {
  if (!is_version_0(from)) {
    return not_for(from, "there is but one byte order of");
  }
  return &from.format() == &md0::little_endian() ? reordered<std::endian::little>(from, member_bytes)
                                                 : reordered<std::endian::big>(from, member_bytes);
}

Converted with_bad_block_log(const Metadata& from, std::uint64_t bitmap_sectors) {
  TRY(sb, version_1_of(from, "no bad-block log with"));
  if (sb.bblog_size != 0) {
    return unchanged(from);
  }
  const std::uint64_t superblock = Sectors::from_bytes(from.offset_bytes()).count();
  const Beside beside = beside_superblock(sb, whole_logs(bitmap_sectors));
  const std::optional<std::int64_t> place =
      &from.format() == &md1::version_1_0()
          ? log_before_superblock(beside, distance(sb.data_offset, sb.data_size, superblock))
          : log_before_data(bounded(superblock), beside, distance(superblock, 0, sb.data_offset));
  if (!place) {
    return Error{ErrorKind::refused, "no room for a bad-block log"};
  }
  const std::array<Setting, 3> settings{{{"bblog_size", std::to_string(md1::bad_block_log_sectors)},
                                         {"bblog_offset", std::to_string(*place)},
                                         {"bblog_shift", "0"}}};
  return with_fields(from, settings);
}

Converted without_bad_block_log(const Metadata& from, ListedBlocks listed) {
  TRY(sb, version_1_of(from, "no bad-block log with"));
  if (listed == ListedBlocks::refuse && (sb.feature_map & md1::feature_bad_blocks) != 0) {
    return Error{ErrorKind::refused, "the bad-block log lists blocks"};
  }
  const std::array<Setting, 4> settings{{{"feature_map", std::to_string(sb.feature_map & ~md1::feature_bad_blocks)},
                                         {"bblog_size", "0"},
                                         {"bblog_offset", "0"},
                                         {"bblog_shift", "0"}}};
  return with_fields(from, settings);
}

Converted with_whole_member(const Metadata& from, std::uint64_t member_bytes) {
  TRY(sb, version_1_of(from, "the member's size is not in"));
  if (&from.format() == &md1::version_1_0()) {
    return unchanged(from);
  }
  const std::uint64_t end = Sectors::from_bytes(member_bytes).count();
  if (end < sb.data_offset || end - sb.data_offset < sb.size) {
    return Error{ErrorKind::refused, "the member of " + std::to_string(end) + " sectors has no room for the " +
                                         std::to_string(sb.size) + " sectors of data that the array uses"};
  }
  const std::array<Setting, 1> settings{{{"data_size", std::to_string(end - sb.data_offset)}}};
  return with_fields(from, settings);
}

Converted with_bitmap_at(const Metadata& from, std::int32_t offset_sectors) {
  if (is_version_0(from)) {
    if (offset_sectors != bitmap_offset_0_90) {
      return Error{ErrorKind::usage, "a bitmap of 0.90 metadata begins 8 sectors from the superblock"};
    }
    return with_bits(from, "state", md0::sb_bitmap_present, 0);
  }
  TRY(marked, with_bits(from, "feature_map", md1::feature_bitmap_offset, 0));
  return marked->with_field("bitmap_offset", std::to_string(offset_sectors)).in("bitmap_offset");
}

Converted without_bitmap(const Metadata& from) {
  return is_version_0(from) ? with_bits(from, "state", 0, md0::sb_bitmap_present)
                            : with_bits(from, "feature_map", 0, md1::feature_bitmap_offset);
}

Converted without_ppl(const Metadata& from) {
  TRY(sb, version_1_of(from, "no PPL with"));
  const std::uint32_t without = sb.feature_map & ~(md1::feature_ppl | md1::feature_multiple_ppls);
  const std::array<Setting, 1> settings{{{"feature_map", std::to_string(without)}}};
  return with_fields(from, settings);
}

}  // namespace mdtool
