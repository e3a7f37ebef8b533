// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/bundle_format.h"

#include <zstd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "libmeta/ondisk.h"
#include "libmeta/source.h"
#include "libraid/io/byte_stream.h"
#include "libraid/io/compress.h"
#include "libraid/io/file.h"

namespace mdtool {

namespace {

constexpr std::array<char, 8> bundle_tag = {'m', 'd', 't', 'l', 'd', 'u', 'm', 'p'};
constexpr std::uint32_t format_version = 1;
constexpr std::uint32_t most_members = 4096;
constexpr std::uint32_t most_areas = 64;  // of one member: five superblocks have twenty
constexpr std::array<std::string_view, 4> area_names = {"superblock", "bitmap", "bad-block log", "ppl"};

struct BundleHead {
  std::array<char, 8> tag{};
  le32 version;
  u8 identities;
  std::array<unsigned char, 3> zero{};
  le32 members;
};
static_assert(sizeof(BundleHead) == 20);

struct MemberHead {
  le64 offset_bytes;
  le64 size_bytes;
  u8 has_serial;
  std::array<unsigned char, 3> zero{};
  le32 areas;
};
static_assert(sizeof(MemberHead) == 24);

struct AreaHead {
  le64 offset_bytes;
  u8 kind;
  std::array<unsigned char, 3> zero{};
};
static_assert(sizeof(AreaHead) == 12);

Error senseless(std::string_view what) {
  return {ErrorKind::format, "the dump makes no sense: " + std::string(what)};
}

Status check_member(const BundleMember& member) {
  if (member.size_bytes > largest_member_bytes) {
    return senseless("a member of " + std::to_string(member.size_bytes) + " bytes");
  }
  if (member.areas.size() > most_areas) {
    return senseless("a member with " + std::to_string(member.areas.size()) + " areas");
  }
  std::uint64_t end = 0;
  for (const BundleArea& area : member.areas) {
    if (area.bytes.empty() || area.offset_bytes < end ||
        !fits(area.offset_bytes, area.bytes.size(), member.size_bytes)) {
      return senseless("an area at byte " + std::to_string(area.offset_bytes) +
                       " that overlaps another or does not lie within its member");
    }
    end = area.offset_bytes + area.bytes.size();
  }
  return Done{};
}

void put_member(ByteWriter& out, const BundleMember& member) {
  MemberHead head;
  head.offset_bytes = member.offset_bytes;
  head.size_bytes = member.size_bytes;
  head.has_serial = member.serial ? 1 : 0;
  head.areas = static_cast<std::uint32_t>(member.areas.size());
  out.put(head);
  out.put_text(member.path);
  out.put_text(member.file);
  out.put_text(member.serial.value_or(""));
  for (const BundleArea& area : member.areas) {
    AreaHead area_head;
    area_head.offset_bytes = area.offset_bytes;
    area_head.kind = static_cast<std::uint8_t>(area.kind);
    out.put(area_head);
    out.put_sized(area.bytes);
  }
}

Result<BundleArea> take_area(ByteReader& in) {
  const auto head = in.take<AreaHead>();
  if (head.kind >= area_names.size()) {
    return senseless("an area of unknown kind " + std::to_string(head.kind.value()));
  }
  return BundleArea{static_cast<BundleAreaKind>(head.kind.value()), head.offset_bytes, in.take_sized()};
}

Result<BundleMember> take_member(ByteReader& in) {
  const auto head = in.take<MemberHead>();
  BundleMember member;
  member.offset_bytes = head.offset_bytes;
  member.size_bytes = head.size_bytes;
  member.path = in.take_text();
  member.file = in.take_text();
  std::string serial = in.take_text();
  if (head.has_serial != 0) {
    member.serial = std::move(serial);
  }
  for (std::uint32_t i = 0; i < std::min<std::uint32_t>(head.areas, most_areas + 1) && in.ok(); ++i) {
    TRY(area, take_area(in));
    member.areas.push_back(std::move(area));
  }
  if (!in.ok()) {
    return senseless("it ends in the middle of a member");
  }
  TRY(checked, check_member(member));
  return member;
}

Result<Bundle> decode_raw(std::span<const std::byte> raw) {
  ByteReader in(raw);
  const auto head = in.take<BundleHead>();
  if (!in.ok() || head.tag != bundle_tag) {
    return Error{ErrorKind::format, "not a dump of mdtool's"};
  }
  if (head.version != format_version) {
    return Error{ErrorKind::format, "a dump of version " + std::to_string(head.version) +
                                        "; this mdtool reads version " + std::to_string(format_version)};
  }
  if (head.members > most_members || head.identities > static_cast<std::uint8_t>(Identities::replaced)) {
    return senseless("a count or a mark that is out of range");
  }
  Bundle bundle;
  bundle.identities = static_cast<Identities>(head.identities.value());
  for (std::uint32_t i = 0; i < head.members; ++i) {
    TRY(member, take_member(in).in("member " + std::to_string(i)));
    bundle.members.push_back(std::move(member));
  }
  if (!in.at_end()) {
    return senseless("bytes behind its last member");
  }
  return bundle;
}

Result<std::vector<std::byte>> decompressed(std::span<const std::byte> file) {
  const unsigned long long length = ZSTD_getFrameContentSize(file.data(), file.size());
  if (length == ZSTD_CONTENTSIZE_ERROR || length == ZSTD_CONTENTSIZE_UNKNOWN) {
    return Error{ErrorKind::format, "not a dump of mdtool's, or not all of one"};
  }
  if (length > largest_bundle_bytes) {
    return Error{ErrorKind::format, "larger than any dump"};
  }
  if (ZSTD_findFrameCompressedSize(file.data(), file.size()) != file.size()) {
    return Error{ErrorKind::format, "cut off, or something follows the dump"};
  }
  std::vector<std::byte> raw(static_cast<std::size_t>(length));
  if (ZSTD_decompress(raw.data(), raw.size(), file.data(), file.size()) != raw.size()) {
    return Error{ErrorKind::format, "damaged: its checksum is wrong"};
  }
  return raw;
}

}  // namespace

std::string_view bundle_area_name(BundleAreaKind kind) {
  return area_names[static_cast<std::size_t>(kind)];
}

Result<std::vector<std::byte>> encode_bundle(const Bundle& bundle) {
  if (bundle.members.size() > most_members) {
    return Error{ErrorKind::refused, "more than " + std::to_string(most_members) + " members"};
  }
  BundleHead head;
  head.tag = bundle_tag;
  head.version = format_version;
  head.identities = static_cast<std::uint8_t>(bundle.identities);
  head.members = static_cast<std::uint32_t>(bundle.members.size());
  ByteWriter out;
  out.put(head);
  for (const BundleMember& member : bundle.members) {
    TRY(checked, check_member(member).in(member.path));
    put_member(out, member);
  }
  const std::vector<std::byte> raw = out.take();
  if (raw.size() > largest_bundle_bytes) {
    return Error{ErrorKind::refused, "the metadata of these members is more than " +
                                         std::to_string(largest_bundle_bytes >> 20) +
                                         " MiB: dump fewer of them into one file"};
  }
  return compressed(raw);
}

Result<Bundle> decode_bundle(std::span<const std::byte> file) {
  TRY(raw, decompressed(file));
  return decode_raw(raw);
}

Result<Bundle> read_bundle(const std::string& path) {
  TRY(file, FileDevice::open(path, Access::read_only));
  if (file->size_bytes() > largest_bundle_bytes) {
    return Error{ErrorKind::format, path + ": larger than any dump"};
  }
  TRY(bytes, read_bytes(*file, 0, static_cast<std::size_t>(file->size_bytes())));
  return decode_bundle(bytes).in(path);
}

}  // namespace mdtool
