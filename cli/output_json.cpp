// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/output_json.h"

#include <optional>
#include <variant>

#include "cli/output_text.h"
#include "cli/version.h"
#include "libraid/assemble/open_array.h"
#include "libraid/geometry/layout.h"

namespace mdtool::cli {

namespace {

constexpr int format_version = 1;

std::string_view error_kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::io:
      return "io";
    case ErrorKind::format:
      return "format";
    case ErrorKind::out_of_range:
      return "out-of-range";
    case ErrorKind::refused:
      return "refused";
    case ErrorKind::usage:
      return "usage";
    case ErrorKind::interrupted:
      break;
  }
  return "interrupted";
}

std::string_view kind_name(bitmap::Kind kind) {
  switch (kind) {
    case bitmap::Kind::classic:
      return "classic";
    case bitmap::Kind::lockless:
      return "lockless";
    case bitmap::Kind::none:
      break;
  }
  return "none";
}

std::string level_text(std::int32_t level) {
  return level_name(level).value_or("unknown-level-" + std::to_string(level));
}

Json optional_text(const std::optional<std::string>& text) {
  return text ? Json(*text) : Json(nullptr);
}

Json fields_json(const Fields& fields) {
  Json all = Json::object();
  for (const Field& field : fields) {
    all[field.name] = json_of(field);
  }
  return all;
}

Json json_of(const FoundSuperblock& superblock) {
  const MemberDescription& d = superblock.description;
  Json json = Json::object();
  json["metadata"] = d.metadata;
  json["offset_bytes"] = superblock.metadata->offset_bytes();
  json["array_uuid"] = d.set_uuid.text();
  json["device_uuid"] = d.device_uuid ? Json(d.device_uuid->text()) : Json(nullptr);
  json["created"] = utc_time(d.ctime_seconds);
  json["updated"] = utc_time(d.utime_seconds);
  json["clean"] = d.clean();
  json["data_offset_sectors"] = d.data_offset.count();
  json["areas"] = Json::array();
  for (const Area& area : d.areas) {
    json["areas"].push_back(
        {{"name", area.name}, {"offset_bytes", area.offset_bytes}, {"length_bytes", area.length_bytes}});
  }
  json["fields"] = fields_json(superblock.metadata->fields());
  return json;
}

Json superblocks_of(const Candidate& candidate) {
  Json all = Json::array();
  for (const FoundSuperblock& superblock : candidate.superblocks) {
    all.push_back(json_of(superblock));
  }
  return all;
}

// Null where the log cannot be read (a finding says why).
Json bad_blocks_of(const Member& member, const BitmapView& view) {
  const auto ranges = bad_ranges(member, view);
  if (!ranges) {
    return nullptr;
  }
  Json all = Json::array();
  for (const SectorRange& range : *ranges) {
    all.push_back({{"first_sector", range.first.count()}, {"sectors", range.count.count()}});
  }
  return all;
}

// Null: in sync as far as its superblock says, or none of it is known.
Json sync_mark_of(const Member& member) {
  const bool partial =
      member.candidate != nullptr && member.description().recovery && !member.description().recovery_is_all_ones();
  return partial ? Json(member.description().recovery_offset.count()) : Json(nullptr);
}

Json json_of(const Member& member, const BitmapView& view, const Evidence& evidence) {
  Json json = Json::object();
  const bool here = member.candidate != nullptr;
  json["path"] = here ? Json(member.candidate->path) : Json(nullptr);
  json["slot"] = member.slot ? Json(*member.slot) : Json(nullptr);
  json["role"] = role_name(member.role);
  json["state"] = member_state_name(member.state);
  json["reason"] = member.reason.empty() ? Json(nullptr) : Json(member.reason);
  json["events"] = here ? Json(member.description().events) : Json(nullptr);
  const bool partial = here && member.description().recovery;
  json["recovery_offset_sectors"] = partial ? Json(member.description().recovery_offset.count()) : Json(nullptr);
  json["sync_mark_sectors"] = sync_mark_of(member);
  json["update_time"] = here ? Json(utc_time(member.description().utime_seconds)) : Json(nullptr);
  json["bitmap_events"] = evidence.bitmap_events ? Json(*evidence.bitmap_events) : Json(nullptr);
  json["view"] = here ? Json(evidence.view) : Json(nullptr);
  json["bad_blocks"] = here ? bad_blocks_of(member, view) : Json(nullptr);
  json["superblocks"] = here ? superblocks_of(*member.candidate) : Json::array();
  return json;
}

Json json_of(const bitmap::StateCounts& counts) {
  Json json = Json::object();
  for (std::size_t i = 0; i < bitmap::chunk_state_count; ++i) {
    json[std::string(bitmap::state_name(static_cast<bitmap::ChunkState>(i)))] = counts.by_state[i];
  }
  json["invalid"] = counts.invalid;
  return json;
}

}  // namespace

std::string_view trust_name(Trust trust) {
  switch (trust) {
    case Trust::absent:
      return "absent";
    case Trust::believed:
      return "believed";
    case Trust::stale:
      return "stale";
    case Trust::first_use:
      return "first-use";
    case Trust::rejected:
      break;
  }
  return "rejected";
}

std::string json_document(std::string_view command, const Outcome& outcome) {
  Json json = Json::object();
  json["mdtool"] = {{"format", format_version}, {"version", version}, {"command", command}};
  json["exit"] = outcome.exit;
  if (outcome.error) {
    json["error"] = {{"kind", error_kind_name(outcome.error->kind)}, {"text", outcome.error->text}};
  }
  json["findings"] = Json::array();
  for (const LocatedFindings* findings : {&outcome.findings, &outcome.only_in_document}) {
    for (const LocatedFinding& finding : *findings) {
      json["findings"].push_back(json_of(finding));
    }
  }
  json.update(outcome.document);
  return json.dump(2, ' ', true, Json::error_handler_t::replace) + "\n";
}

Json json_of(const Field& field) {
  return std::visit([](const auto& value) { return Json(value); }, field.value);
}

Json json_of(const LocatedFinding& located) {
  const Finding& finding = located.finding;
  Json json = Json::object();
  json["severity"] = severity_name(finding.severity);
  json["id"] = finding.id;
  json["path"] = located.path.empty() ? Json(nullptr) : Json(located.path);
  json["field"] = finding.field.empty() ? Json(nullptr) : Json(finding.field);
  json["text"] = finding.text;
  json["next"] = finding.next.empty() ? Json(nullptr) : Json(finding.next);
  return json;
}

Json json_of(const BitmapView& view) {
  Json json = Json::object();
  json["kind"] = kind_name(view.kind);
  json["trust"] = trust_name(view.trust);
  if (view.trust == Trust::absent) {
    return json;
  }
  json["version"] = view.version;
  const bool readable = view.classic || view.lockless;
  json["chunk_bytes"] = readable ? Json(view.chunk().bytes()) : Json(nullptr);
  json["chunks"] = readable ? Json(view.chunks()) : Json(nullptr);
  if (view.lockless) {
    json["states"] = json_of(view.lockless->counts());
  }
  if (view.classic) {
    json["dirty_chunks"] = view.classic->set_count();
  }
  if (view.lockless || view.classic) {
    json["fields"] = fields_json(view.lockless ? view.lockless->fields() : view.classic->fields());
  }
  json["cures"] = view.cures;
  return json;
}

Json json_summary(const Assembly& array) {
  const MemberDescription& d = array.array();
  Json json = Json::object();
  json["uuid"] = d.set_uuid.text();
  json["name"] = d.set_name.empty() ? Json(nullptr) : Json(d.set_name);
  json["metadata"] = d.metadata;
  json["level"] = level_text(d.level);
  json["layout"] = optional_text(layout_name(d.level, d.layout));
  json["raid_devices"] = d.raid_disks;
  json["chunk_bytes"] = d.chunk.is_zero() ? Json(nullptr) : Json(d.chunk.bytes());
  json["size_bytes"] = array.array_bytes();
  json["events"] = d.events;
  json["clean"] = array.clean;
  json["verdict"] = verdict_name(array.verdict);
  json["reasons"] = array.reasons;
  return json;
}

Json json_of(const Assembly& array, const Account& account) {
  Json json = json_summary(array);
  json["members"] = Json::array();
  for (std::size_t i = 0; i < array.members.size(); ++i) {
    json["members"].push_back(json_of(array.members[i], array.bitmap, account.evidence[i]));
  }
  json["bitmap"] = json_of(array.bitmap);
  return json;
}

Json json_of(std::span<const SectorRange> ranges) {
  Json json = Json::array();
  for (const SectorRange& range : ranges) {
    json.push_back({{"offset_bytes", range.first.bytes()}, {"length_bytes", range.count.bytes()}});
  }
  return json;
}

}  // namespace mdtool::cli
