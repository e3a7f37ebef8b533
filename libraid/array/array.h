// SPDX-License-Identifier: GPL-2.0-or-later
// An array of level 4, 5 or 6 as a device for reading, healthy or degraded. It knows where its members' data may be
// believed (sync marks, bad blocks); it knows no metadata format.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "libmeta/source.h"
#include "libraid/geometry/layout.h"
#include "libraid/parity/kernels.h"

namespace mdtool {

struct SectorRange {
  Sectors first;
  Sectors count;
  Sectors end() const { return first + count; }
  friend bool operator==(const SectorRange&, const SectorRange&) = default;
};

// One slot's member. Sectors are component sectors: from data_offset.
struct ArrayMember {
  const Source* data = nullptr;  // null: missing
  Sectors data_offset;
  Sectors valid_until = Sectors::max();  // recovery_offset: at and above it the content is not to be used
  std::vector<SectorRange> bad;          // from the bad-block log, sorted, component sectors
};

class Array final : public Source {
 public:
  // `members` by slot, as many as the layout has.
  Array(const Layout&, std::vector<ArrayMember> members, const parity::Kernels&);

  const Layout& layout() const { return layout_; }
  std::uint64_t size_bytes() const override { return layout_.array_size().bytes(); }
  // Reads from the member that holds the data, or from all others where it cannot be read. Fails (io) where too much is
  // lost; `out` is then undefined.
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;

 private:
  struct Validity {
    bool good;
    Sectors until;  // first sector where `good` may change
  };
  Validity validity(std::uint32_t slot, Sectors sector) const;
  Status read_place(Place, std::span<std::byte> out) const;
  Status read_good(std::uint32_t slot, Sectors sector, std::span<std::byte> out) const;
  Status reconstruct(Place, std::span<std::byte> out) const;

  Layout layout_;
  std::vector<ArrayMember> members_;
  const parity::Kernels* kernels_;
};

}  // namespace mdtool
