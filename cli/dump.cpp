// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool dump: the metadata of members to one file. No member is written.
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "cli/command.h"
#include "cli/members.h"
#include "cli/output_file.h"
#include "cli/output_text.h"
#include "cli/with_plans.h"
#include "libraid/edit/anonymize.h"
#include "libraid/edit/bundle.h"
#include "libraid/io/folder.h"

namespace mdtool::cli {

namespace {

constexpr const char* overwrite = "overwrite";

Result<Salt> fresh_salt() {
  Salt salt{};
  if (::getrandom(salt.data(), salt.size(), 0) != static_cast<ssize_t>(salt.size())) {
    return io_error("random bytes", errno);
  }
  return salt;
}

Json member_json(const BundleMember& member) {
  Json areas = Json::array();
  for (const BundleArea& area : member.areas) {
    areas.push_back({{"name", bundle_area_name(area.kind)},
                     {"offset_bytes", area.offset_bytes},
                     {"length_bytes", area.bytes.size()}});
  }
  return {{"path", member.path}, {"size_bytes", member.size_bytes}, {"areas", std::move(areas)}};
}

// "superblock, bitmap (4.00 KiB), ppl (1.00 MiB)"
std::string areas_text(const BundleMember& member) {
  std::string text;
  for (const BundleArea& area : member.areas) {
    text += (text.empty() ? "" : ", ") + std::string(bundle_area_name(area.kind)) + " (" +
            human_size(area.bytes.size()) + ")";
  }
  return text.empty() ? "no metadata" : text;
}

class DumpCommand final : public Command {
 public:
  void set_up(Options& app) override {
    app.add_option("MEMBER", arguments_, "Devices, images, file@offset+size, directories").required();
    app.add_option("--to", to_, "The file that the metadata goes to").type_name("FILE").required();
    app.add_flag("--anonymize", anonymize_, "Replace names, UUIDs, times, paths and serial numbers");
    app.add_option("--force", forced_, "Override one named check (repeatable)").one_of({overwrite});
    add_uuid_option(app, uuid_);
  }

  Result<Outcome> run(const Surroundings& /*around*/) override {
    TRY(uuid, parse_uuid_option(uuid_));
    const MemberSet members = MemberSet::open(arguments_);
    Outcome outcome;
    outcome.findings = members.findings();
    Bundle bundle = gathered(members, uuid, outcome);
    if (auto saved = save(members, bundle); !saved) {
      outcome.exit = exit_status::fine;
      outcome.error = members.first_failure() ? *members.first_failure() : std::move(saved).error();
      return outcome;
    }
    report(bundle, outcome);
    return outcome;
  }

 private:
  static Bundle gathered(const MemberSet& members, const std::optional<Uuid>& uuid, Outcome& outcome) {
    Bundle bundle;
    outcome.exit = members.all_read() ? exit_status::fine : exit_status::operational;
    for (const Candidate& candidate : members.candidates()) {
      const bool meant = !uuid || (candidate.chosen() != nullptr && candidate.chosen()->description.set_uuid == *uuid);
      if (!meant) {
        continue;
      }
      const Origin& origin = members.origin(candidate);
      GatheredAreas areas = gather_areas(candidate);
      for (Finding& finding : areas.findings) {
        outcome.exit |= exit_status::uncorrected;
        outcome.findings.push_back({candidate.path, std::move(finding)});
      }
      bundle.members.push_back({candidate.path, plan_member(members, candidate).file, origin.offset_bytes,
                                origin.size_bytes, origin.serial, std::move(areas.areas)});
    }
    return bundle;
  }

  Status save(const MemberSet& members, Bundle& bundle) const {
    const bool any = std::any_of(bundle.members.begin(), bundle.members.end(),
                                 [](const BundleMember& member) { return !member.areas.empty(); });
    if (!any) {
      return Error{ErrorKind::refused, "no md metadata on these members; nothing was written"};
    }
    if (anonymize_) {
      TRY(salt, fresh_salt());
      TRY(replaced, anonymized(bundle, salt));
      bundle = std::move(replaced);
    }
    TRY(bytes, encode_bundle(bundle));
    return write(members, bytes);
  }

  Status write(const MemberSet& members, std::span<const std::byte> bytes) const {
    struct stat status {};
    const bool exists = ::stat(to_.c_str(), &status) == 0;
    if (exists && !S_ISREG(status.st_mode)) {
      return Error{ErrorKind::refused, to_ + ": not a regular file; nothing was written"};
    }
    const auto existing = forced_.empty() ? OutputFile::Existing::refuse : OutputFile::Existing::overwrite;
    TRY(file, OutputFile::create(to_, bytes.size(), existing, members));
    const auto written = file.write(0, bytes);
    const Status finished = written ? file.finish() : Status(written.error());
    if (!finished) {
      ::unlink(to_.c_str());
      return Error(finished.error()).in("the file was removed again");
    }
    return sync_folder(std::filesystem::path(to_).parent_path());
  }

  void report(const Bundle& bundle, Outcome& outcome) const {
    const bool replaced = bundle.identities == Identities::replaced;
    Json all = Json::array();
    for (std::size_t i = 0; i < bundle.members.size(); ++i) {
      all.push_back(member_json(bundle.members[i]));
    }
    outcome.document["bundle"] = to_;
    outcome.document["anonymized"] = replaced;
    outcome.document["members"] = std::move(all);
    outcome.text = "dump: metadata of " + std::to_string(bundle.members.size()) +
                   (bundle.members.size() == 1 ? " member" : " members") + (replaced ? ", anonymized" : "") + "\n" +
                   labelled("to", printable(to_, terminal_charset()));
    for (const BundleMember& member : bundle.members) {
      outcome.text += folded(areas_text(member), 6, "    " + printable(member.path, terminal_charset()) + ": ");
    }
  }

  std::vector<std::string> arguments_;
  std::string to_;
  std::string uuid_;
  std::vector<std::string> forced_;
  bool anonymize_ = false;
};

}  // namespace

std::unique_ptr<Command> make_dump() {
  return std::make_unique<DumpCommand>();
}

}  // namespace mdtool::cli
