// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/anonymize.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <string>

#include "libmeta/bitmap/header.h"
#include "libmeta/field_value.h"
#include "libmeta/md0/superblock.h"
#include "libmeta/md1/bad_block_log.h"
#include "libmeta/md1/superblock.h"
#include "libmeta/ppl/header.h"
#include "libraid/edit/bundle.h"
#include "libraid/edit/sha1.h"

namespace mdtool {

namespace {

using RawUuid = std::array<unsigned char, 16>;

constexpr std::uint64_t earliest_shown = 1'000'000'000;  // seconds: 2001-09-09
constexpr std::byte all_ones{0xff};

// What stands for what, the same throughout a dump.
class Aliases {
 public:
  explicit Aliases(const Salt& salt) : salt_(salt.begin(), salt.end()) {}

  void see_time(std::uint64_t seconds) {
    if (seconds != 0) {
      earliest_ = std::min(earliest_, seconds);
    }
  }
  // Never is never.
  std::uint64_t time(std::uint64_t seconds, std::uint64_t most) const {
    return seconds == 0 ? 0 : std::min(most, earliest_shown + (seconds - earliest_));
  }
  // None is none: a UUID of zeroes has a meaning of its own.
  RawUuid uuid(const RawUuid& raw) const {
    RawUuid alias{};
    if (raw != alias) {
      const auto hash = hash_of("uuid", std::string(raw.begin(), raw.end()));
      std::copy_n(hash.begin(), alias.size(), alias.begin());
    }
    return alias;
  }
  // "host:name", of which either may be the same on other arrays.
  std::string name(const std::string& name) const {
    const std::size_t colon = name.find(':');
    if (name.empty()) {
      return name;
    }
    return colon == std::string::npos
               ? word("array", name)
               : word("host", name.substr(0, colon)) + ":" + word("array", name.substr(colon + 1));
  }

 private:
  std::array<unsigned char, 20> hash_of(std::string_view kind, const std::string& what) const {
    return sha1(salt_ + std::string(kind) + what);
  }
  std::string word(const std::string& kind, const std::string& what) const {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text = kind + "-";
    const auto hash = hash_of(kind, what);
    for (std::size_t i = 0; i < 3; ++i) {
      text += digits[hash[i] >> 4];
      text += digits[hash[i] & 15];
    }
    return text;
  }

  std::string salt_;
  std::uint64_t earliest_ = std::numeric_limits<std::uint64_t>::max();
};

template <DiskStructure T>
void append(std::vector<std::byte>& bytes, const T& value) {
  const auto raw = std::as_bytes(std::span(&value, 1));
  bytes.insert(bytes.end(), raw.begin(), raw.end());
}

Result<std::vector<std::byte>> anonymous_1(const Metadata& metadata, std::uint32_t minor_version,
                                           const Aliases& aliases) {
  const std::vector<std::byte> bytes = metadata.encode();
  TRY(fixed, load<md1::Superblock>(bytes, 0));
  md1::Record record{fixed, {bytes.begin() + sizeof(md1::Superblock), bytes.end()}, minor_version, 0, 0};
  const std::uint32_t wrong_by = fixed.sb_csum - record.expected_checksum();
  const MemberDescription d = metadata.describe();
  md1::Superblock& sb = record.fixed;
  sb.pad0 = 0;
  sb.pad3 = {};
  sb.set_uuid = aliases.uuid(fixed.set_uuid);
  sb.device_uuid = aliases.uuid(fixed.device_uuid);
  sb.ctime = aliases.time(d.ctime_seconds, seconds_mask);
  sb.utime = aliases.time(d.utime_seconds, seconds_mask);
  const std::string name = aliases.name(d.set_name);
  sb.set_name = {};
  std::copy(name.begin(), name.end(), sb.set_name.begin());
  const std::size_t roles = record.dev_roles().size() * sizeof(le16);
  std::fill(record.rest.begin() + static_cast<std::ptrdiff_t>(roles), record.rest.end(), std::byte{0});
  sb.sb_csum = record.expected_checksum() + wrong_by;
  return record.encode();
}

template <std::endian Order>
RawUuid words_of(const md0::Superblock<Order>& sb) {
  return std::bit_cast<RawUuid>(std::array{sb.set_uuid0, sb.set_uuid1, sb.set_uuid2, sb.set_uuid3});
}

template <std::endian Order>
void set_words(md0::Superblock<Order>& sb, const RawUuid& raw) {
  const auto words = std::bit_cast<std::array<typename md0::Superblock<Order>::u32, 4>>(raw);
  sb.set_uuid0 = words[0];
  sb.set_uuid1 = words[1];
  sb.set_uuid2 = words[2];
  sb.set_uuid3 = words[3];
}

template <std::endian Order>
Result<std::vector<std::byte>> anonymous_0(const Metadata& metadata, const Aliases& aliases) {
  constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
  TRY(fixed, load<md0::Superblock<Order>>(metadata.encode(), 0));
  md0::Record<Order> record{fixed, 0, 0};
  const std::uint32_t wrong_by = fixed.sb_csum - record.expected_checksum();
  md0::Superblock<Order>& sb = record.fixed;
  set_words(sb, aliases.uuid(words_of(fixed)));
  sb.ctime = static_cast<std::uint32_t>(aliases.time(fixed.ctime, most));
  sb.utime = static_cast<std::uint32_t>(aliases.time(fixed.utime, most));
  sb.gstate_creserved = {};
  sb.gstate_sreserved = {};
  sb.root_pv = 0;
  sb.root_block = 0;
  sb.pstate_creserved = {};
  for (md0::Disk<Order>& disk : sb.disks) {
    disk.reserved = {};
  }
  sb.this_disk.reserved = {};
  sb.sb_csum = record.expected_checksum() + wrong_by;
  std::vector<std::byte> bytes;
  append(bytes, sb);
  return bytes;
}

Result<std::vector<std::byte>> anonymous_superblock(const Metadata& metadata, const Aliases& aliases) {
  const Format* format = &metadata.format();
  if (format == &md0::little_endian()) {
    return anonymous_0<std::endian::little>(metadata, aliases);
  }
  if (format == &md0::big_endian()) {
    return anonymous_0<std::endian::big>(metadata, aliases);
  }
  const std::array versions = {&md1::version_1_0(), &md1::version_1_1(), &md1::version_1_2()};
  const auto version = std::find(versions.begin(), versions.end(), format);
  if (version == versions.end()) {
    return std::vector<std::byte>{};  // of a format that is not known here nothing stays
  }
  return anonymous_1(metadata, static_cast<std::uint32_t>(version - versions.begin()), aliases);
}

// An intact header stays intact. The sums of the partial parity, which does not come along, are dropped.
std::vector<std::byte> anonymous_ppl_header(ppl::Header header, const Uuid& set_uuid) {
  header.signature = ppl::expected_signature(set_uuid);
  const std::size_t count = ppl::entries(header).size();
  for (std::size_t i = 0; i < header.entries.size(); ++i) {
    header.entries[i] = i < count ? header.entries[i] : ppl::Entry{};
    header.entries[i].checksum = 0;
  }
  header.reserved.fill(0xff);
  header.padding = 0;
  header.rest = {};
  header.checksum = ppl::expected_checksum(header);
  return ppl::encode(header);
}

class MemberAnonymizer {
 public:
  MemberAnonymizer(const RecordedMember& recorded, const Aliases& aliases) : recorded_(recorded), aliases_(aliases) {}

  // Later patches lie over earlier ones: what matters more comes last, as in gather_areas() it comes first.
  Result<std::vector<Patch>> patches() && {
    for (const FoundSuperblock& found : recorded_.candidate.superblocks) {
      anonymize_ppl(found);
      anonymize_bad_blocks(found.description);
    }
    for (const FoundSuperblock& found : recorded_.candidate.superblocks) {
      anonymize_bitmap(found.description);
    }
    for (const FoundSuperblock& found : recorded_.candidate.superblocks) {
      TRY(bytes, anonymous_superblock(*found.metadata, aliases_));
      patches_.push_back({found.metadata->offset_bytes(), std::move(bytes)});
    }
    return std::move(patches_);
  }

 private:
  // The chain of headers as far as the kernel follows it.
  void anonymize_ppl(const FoundSuperblock& found) {
    const MemberDescription& d = found.description;
    const Uuid alias{aliases_.uuid(d.set_uuid.bytes)};
    std::uint64_t at = d.ppl ? d.ppl->offset_bytes : 0;
    const std::uint64_t end = d.ppl ? at + d.ppl->length_bytes : 0;
    while (fits(at, ppl::header_bytes, end)) {
      const auto bytes = read_bytes(*recorded_.source, at, ppl::header_bytes);
      const auto header = bytes ? ppl::decode(*bytes) : Result<ppl::Header>(bytes.error());
      if (!header || !ppl::intact(*header, d.set_uuid)) {
        return;
      }
      patches_.push_back({at, anonymous_ppl_header(*header, alias)});
      at += ppl::header_bytes;
      for (const ppl::Entry& entry : ppl::entries(*header)) {
        at += entry.pp_size;
      }
    }
  }

  // Only the list; nobody reads what is behind its end, nor a log that its superblock says is empty.
  void anonymize_bad_blocks(const MemberDescription& d) {
    if (!d.bad_block_log) {
      return;
    }
    const std::size_t length =
        static_cast<std::size_t>(std::min(d.bad_block_log->sectors, md1::bad_block_log_sectors_most)) *
        Sectors::bytes_each;
    const auto bytes = read_bytes(*recorded_.source, d.bad_block_log->offset_bytes, length);
    if (!bytes) {
      return;
    }
    std::vector<std::byte> list;
    for (std::size_t at = 0; d.bad_block_log->not_empty && at < length; at += sizeof(le64)) {
      const auto entry = load<le64>(*bytes, at);
      if (!entry || *entry == md1::bad_block_end) {
        break;
      }
      append(list, *entry);
    }
    list.resize(length, all_ones);
    patches_.push_back({d.bad_block_log->offset_bytes, std::move(list)});
  }

  // Header and bits, without the gap between them and what is behind.
  void anonymize_bitmap(const MemberDescription& d) {
    const auto header =
        d.bitmap_offset_bytes ? bitmap::read_header(*recorded_.source, *d.bitmap_offset_bytes) : Error{};
    const std::uint64_t used = bitmap_used_bytes(d, *recorded_.source);
    if (!header || used < bitmap::header_bytes) {
      return;
    }
    auto bytes = read_bytes(*recorded_.source, *d.bitmap_offset_bytes, static_cast<std::size_t>(used));
    if (!bytes) {
      return;
    }
    bitmap::Header alias = *header;
    alias.uuid = aliases_.uuid(header->uuid);
    alias.cluster_name = {};
    alias.pad = {};
    *bytes = bitmap::area_with_header(*bytes, alias);
    clear_outside_of_chunks(*header, d, *bytes);
    patches_.push_back({*d.bitmap_offset_bytes, std::move(*bytes)});
  }

  static void clear_outside_of_chunks(const bitmap::Header& header, const MemberDescription& d,
                                      std::vector<std::byte>& area) {
    const BitmapContent content = bitmap_content(header, d);
    const auto zero = [&](std::uint64_t from, std::uint64_t to) {
      for (std::uint64_t i = from; i < std::min<std::uint64_t>(to, area.size()); ++i) {
        area[static_cast<std::size_t>(i)] = std::byte{0};
      }
    };
    zero(bitmap::header_bytes, content.begin_bytes);
    zero(content.end_bytes, area.size());
  }

  const RecordedMember& recorded_;
  const Aliases& aliases_;
  std::vector<Patch> patches_;
};

BundleArea with_patches(const BundleArea& area, std::span<const Patch> patches) {
  BundleArea out{area.kind, area.offset_bytes, std::vector<std::byte>(area.bytes.size())};
  for (const Patch& patch : patches) {
    lay_over(out.bytes, out.offset_bytes, patch.bytes, patch.offset_bytes);
  }
  return out;
}

}  // namespace

Result<Bundle> anonymized(const Bundle& bundle, const Salt& salt) {
  Aliases aliases(salt);
  std::vector<RecordedMember> recorded;
  for (const BundleMember& member : bundle.members) {
    TRY(one, recorded_member(member));
    for (const FoundSuperblock& found : one.candidate.superblocks) {
      aliases.see_time(found.description.ctime_seconds);
      aliases.see_time(found.description.utime_seconds);
    }
    recorded.push_back(std::move(one));
  }
  Bundle out{Identities::replaced, {}};
  for (std::size_t i = 0; i < recorded.size(); ++i) {
    TRY(patches, MemberAnonymizer(recorded[i], aliases).patches().in(bundle.members[i].path));
    const std::string path = "m" + std::to_string(i) + ".img";
    BundleMember member{path, path, 0, bundle.members[i].size_bytes, std::nullopt, {}};
    for (const BundleArea& area : bundle.members[i].areas) {
      member.areas.push_back(with_patches(area, patches));
    }
    out.members.push_back(std::move(member));
  }
  return out;
}

}  // namespace mdtool
