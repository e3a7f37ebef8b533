// SPDX-License-Identifier: GPL-2.0-or-later
// A member in a plan: what it is known by, and what of its superblocks and bitmap header changes, field by field, as
// text and JSON.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/members.h"
#include "libraid/edit/edit_plan.h"

namespace mdtool::cli {

// {"path", "file", "offset_bytes", "size_bytes", "device", "inode", "serial", "device_uuid"}
Json member_json(const std::string& path, const Origin& origin, const std::optional<Uuid>& device_uuid);

// A superblock or a bitmap header of which fields change.
struct ChangedRecord {
  std::string purpose;  // "superblock", "bitmap"
  std::uint64_t offset_bytes = 0;
  std::vector<FieldChange> fields;
};

// What a member is and what it is to become.
class MemberChanges {
 public:
  static Result<MemberChanges> of(const Source& before, const Source& after);

  const std::vector<ChangedRecord>& records() const { return records_; }
  std::vector<ChangedRecord>& records() { return records_; }
  // What is at this byte, before or after: "superblock", "bitmap", "data", ...; "other" where no superblock says.
  std::string purpose_at(std::uint64_t offset_bytes) const;
  const std::optional<Uuid>& device_uuid() const { return device_uuid_; }

 private:
  std::vector<ChangedRecord> records_;
  std::vector<Area> areas_;
  std::optional<Uuid> device_uuid_;
};

// [{"purpose", "offset_bytes", "fields": [{"name", "before", "after"}]}]
Json changes_json(const MemberChanges& changes);
std::string changes_text(const MemberChanges& changes);

}  // namespace mdtool::cli
