// SPDX-License-Identifier: GPL-2.0-or-later
// What every metadata format can do: be recognised on a bare member, read, described, verified and encoded.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "libmeta/description.h"
#include "libmeta/field.h"
#include "libmeta/finding.h"
#include "libmeta/source.h"

namespace mdtool {

// Bytes to be written to one member at a byte offset. libmeta only proposes them.
struct Patch {
  std::uint64_t offset_bytes = 0;
  std::vector<std::byte> bytes;
};

// An entry of dev_roles that changes, in 1.x coding as in MemberDescription::dev_roles. 0.90: the descriptor of that
// number.
struct RoleChange {
  std::uint32_t dev_number = 0;
  std::uint16_t role = role_spare;
};

// What a run of mdtool changes in a superblock. Everything else stays as it is, reserved bytes included.
struct SuperblockChange {
  std::optional<std::uint64_t> events;
  std::optional<std::uint64_t> utime_seconds;
  std::optional<Sectors> resync_offset;      // max(): clean
  std::vector<std::uint32_t> missing_slots;  // marked missing in this member's view of the array
  std::vector<std::uint32_t> faulty_slots;   // the same, of members that failed while the array was in use
  std::vector<std::uint32_t> departed;       // dev_numbers whose role ends: dropped replacements (1.x only)
  std::uint32_t corrected_reads = 0;         // sectors more in this member's cnt_corrected_read (1.x only)
  std::vector<RoleChange> roles;             // after all of the above; this member's own entry included
  // RECOVERY_OFFSET and RECOVERY_BITMAP. from_start: the first alone, with recovery_offset 0; by_bitmap: both, the same
  // (1.x only: on 0.90 such a member is a spare).
  enum class Recovery { keep, clear, from_start, by_bitmap } recovery = Recovery::keep;
};

// A member that is to get a superblock of an array that others have.
struct NewMember {
  std::uint64_t member_bytes = 0;
  Uuid device_uuid;              // 1.x only
  std::uint32_t dev_number = 0;  // its index in dev_roles
  std::uint16_t role = role_spare;
};

class Format;

// One superblock as read.
class Metadata {
 public:
  virtual ~Metadata() = default;
  virtual const Format& format() const = 0;
  // Byte offset of the superblock on its member.
  virtual std::uint64_t offset_bytes() const = 0;
  virtual MemberDescription describe() const = 0;
  // Everything that can be judged from this superblock alone, against a member of this size.
  virtual Findings verify(std::uint64_t member_bytes) const = 0;
  virtual Fields fields() const = 0;
  // The bytes to write at offset_bytes(); the identity on what was read and not changed.
  virtual std::vector<std::byte> encode() const = 0;
  // The same superblock with the change made and the checksum right.
  virtual std::unique_ptr<Metadata> changed(const SuperblockChange&) const = 0;
  // The same superblock with one field set and the checksum right: a name as fields() gives it, the value as people
  // write it (decimal, 0x..., a UUID, text). Fails (usage) for an unknown name and for a value that the field cannot
  // hold; what the value means for the array is the caller's to judge.
  virtual Result<std::unique_ptr<Metadata>> with_field(std::string_view name, std::string_view value) const = 0;
  // This array's superblock for another member, at its place there: everything that belongs to the array as here, data
  // and bitmap at the same offsets, its own identity and role, in sync. Refused where the member has no room for it.
  virtual Result<std::unique_ptr<Metadata>> for_member(const NewMember&) const = 0;
};

class Format {
 public:
  virtual ~Format() = default;
  virtual std::string_view name() const = 0;
  // Byte offsets where the format's magic is on this member. Cheap: reads magics, judges nothing.
  virtual Result<std::vector<std::uint64_t>> probe(const Source&) const = 0;
  // Fails only if the bytes cannot be interpreted; damage that can be shown is left to verify().
  virtual Result<std::unique_ptr<Metadata>> read(const Source&, std::uint64_t offset_bytes) const = 0;
};

// Every format this program knows: the one list to extend.
std::span<const Format* const> all_formats();

}  // namespace mdtool
