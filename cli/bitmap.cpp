// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool bitmap: what write-intent bitmaps say, shown in words or drawn.
#include <algorithm>
#include <filesystem>

#include "cli/bitmap_map.h"
#include "cli/bitmap_report.h"
#include "cli/command.h"
#include "cli/members.h"
#include "cli/output_file.h"

namespace mdtool::cli {

namespace {

constexpr const char* overwrite = "overwrite";

// What was found on the members: their arrays' bitmaps, and files that are nothing but a bitmap.
struct Found {
  std::vector<Assembly> arrays;
  std::vector<BitmapReport> reports;
};

class BitmapCommand final : public Command {
 public:
  void set_up(Options& app) override {
    app.add_option("action", arguments_, "show MEMBER..., or map MEMBER...").required();
    add_uuid_option(app, uuid_);
    app.add_option("--copy", copy_, "map: draw this member's own copy, not all copies together");
    app.add_option("--svg", svg_, "map: write the picture to this file");
    app.add_option("--force", forced_, "Override one check by its name").one_of({overwrite});
  }

  Result<Outcome> run(const Surroundings&) override {
    TRY(understood, take_arguments());
    TRY(uuid, parse_uuid_option(uuid_));
    const MemberSet members = MemberSet::open(arguments_);
    Outcome outcome;
    const Found found = find(members, uuid, outcome);
    outcome.document["action"] = action_;
    outcome.document["arrays"] = Json::array();
    outcome.document["files"] = Json::array();
    const Status done = action_ == "show" ? show(found.reports, outcome) : map(found.reports, members, outcome);
    if (!done) {
      outcome.exit = exit_status::fine;  // the error's alone
      outcome.error = done.error();
    }
    return outcome;
  }

 private:
  Status take_arguments() {
    action_ = arguments_[0];
    arguments_.erase(arguments_.begin());
    if (action_ != "show" && action_ != "map") {
      return Error{ErrorKind::usage, "bitmap " + action_ + ": expected show or map"};
    }
    if (arguments_.empty()) {
      return Error{ErrorKind::usage, "bitmap " + action_ + ": which members?"};
    }
    if (action_ == "show" && (!copy_.empty() || !svg_.empty())) {
      return Error{ErrorKind::usage, "bitmap show draws nothing: --copy and --svg are for bitmap map"};
    }
    return Done{};
  }

  // Fills findings and exit status; the reports point into the result's arrays.
  static Found find(const MemberSet& members, const std::optional<Uuid>& uuid, Outcome& outcome) {
    Found found{arrays_of(members, {}, uuid), {}};
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
    return found;
  }

  static Json& place_of(const BitmapReport& report, Outcome& outcome) {
    Json& list = outcome.document[report.array == nullptr ? "files" : "arrays"];
    list.push_back(json_of(report));
    return list.back();
  }

  static Status show(std::span<const BitmapReport> reports, Outcome& outcome) {
    for (const BitmapReport& report : reports) {
      place_of(report, outcome);
      outcome.text += (outcome.text.empty() ? "" : "\n") + report_text(report);
    }
    return Done{};
  }

  Status map(std::span<const BitmapReport> reports, const MemberSet& members, Outcome& outcome) const {
    outcome.document["copy"] = copy_.empty() ? Json(nullptr) : Json(copy_);
    outcome.document["svg"] = svg_.empty() ? Json(nullptr) : Json(svg_);
    if (reports.size() != 1 && (!copy_.empty() || !svg_.empty())) {
      return Error{ErrorKind::usage, "--copy and --svg draw one bitmap, here are " + std::to_string(reports.size()) +
                                         "; --uuid picks an array"};
    }
    for (const BitmapReport& report : reports) {
      Json& json = place_of(report, outcome);
      if (report.view.trust == Trust::absent) {
        outcome.text += report_text(report);
        continue;
      }
      TRY(copy, copy_in(report));
      auto picture = picture_of(report, copy);
      if (!picture && svg_.empty() && copy == nullptr) {
        outcome.text += report_text(report);  // which says why there is nothing to draw
        continue;
      }
      if (!picture) {
        return std::move(picture).error();
      }
      json["ranges"] = ranges_json(*picture);
      json["ranges_left_out"] = ranges_left_out(*picture);
      outcome.text += (outcome.text.empty() ? "" : "\n") + map_text(*picture, terminal_charset());
      if (!svg_.empty()) {
        TRY(written, write_svg(map_svg(*picture), members));
      }
    }
    return Done{};
  }

  // Null: all of them together.
  Result<const MemberBitmap*> copy_in(const BitmapReport& report) const {
    if (copy_.empty()) {
      return static_cast<const MemberBitmap*>(nullptr);
    }
    for (const MemberBitmap& copy : report.copies) {
      if (report.array->members[copy.member].candidate->path == copy_) {
        return &copy;
      }
    }
    return Error{ErrorKind::usage, copy_ + ": is none of the members that have a copy of the bitmap"};
  }

  Status write_svg(const std::string& svg, const MemberSet& members) const {
    std::error_code ignored;
    if (std::filesystem::exists(svg_, ignored) && !std::filesystem::is_regular_file(svg_, ignored)) {
      return Error{ErrorKind::refused, svg_ + ": exists and is no file; nothing was written"};
    }
    const auto existing = forced_.empty() ? OutputFile::Existing::refuse : OutputFile::Existing::overwrite;
    TRY(file, OutputFile::create(svg_, svg.size(), existing, members));
    TRY(written, file.write(0, std::as_bytes(std::span(svg))));
    return file.finish();
  }

  std::vector<std::string> arguments_;  // the members, once the action was taken
  std::string action_;
  std::string uuid_;
  std::string copy_;
  std::string svg_;
  std::vector<std::string> forced_;
};

}  // namespace

std::unique_ptr<Command> make_bitmap() {
  return std::make_unique<BitmapCommand>();
}

}  // namespace mdtool::cli
