// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool examine: everything found on the members, and the verdict for each array.
#include <algorithm>

#include "cli/account_output.h"
#include "cli/command.h"
#include "cli/compatibility_output.h"
#include "cli/examine_text.h"
#include "cli/members.h"
#include "cli/output_json.h"
#include "cli/reading.h"
#include "cli/with_plans.h"
#include "libraid/assemble/next_steps.h"

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

bool has_warnings(const LocatedFindings& findings) {
  return std::any_of(findings.begin(), findings.end(),
                     [](const LocatedFinding& f) { return f.finding.severity != Severity::note; });
}

int exit_status_of(const MemberSet& members, std::span<const ExaminedArray> arrays, const LocatedFindings& findings) {
  int status = members.all_read() ? exit_status::fine : exit_status::operational;
  if (arrays.empty()) {
    return status | exit_status::uncorrected;
  }
  for (const ExaminedArray& array : arrays) {
    status |= exit_status_of(array.assembly);
  }
  return status | (has_warnings(findings) ? exit_status::attention : exit_status::fine);
}

LocatedFindings located(const Findings& findings) {
  LocatedFindings all;
  for (const Finding& finding : findings) {
    all.push_back({"", finding});
    if (finding.next.empty()) {
      all.back().finding.next = next_step(finding.id);
    }
  }
  return all;
}

void append(LocatedFindings& to, const LocatedFindings& from) {
  to.insert(to.end(), from.begin(), from.end());
}

std::vector<ExaminedArray> examined(const MemberSet& members, std::vector<Assembly> arrays) {
  std::vector<ExaminedArray> all;
  for (Assembly& array : arrays) {
    Account account = account_of(array, members.candidates());
    LocatedFindings findings = located(account.contradictions);
    append(findings, located(array.findings));
    append(findings, located(array.bitmap.findings));
    Compatibility compatibility = compatibility_of(array);
    all.push_back({std::move(array), std::move(account), std::move(compatibility), std::move(findings)});
  }
  return all;
}

Json json_of_array(const ExaminedArray& array) {
  Json json = json_of(array.assembly, array.account);
  add_account(json, array.assembly, array.account);
  json["compatibility"] = json_of(array.compatibility);
  return json;
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
  void set_up(Options& app) override {
    app.add_option("MEMBER", arguments_, "Devices, images, file@offset+size, directories").required();
    add_uuid_option(app, uuid_);
    add_with_option(app, with_);
    app.add_option("--bitmap", bitmap_, "The bitmap that you expect; what is on disk decides all the same")
        .one_of({"internal", "lockless", "none"});
    app.add_flag("-v,--verbose", verbose_, "Show every field of every superblock and bitmap");
  }

  Result<Outcome> run(const Surroundings&) override {
    TRY(uuid, parse_uuid_option(uuid_));
    MemberSet members = MemberSet::open(arguments_);
    if (auto tried = try_with(members, with_); !tried) {
      return std::move(open_failure(members, {}, std::move(tried).error()).outcome);
    }
    std::vector<Assembly> assemblies = arrays_of(members, {.suggested_bitmap = suggested()}, uuid);
    LocatedFindings about_members = findings_of(members, {});
    append(about_members, located(contradictions_among(members.candidates(), assemblies)));
    const std::vector<ExaminedArray> arrays = examined(members, std::move(assemblies));
    Outcome outcome;
    outcome.findings = about_members;
    outcome.document["arrays"] = Json::array();
    for (const ExaminedArray& array : arrays) {
      append(outcome.findings, array.findings);
      outcome.document["arrays"].push_back(json_of_array(array));
    }
    outcome.document["devices"] = devices_without_superblock(members);
    outcome.show_findings = Outcome::Findings::in_text;
    outcome.exit = exit_status_of(members, arrays, outcome.findings);
    outcome.text = examine_text(members, arrays, about_members, verbose_ ? Detail::every_field : Detail::summary);
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
  std::vector<std::string> with_;
  std::string bitmap_;
  bool verbose_ = false;
};

}  // namespace

std::unique_ptr<Command> make_examine() {
  return std::make_unique<Examine>();
}

}  // namespace mdtool::cli
