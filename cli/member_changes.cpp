// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/member_changes.h"

#include <algorithm>
#include <filesystem>

#include "cli/output_json.h"
#include "cli/plan_text.h"
#include "libmeta/bitmap/header.h"

namespace mdtool::cli {

namespace {

constexpr const char* superblock_purpose = "superblock";
constexpr const char* bitmap_purpose = "bitmap";

bool same_place(const FoundSuperblock& a, const FoundSuperblock& b) {
  return a.metadata->offset_bytes() == b.metadata->offset_bytes() && a.description.metadata == b.description.metadata;
}

const FoundSuperblock* counterpart(const Candidate& candidate, const FoundSuperblock& of) {
  const auto at = std::find_if(candidate.superblocks.begin(), candidate.superblocks.end(),
                               [&](const FoundSuperblock& found) { return same_place(found, of); });
  return at == candidate.superblocks.end() ? nullptr : &*at;
}

void add(std::vector<ChangedRecord>& records, const char* purpose, std::uint64_t offset_bytes, const Fields& before,
         const Fields& after) {
  std::vector<FieldChange> fields = changes_between(before, after);
  if (!fields.empty()) {
    records.push_back({purpose, offset_bytes, std::move(fields)});
  }
}

void add_superblocks(std::vector<ChangedRecord>& records, const Candidate& before, const Candidate& after) {
  for (const FoundSuperblock& old : before.superblocks) {
    const FoundSuperblock* now = counterpart(after, old);
    add(records, superblock_purpose, old.metadata->offset_bytes(), old.metadata->fields(),
        now == nullptr ? Fields() : now->metadata->fields());
  }
  for (const FoundSuperblock& now : after.superblocks) {
    if (counterpart(before, now) == nullptr) {
      add(records, superblock_purpose, now.metadata->offset_bytes(), {}, now.metadata->fields());
    }
  }
}

Fields bitmap_fields(const Source& source, std::uint64_t offset_bytes) {
  const auto header = bitmap::read_header(source, offset_bytes);
  return header ? bitmap::header_fields(*header) : Fields();
}

// Where the superblocks that count say that there is a bitmap.
std::vector<std::uint64_t> bitmap_places(const Candidate& before, const Candidate& after) {
  std::vector<std::uint64_t> places;
  for (const Candidate* candidate : {&before, &after}) {
    const FoundSuperblock* chosen = candidate->chosen();
    const auto place = chosen == nullptr ? std::nullopt : chosen->description.bitmap_offset_bytes;
    if (place && std::find(places.begin(), places.end(), *place) == places.end()) {
      places.push_back(*place);
    }
  }
  return places;
}

Json fields_json(const std::vector<FieldChange>& fields) {
  Json list = Json::array();
  for (const FieldChange& change : fields) {
    list.push_back({{"name", change.after.name}, {"before", json_of(change.before)}, {"after", json_of(change.after)}});
  }
  return list;
}

std::string absolute(const std::string& path) {
  std::error_code error;
  const auto real = std::filesystem::canonical(path, error);
  return error ? path : real.string();
}

}  // namespace

Json member_json(const std::string& path, const Origin& origin, const std::optional<Uuid>& device_uuid) {
  const FileIdentity& id = origin.identity;
  return {{"path", path},
          {"file", absolute(origin.file)},
          {"offset_bytes", origin.offset_bytes},
          {"size_bytes", origin.size_bytes},
          {"device", id.block_device ? id.rdev : id.device},
          {"inode", id.inode},
          {"serial", origin.serial ? Json(*origin.serial) : Json(nullptr)},
          {"device_uuid", device_uuid ? Json(device_uuid->text()) : Json(nullptr)}};
}

Result<MemberChanges> MemberChanges::of(const Source& before, const Source& after) {
  TRY(old, inspect("", "", before, before));
  TRY(now, inspect("", "", after, after));
  MemberChanges changes;
  add_superblocks(changes.records_, old, now);
  for (const std::uint64_t place : bitmap_places(old, now)) {
    add(changes.records_, bitmap_purpose, place, bitmap_fields(before, place), bitmap_fields(after, place));
  }
  for (const Candidate* candidate : {&old, &now}) {
    for (const FoundSuperblock& found : candidate->superblocks) {
      const MemberDescription& d = found.description;
      changes.areas_.insert(changes.areas_.end(), d.areas.begin(), d.areas.end());
      if (d.bitmap_offset_bytes) {
        changes.areas_.push_back({bitmap_purpose, *d.bitmap_offset_bytes, d.bitmap_room_bytes});
      }
    }
    if (const FoundSuperblock* chosen = candidate->chosen(); chosen != nullptr && !changes.device_uuid_) {
      changes.device_uuid_ = chosen->description.device_uuid;
    }
  }
  return changes;
}

std::string MemberChanges::purpose_at(std::uint64_t offset_bytes) const {
  std::string purpose = "other";
  for (const Area& area : areas_) {
    const bool inside = offset_bytes >= area.offset_bytes && offset_bytes - area.offset_bytes < area.length_bytes;
    // Data is what is left where a hostile superblock has areas overlap.
    if (inside && (purpose == "other" || purpose == "data")) {
      purpose = area.name;
    }
  }
  return purpose;
}

Json changes_json(const MemberChanges& changes) {
  Json list = Json::array();
  for (const ChangedRecord& record : changes.records()) {
    list.push_back(
        {{"purpose", record.purpose}, {"offset_bytes", record.offset_bytes}, {"fields", fields_json(record.fields)}});
  }
  return list;
}

std::string changes_text(const MemberChanges& changes) {
  std::string text;
  for (const ChangedRecord& record : changes.records()) {
    text += "    " + record.purpose + " at byte " + std::to_string(record.offset_bytes) + "\n";
    text += fields_text(record.fields);
  }
  return text;
}

}  // namespace mdtool::cli
