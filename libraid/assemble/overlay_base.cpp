// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/overlay_base.h"

#include "libmeta/bitmap/header.h"

namespace mdtool {

Result<OverlayBase> overlay_base(const Candidate& candidate) {
  const FoundSuperblock* found = candidate.chosen();
  if (found == nullptr) {
    return Error{ErrorKind::refused, candidate.path + ": has no md superblock, so no overlay can be bound to it"};
  }
  const MemberDescription& d = found->description;
  // 0.90 knows no device UUID.
  const std::string device = d.device_uuid ? d.device_uuid->text() : "device " + std::to_string(d.dev_number);
  OverlayBase base{candidate.path, d.set_uuid.text() + " " + device, candidate.data, candidate.metadata, {}};
  base.bound.push_back({"superblock", found->metadata->offset_bytes(), found->metadata->encode().size()});
  if (d.bitmap_offset_bytes && fits(*d.bitmap_offset_bytes, bitmap::header_bytes, candidate.data->size_bytes())) {
    base.bound.push_back({"bitmap header", *d.bitmap_offset_bytes, bitmap::header_bytes});
  }
  return base;
}

OverlayBase overlay_base_of_bitmap_file(const std::string& path, const Source& file) {
  OverlayBase base{path, "bitmap file", &file, &file, {}};
  if (file.size_bytes() >= bitmap::header_bytes) {
    base.bound.push_back({"bitmap header", 0, bitmap::header_bytes});
  }
  return base;
}

}  // namespace mdtool
