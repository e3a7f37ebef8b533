// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/bitmap_show.h"

#include <algorithm>
#include <filesystem>

#include "cli/bitmap_map.h"
#include "cli/bitmap_report.h"

namespace mdtool::cli {

namespace {

// What was found on the members: their arrays' bitmaps, and files that are nothing but a bitmap. The reports point into
// the arrays.
struct Found {
  std::vector<Assembly> arrays;
  std::vector<BitmapReport> reports;
  Outcome outcome;  // what was found in passing
};

Found find(const MemberSet& members, const std::optional<Uuid>& uuid) {
  Found found{arrays_of(members, {}, uuid), {}, {}};
  Outcome& outcome = found.outcome;
  outcome.findings = findings_of(members, found.arrays);
  std::erase_if(outcome.findings, [](const LocatedFinding& f) { return f.finding.id == "no-superblock"; });
  outcome.exit = members.all_read() ? exit_status::fine : exit_status::operational;
  for (const Assembly& array : found.arrays) {
    found.reports.push_back(report_of(array));
  }
  for (const Candidate& candidate : members.candidates()) {
    if (candidate.chosen() != nullptr) {
      continue;
    }
    if (auto report = report_of_file(candidate)) {
      found.reports.push_back(std::move(*report));
    } else {
      outcome.findings.push_back(
          {candidate.path,
           {Severity::problem, "no-bitmap", "", "neither an md superblock nor a bitmap is on it", Effect::none}});
    }
  }
  outcome.exit |= found.reports.empty() ? exit_status::uncorrected : exit_status::fine;
  for (const BitmapReport& report : found.reports) {
    outcome.exit |= exit_status_of(report);
  }
  outcome.document["arrays"] = Json::array();
  outcome.document["files"] = Json::array();
  return found;
}

Json& place_of(const BitmapReport& report, Outcome& outcome) {
  Json& list = outcome.document[report.array == nullptr ? "files" : "arrays"];
  list.push_back(json_of(report));
  return list.back();
}

// Null: all of them together.
Result<const MemberBitmap*> copy_in(const BitmapReport& report, const std::string& path) {
  if (path.empty()) {
    return static_cast<const MemberBitmap*>(nullptr);
  }
  for (const MemberBitmap& copy : report.copies) {
    if (report.array->members[copy.member].candidate->path == path) {
      return &copy;
    }
  }
  return Error{ErrorKind::usage, path + ": is none of the members that have a copy of the bitmap"};
}

Status write_svg(const std::string& svg, const Drawing& drawing, const MemberSet& members) {
  std::error_code ignored;
  if (std::filesystem::exists(drawing.svg, ignored) && !std::filesystem::is_regular_file(drawing.svg, ignored)) {
    return Error{ErrorKind::refused, drawing.svg + ": exists and is no file; nothing was written"};
  }
  TRY(file, OutputFile::create(drawing.svg, svg.size(), drawing.existing, members));
  TRY(written, file.write(0, std::as_bytes(std::span(svg))));
  return file.finish();
}

Status draw(const BitmapReport& report, const Drawing& drawing, const MemberSet& members, Outcome& outcome) {
  Json& json = place_of(report, outcome);
  if (report.view.trust == Trust::absent) {
    outcome.text += report_text(report);
    return Done{};
  }
  TRY(copy, copy_in(report, drawing.copy));
  auto picture = picture_of(report, copy);
  if (!picture && drawing.svg.empty() && copy == nullptr) {
    outcome.text += report_text(report);  // which says why there is nothing to draw
    return Done{};
  }
  if (!picture) {
    return std::move(picture).error();
  }
  json["ranges"] = ranges_json(*picture);
  json["ranges_left_out"] = ranges_left_out(*picture);
  outcome.text += (outcome.text.empty() ? "" : "\n") + map_text(*picture, terminal_charset());
  return drawing.svg.empty() ? Status(Done{}) : write_svg(map_svg(*picture), drawing, members);
}

Status draw_all(const Found& found, const Drawing& drawing, const MemberSet& members, Outcome& outcome) {
  if (found.reports.size() != 1 && (!drawing.copy.empty() || !drawing.svg.empty())) {
    return Error{ErrorKind::usage, "--copy and --svg draw one bitmap, here are " +
                                       std::to_string(found.reports.size()) + "; --uuid picks an array"};
  }
  for (const BitmapReport& report : found.reports) {
    TRY(drawn, draw(report, drawing, members, outcome));
  }
  return Done{};
}

}  // namespace

Outcome show_bitmaps(const MemberSet& members, const std::optional<Uuid>& uuid) {
  Found found = find(members, uuid);
  Outcome outcome = std::move(found.outcome);
  for (const BitmapReport& report : found.reports) {
    place_of(report, outcome);
    outcome.text += (outcome.text.empty() ? "" : "\n") + report_text(report);
  }
  return outcome;
}

Outcome draw_bitmaps(const MemberSet& members, const std::optional<Uuid>& uuid, const Drawing& drawing) {
  Found found = find(members, uuid);
  Outcome outcome = std::move(found.outcome);
  outcome.document["copy"] = drawing.copy.empty() ? Json(nullptr) : Json(drawing.copy);
  outcome.document["svg"] = drawing.svg.empty() ? Json(nullptr) : Json(drawing.svg);
  if (auto drawn = draw_all(found, drawing, members, outcome); !drawn) {
    outcome.exit = exit_status::fine;  // the error's alone
    outcome.error = std::move(drawn).error();
  }
  return outcome;
}

}  // namespace mdtool::cli
