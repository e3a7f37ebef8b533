// SPDX-License-Identifier: GPL-2.0-or-later
// The file that `dump` writes: metadata of members, by place. Knows bytes and what kind of area they are; not what they
// mean. One checksummed zstd frame; nothing in it is believed before its bounds are checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libmeta/result.h"

namespace mdtool {

enum class BundleAreaKind : std::uint8_t { superblock = 0, bitmap = 1, bad_block_log = 2, ppl = 3 };

// "superblock", "bitmap", "bad-block log", "ppl": the names that descriptions have for areas.
std::string_view bundle_area_name(BundleAreaKind);

struct BundleArea {
  BundleAreaKind kind = BundleAreaKind::superblock;
  std::uint64_t offset_bytes = 0;  // on the member
  std::vector<std::byte> bytes;

  friend bool operator==(const BundleArea&, const BundleArea&) = default;
};

struct BundleMember {
  std::string path;                   // as it was named
  std::string file;                   // absolute, links resolved
  std::uint64_t offset_bytes = 0;     // where the member starts in it
  std::uint64_t size_bytes = 0;       // of the member
  std::optional<std::string> serial;  // of the disk, where it was known
  std::vector<BundleArea> areas;      // by offset; none overlaps another

  friend bool operator==(const BundleMember&, const BundleMember&) = default;
};

enum class Identities : std::uint8_t { as_found = 0, replaced = 1 };

struct Bundle {
  Identities identities = Identities::as_found;
  std::vector<BundleMember> members;

  friend bool operator==(const Bundle&, const Bundle&) = default;
};

// What a bundle may hold, all members together; the file itself is not larger either.
constexpr std::uint64_t largest_bundle_bytes = std::uint64_t{64} << 20;
// A member that claims to be larger is believed by nobody.
constexpr std::uint64_t largest_member_bytes = std::uint64_t{1} << 60;

// Refused where it would be too large, or would not be read again.
Result<std::vector<std::byte>> encode_bundle(const Bundle& bundle);
Result<Bundle> decode_bundle(std::span<const std::byte> file);
Result<Bundle> read_bundle(const std::string& path);

}  // namespace mdtool
