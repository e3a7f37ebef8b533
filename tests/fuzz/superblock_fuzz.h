// SPDX-License-Identifier: GPL-2.0-or-later
// What a fuzz target demands of any superblock that could be read: the identity of an untouched one, a right checksum
// after a change, and bounded answers.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <span>

#include "libmeta/format.h"

namespace mdtool::fuzz {

// In every build, unlike assert().
inline void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

// The input at an offset of a member that is zero elsewhere.
class InputMember final : public Source {
 public:
  InputMember(std::span<const std::byte> input, std::uint64_t offset_bytes, std::uint64_t size_bytes)
      : input_(input), offset_bytes_(offset_bytes), size_bytes_(size_bytes) {}

  std::uint64_t size_bytes() const override { return size_bytes_; }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override {
    if (!fits(offset_bytes, out.size(), size_bytes_)) {
      return Error{ErrorKind::out_of_range, "beyond the end"};
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::uint64_t at = offset_bytes + i - offset_bytes_;  // wraps, and is too large, before the input
      out[i] = at < input_.size() ? input_[at] : std::byte{0};
    }
    return Done{};
  }

 private:
  std::span<const std::byte> input_;
  std::uint64_t offset_bytes_;
  std::uint64_t size_bytes_;
};

inline void require_sound_text(const Findings& findings) {
  for (const Finding& finding : findings) {
    require(!finding.id.empty() && !finding.text.empty());
    require(std::all_of(finding.text.begin(), finding.text.end(), [](char c) { return c >= ' ' && c < 127; }));
  }
}

inline void require_bounded(const MemberDescription& d, std::uint64_t member_bytes) {
  require(d.slot.has_value() == (d.role == Role::active));
  require(d.dev_roles.size() <= 1920 && d.set_name.size() <= 32);
  require(!d.bitmap_offset_bytes || fits(*d.bitmap_offset_bytes, d.bitmap_room_bytes, member_bytes));
}

inline void examine_superblock(const Metadata& metadata, const Source& source) {
  const std::uint64_t member_bytes = source.size_bytes();
  require_bounded(metadata.describe(), member_bytes);
  require_sound_text(metadata.verify(member_bytes));
  require(!metadata.fields().empty());

  const std::vector<std::byte> encoded = metadata.encode();
  require(encoded.size() <= 4096);
  require(read_bytes(source, metadata.offset_bytes(), encoded.size()).value() == encoded);

  SuperblockChange change;
  change.events = metadata.describe().events + 2;
  change.resync_offset = Sectors(0);
  change.missing_slots = {0, 1, 2, 3};
  change.recovery = SuperblockChange::Recovery::clear;
  const auto changed = metadata.changed(change);
  require(changed->encode().size() == encoded.size());
  require(changed->changed(change)->encode() == changed->encode());
  for (const Finding& finding : changed->verify(member_bytes)) {
    require(finding.id != "superblock-checksum");
  }
  require_bounded(changed->describe(), member_bytes);
}

}  // namespace mdtool::fuzz
