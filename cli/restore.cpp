// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool restore: what mdtool dump saved, back onto the members, or into images to look at.
#include <algorithm>
#include <filesystem>

#include "cli/edit_command.h"
#include "cli/output_text.h"
#include "cli/with_plans.h"
#include "libraid/edit/bundle.h"
#include "libraid/edit/bundle_images.h"
#include "libraid/edit/restore_plan.h"

namespace mdtool::cli {

namespace {

constexpr std::string_view force_anonymized = "anonymized";

class RestoreCommand final : public EditCommand {
 public:
  void set_up(Options& app) override {
    EditCommand::set_up(app);
    app.add_option("--map", maps_, "Which member of the dump this one is (repeatable)").type_name("RECORDED=MEMBER");
    app.add_option("--images", images_, "Make sparse images in this new or empty folder instead").type_name("DIR");
  }

  Result<Outcome> run(const Surroundings& around) override {
    file_ = arguments().front();
    arguments().erase(arguments().begin());
    const bool members_given = !arguments().empty();
    if (members_given == !images_.empty()) {
      return Error{ErrorKind::usage, members_given ? "either MEMBERs or --images: images need no members"
                                                   : "say where to: MEMBER..., or --images DIR"};
    }
    TRY(bundle, wanted_bundle());
    bundle_ = std::move(bundle);
    if (!members_given) {
      return make_images();
    }
    TRY(outcome, EditCommand::run(around));
    describe_bundle(outcome);
    return std::move(outcome);
  }

 protected:
  void add_arguments(Options& app) override {
    app.add_option("FILE", arguments(), "What mdtool dump wrote, then the members").required();
  }
  std::string_view verb() const override { return "restore"; }
  std::vector<std::string> force_names() const override { return {std::string(force_anonymized)}; }

  Result<EditPlan> plan(const MemberSet& members) const override {
    if (bundle_.identities == Identities::replaced && !forces(force_anonymized)) {
      return Error{ErrorKind::refused,
                   file_ +
                       ": an anonymized dump: it would give the members another identity, name and times, and what "
                       "could not be anonymized is lost; --images makes images of it, --force=anonymized puts it "
                       "on the members all the same"};
    }
    std::vector<RestoreTarget> targets;
    for (const Candidate& candidate : members.candidates()) {
      const Origin& origin = members.origin(candidate);
      targets.push_back({&candidate, plan_member(members, candidate).file, origin.offset_bytes, origin.serial});
    }
    TRY(said, told(members));
    TRY(pairs, pair_members(bundle_, targets, said));
    return plan_restore(bundle_, pairs);
  }

 private:
  // With --uuid, of that array's members only.
  Result<Bundle> wanted_bundle() const {
    TRY(uuid, wanted_uuid());
    TRY(bundle, read_bundle(file_));
    Bundle wanted{bundle.identities, {}};
    for (BundleMember& member : bundle.members) {
      TRY(recorded, recorded_member(member));
      const FoundSuperblock* chosen = recorded.candidate.chosen();
      if (!uuid || (chosen != nullptr && chosen->description.set_uuid == *uuid)) {
        wanted.members.push_back(std::move(member));
      }
    }
    if (wanted.members.empty()) {
      return Error{ErrorKind::refused, file_ + ": holds no such member"};
    }
    return wanted;
  }

  // A recorded path may have a '=' of its own: what is before any of them may be meant.
  Result<RestorePair> told_pair(const MemberSet& members, const std::string& map) const {
    for (std::size_t at = map.find('='); at != std::string::npos; at = map.find('=', at + 1)) {
      const std::string path = map.substr(0, at);
      const auto is_named = [&](const BundleMember& member) { return member.path == path || member.file == path; };
      const auto recorded = std::find_if(bundle_.members.begin(), bundle_.members.end(), is_named);
      if (recorded != bundle_.members.end()) {
        TRY(candidate, member_named(members, map.substr(at + 1)));
        return RestorePair{static_cast<std::size_t>(recorded - bundle_.members.begin()), candidate, ""};
      }
    }
    return Error{ErrorKind::usage, "--map " + map + ": the dump has no such member: RECORDED=MEMBER is expected"};
  }

  Result<std::vector<RestorePair>> told(const MemberSet& members) const {
    std::vector<RestorePair> pairs;
    for (const std::string& map : maps_) {
      TRY(pair, told_pair(members, map));
      pairs.push_back(std::move(pair));
    }
    return pairs;
  }

  void describe_bundle(Outcome& outcome) const {
    outcome.document["bundle"] = file_;
    outcome.document["anonymized"] = bundle_.identities == Identities::replaced;
  }

  Result<Outcome> make_images() const {
    TRY(paths, write_images(bundle_, images_));
    Outcome outcome;
    describe_bundle(outcome);
    outcome.document["images"] = Json::array();
    outcome.text = "restore: " + std::to_string(paths.size()) + (paths.size() == 1 ? " image" : " images") +
                   ", sparse, of the metadata only\n";
    for (std::size_t i = 0; i < paths.size(); ++i) {
      const BundleMember& member = bundle_.members[i];
      outcome.document["images"].push_back(
          {{"path", paths[i]}, {"recorded", member.path}, {"size_bytes", member.size_bytes}});
      outcome.text += folded(printable(paths[i], terminal_charset()) + " (" + human_size(member.size_bytes) + ")", 6,
                             "    " + printable(member.path, terminal_charset()) + ": ");
    }
    return outcome;
  }

  std::string file_;
  std::string images_;
  std::vector<std::string> maps_;
  Bundle bundle_;
};

}  // namespace

std::unique_ptr<Command> make_restore() {
  return std::make_unique<RestoreCommand>();
}

}  // namespace mdtool::cli
