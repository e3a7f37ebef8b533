// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool examine: everything found on the members, and the verdict for each array.
#include <algorithm>
#include <map>

#include "cli/command.h"
#include "cli/examine_text.h"
#include "cli/members.h"
#include "cli/output_json.h"

namespace mdtool::cli {

namespace {

int exit_status_of(const Assembly& array) {
  switch (array.verdict) {
    case Verdict::needs_force:
    case Verdict::impossible:
      return exit_status::uncorrected;
    case Verdict::degraded:
      return exit_status::attention;
    case Verdict::assembles:
      break;
  }
  return array.clean ? exit_status::fine : exit_status::attention;
}

int exit_status_of(const MemberSet& members, std::span<const Assembly> arrays, const LocatedFindings& findings) {
  int status = members.all_read() ? exit_status::fine : exit_status::operational;
  if (arrays.empty()) {
    return status | exit_status::uncorrected;
  }
  for (const Assembly& array : arrays) {
    status |= exit_status_of(array);
  }
  const bool warnings = std::any_of(findings.begin(), findings.end(),
                                    [](const LocatedFinding& f) { return f.finding.severity != Severity::note; });
  return status | (warnings ? exit_status::attention : exit_status::fine);
}

Json devices_without_superblock(const MemberSet& members) {
  Json devices = Json::array();
  for (const Candidate& candidate : members.candidates()) {
    if (candidate.chosen() == nullptr) {
      devices.push_back({{"path", candidate.path}, {"size_bytes", candidate.metadata->size_bytes()}});
    }
  }
  return devices;
}

class Examine final : public Command {
 public:
  void set_up(CLI::App& app) override {
    app.add_option("MEMBER", arguments_, "Devices, images, file@offset+size, directories")->required();
    add_uuid_option(app, uuid_);
    app.add_option("--bitmap", bitmap_, "The bitmap that you expect; what is on disk decides all the same")
        ->check(CLI::IsMember({"internal", "lockless", "none"}));
    app.add_flag("-v,--verbose", verbose_, "Show every field of every superblock and bitmap");
  }

  Result<Outcome> run(const Surroundings&) override {
    TRY(uuid, parse_uuid_option(uuid_));
    const MemberSet members = MemberSet::open(arguments_);
    const std::vector<Assembly> arrays = arrays_of(members, {.suggested_bitmap = suggested()}, uuid);
    Outcome outcome;
    outcome.findings = findings_of(members, arrays);
    outcome.show_findings = Outcome::Findings::in_text;
    outcome.exit = exit_status_of(members, arrays, outcome.findings);
    outcome.document["arrays"] = Json::array();
    for (const Assembly& array : arrays) {
      outcome.document["arrays"].push_back(json_of(array));
    }
    outcome.document["devices"] = devices_without_superblock(members);
    outcome.text = examine_text(members, arrays, outcome.findings, verbose_ ? Detail::every_field : Detail::summary);
    return outcome;
  }

 private:
  bitmap::Kind suggested() const {
    return bitmap_ == "internal"   ? bitmap::Kind::classic
           : bitmap_ == "lockless" ? bitmap::Kind::lockless
                                   : bitmap::Kind::none;
  }

  std::vector<std::string> arguments_;
  std::string uuid_;
  std::string bitmap_;
  bool verbose_ = false;
};

}  // namespace

std::unique_ptr<Command> make_examine() {
  return std::make_unique<Examine>();
}

}  // namespace mdtool::cli
