// SPDX-License-Identifier: GPL-2.0-or-later
#include <sys/random.h>

#include <algorithm>
#include <charconv>

#include "cli/edit_command.h"
#include "cli/output_text.h"
#include "libraid/edit/array_after.h"
#include "libraid/edit/bad_blocks.h"
#include "libraid/edit/fields.h"
#include "libraid/edit/resume.h"
#include "libraid/edit/updates.h"

namespace mdtool::cli {

namespace {

constexpr std::string_view show = "show";
constexpr std::string_view clear = "clear";

std::string joined(std::span<const std::string_view> names) {
  std::string text;
  for (std::string_view name : names) {
    text += (text.empty() ? "" : ", ") + std::string(name);
  }
  return text;
}

struct Pair {
  std::string before, after;
};

// "NAME=VALUE" at its first "=", "DEV=N" at its last.
enum class SplitAt { first, last };
Result<Pair> split(const std::string& text, SplitAt at, const std::string& option) {
  const std::size_t equals = at == SplitAt::first ? text.find('=') : text.rfind('=');
  if (equals == std::string::npos || equals == 0) {
    return Error{ErrorKind::usage,
                 option + "=" + text + ": expected " + (at == SplitAt::first ? "NAME=VALUE" : "MEMBER=SLOT")};
  }
  return Pair{text.substr(0, equals), text.substr(equals + 1)};
}

Result<std::string> random_uuid() {
  Uuid uuid;
  const auto wanted = static_cast<ssize_t>(uuid.bytes.size());
  if (::getrandom(uuid.bytes.data(), uuid.bytes.size(), 0) != wanted) {
    return io_error("random bytes for a UUID", errno);
  }
  return uuid.text();
}

bool has_update(const FieldEdit& edit, std::string_view name) {
  return std::any_of(edit.updates.begin(), edit.updates.end(), [&](const NamedUpdate& u) { return u.name == name; });
}

bool about_bad_blocks(const Finding& finding) {
  return finding.id == "bad-blocks" || finding.id == "no-bad-blocks" || finding.id == "bad-block-log-under-bitmap";
}

class SetCommand final : public EditCommand {
 public:
  void set_up(Options& app) override {
    EditCommand::set_up(app);
    app.add_option("--field", fields_, "Set a superblock field by its kernel name (repeatable)")
        .type_name("NAME=VALUE");
    app.add_option("--name", name_, "The array's name; with --homehost: HOST:NAME").type_name("NAME");
    app.add_option("--homehost", homehost_, "The host that the array belongs to").type_name("HOST").may_be_empty();
    app.add_option("--new-uuid", new_uuid_, "Another UUID for the array, or \"random\"").type_name("UUID");
    app.add_option("--slot", slots_, "The member holds this slot (repeatable)").type_name("MEMBER=SLOT");
    app.add_option("--update", updates_, "As mdadm's (repeatable): " + joined(update_names()))
        .type_name("NAME[=VALUE]");
    app.add_option("--bad-blocks", bad_blocks_, "List the members' bad-block logs, or empty them")
        .one_of({std::string(show), std::string(clear)});
    add_target_option(app, "Only this member (repeatable)");
  }

  Result<Outcome> run(const Surroundings& around) override {
    auto outcome = EditCommand::run(around);
    return outcome && bad_blocks_ == show && !outcome->error ? listed(*std::move(outcome)) : std::move(outcome);
  }

 protected:
  std::string_view verb() const override { return "set"; }

  std::vector<std::string> force_names() const override {
    const auto names = field_force_names();
    return {names.begin(), names.end()};
  }

  Result<EditPlan> plan(const MemberSet& members) const override {
    TRY(edit, this->edit(members));
    const bool nothing = edit.settings.empty() && edit.updates.empty() && edit.slots.empty();
    if (nothing == bad_blocks_.empty()) {
      return Error{ErrorKind::usage,
                   nothing ? "nothing to set: --field, --name, --homehost, --new-uuid, --slot, --update or --bad-blocks"
                           : "--bad-blocks stands alone"};
    }
    if (!bad_blocks_.empty()) {
      TRY(array, this->array(members));
      const std::vector<const Candidate*> whose = edit.targets.empty() ? members_of(array) : edit.targets;
      return bad_blocks_ == show ? show_bad_blocks(whose) : clear_bad_blocks(whose);
    }
    TRY(array, meant_array(members, edit));
    return plan_fields(array, edit);
  }

 private:
  // The one array; of two that an edit cut in its middle left, the one that has not got it yet.
  Result<Assembly> meant_array(const MemberSet& members, const FieldEdit& edit) const {
    auto one = array(members);
    TRY(uuid, wanted_uuid());
    if (one || uuid || !members.all_read()) {
      return one;
    }
    std::vector<Assembly> arrays = arrays_of(members, {}, std::nullopt);
    const Assembly* left = left_to_edit(arrays, edit);
    if (left == nullptr) {
      return one;
    }
    return std::move(arrays[static_cast<std::size_t>(left - arrays.data())]);
  }

  Result<FieldEdit> edit(const MemberSet& members) const {
    FieldEdit edit;
    for (const std::string& text : fields_) {
      TRY(setting, split(text, SplitAt::first, "--field"));
      edit.settings.push_back({setting.before, setting.after});
    }
    TRY(updates, named_updates());
    edit.updates = std::move(updates);
    for (const std::string& text : slots_) {
      TRY(slot, slot_setting(members, text));
      edit.slots.push_back(slot);
    }
    TRY(targets, this->targets(members));
    edit.targets = std::move(targets);
    for (const std::string& name : force_names()) {
      if (forces(name)) {
        edit.forced.push_back(name);
      }
    }
    return edit;
  }

  // The options that have a name of their own, and then --update, which may repeat such a name without its value, as
  // in mdadm's --update=name --name=...
  Result<std::vector<NamedUpdate>> named_updates() const {
    FieldEdit own;
    if (name_) {
      own.updates.push_back({"name", homehost_ ? name_with_host(*homehost_, *name_) : *name_});
    } else if (homehost_) {
      own.updates.push_back({"homehost", *homehost_});
    }
    if (!new_uuid_.empty()) {
      own.updates.push_back({"uuid", new_uuid_});
    }
    std::vector<NamedUpdate> all = own.updates;
    for (const std::string& text : updates_) {
      const std::size_t equals = std::min(text.find('='), text.size());
      NamedUpdate update{text.substr(0, equals), equals == text.size() ? "" : text.substr(equals + 1)};
      const bool given = has_update(own, update.name) || (update.name == "homehost" && homehost_);
      if (given && !update.value.empty()) {
        return Error{ErrorKind::usage, "--update=" + update.name + " is given twice"};
      }
      if (!given) {
        all.push_back(std::move(update));
      }
    }
    for (NamedUpdate& update : all) {
      if (update.name == "uuid" && update.value == "random") {
        TRY(uuid, random_uuid());
        update.value = uuid;
      }
    }
    return all;
  }

  static Result<SlotSetting> slot_setting(const MemberSet& members, const std::string& text) {
    TRY(pair, split(text, SplitAt::last, "--slot"));
    TRY(member, member_named(members, pair.before));
    SlotSetting setting;
    setting.member = member;
    const char* end = pair.after.data() + pair.after.size();
    const auto parsed = std::from_chars(pair.after.data(), end, setting.slot);
    if (parsed.ec != std::errc() || parsed.ptr != end) {
      return Error{ErrorKind::usage, "--slot=" + text + ": \"" + pair.after + "\" is no slot"};
    }
    return setting;
  }

  // What the logs list is the result here, not a remark about it.
  static Outcome listed(Outcome outcome) {
    outcome.text.clear();
    const auto begin = std::stable_partition(outcome.findings.begin(), outcome.findings.end(),
                                             [](const LocatedFinding& f) { return !about_bad_blocks(f.finding); });
    for (auto at = begin; at != outcome.findings.end(); ++at) {
      outcome.text += folded(printable(at->finding.text, terminal_charset()), 2, "");
      outcome.exit |= at->finding.id == "bad-blocks" ? exit_status::attention : exit_status::fine;
      outcome.only_in_document.push_back(std::move(*at));
    }
    outcome.findings.erase(begin, outcome.findings.end());
    return outcome;
  }

  std::vector<std::string> fields_, slots_, updates_;
  std::optional<std::string> name_, homehost_;
  std::string new_uuid_, bad_blocks_;
};

}  // namespace

std::unique_ptr<Command> make_set() {
  return std::make_unique<SetCommand>();
}

}  // namespace mdtool::cli
