// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool bitmap: the table of what can be done with write-intent bitmaps, and which options each of it takes.
#include <algorithm>
#include <array>

#include "cli/bitmap_change.h"
#include "cli/bitmap_check.h"
#include "cli/bitmap_show.h"
#include "cli/edit_command.h"

namespace mdtool::cli {

namespace {

constexpr const char* overwrite = "overwrite";

enum class Action : unsigned char { show, map, check, add, remove, convert, repair };

struct ActionRow {
  Action action;
  std::string_view name;
  bool edits;
};
constexpr std::array actions{
    ActionRow{Action::show, "show", false},    ActionRow{Action::map, "map", false},
    ActionRow{Action::check, "check", false},  ActionRow{Action::add, "add", true},
    ActionRow{Action::remove, "remove", true}, ActionRow{Action::convert, "convert", true},
    ActionRow{Action::repair, "repair", true},
};

// Options that only some actions take.
struct OptionRow {
  const char* name;
  std::vector<Action> takers;
};
std::vector<OptionRow> option_rows() {
  const std::vector<Action> drawing{Action::map};
  const std::vector<Action> edits{Action::add, Action::remove, Action::convert, Action::repair};
  const std::vector<Action> shapes{Action::add, Action::convert};
  const std::vector<Action> files{Action::map, Action::add, Action::convert};
  return {{"--copy", drawing},
          {"--svg", drawing},
          {"--force", files},
          {"--dry-run", edits},
          {"--yes", edits},
          {"--undo", edits},
          {"--with", edits},
          {"--bitmap", shapes},
          {"--bitmap-chunk", shapes},
          {"--offset", shapes},
          {"--from", {Action::convert}}};
}

const ActionRow* row_named(std::string_view name) {
  const auto* const found =
      std::find_if(actions.begin(), actions.end(), [&](const ActionRow& r) { return r.name == name; });
  return found == actions.end() ? nullptr : found;
}

std::string_view name_of(Action action) {
  return std::find_if(actions.begin(), actions.end(), [&](const ActionRow& r) { return r.action == action; })->name;
}

// "show, map or check"
template <typename Rows, typename Name>
std::string any_of_text(const Rows& rows, Name name) {
  std::string text;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    text += std::string(i == 0 ? "" : i + 1 == rows.size() ? " or " : ", ") + std::string(name(rows[i]));
  }
  return text;
}

class BitmapCommand final : public EditCommand {
 public:
  void set_up(Options& app) override {
    options_ = &app;
    EditCommand::set_up(app);
    app.add_option("--copy", drawing_.copy, "map: draw this member's own copy, not all copies together")
        .type_name("MEMBER");
    app.add_option("--svg", drawing_.svg, "map: write the picture to this file").type_name("FILE");
    change_.add_to(app);
  }

  Result<Outcome> run(const Surroundings& around) override {
    TRY(understood, take_arguments());
    TRY(outcome, row_->edits ? EditCommand::run(around) : read(around));
    outcome.document["action"] = row_->name;
    return std::move(outcome);
  }

 protected:
  void add_arguments(Options& app) override {
    app.add_option("ACTION", arguments(),
                   "show, map or check, which read; add, remove, convert or repair, which change; then the members")
        .required();
  }
  std::string_view verb() const override { return verb_; }
  std::vector<std::string> force_names() const override { return {overwrite}; }
  OutputFile::Existing existing_file() const override {
    return forces(overwrite) ? OutputFile::Existing::overwrite : OutputFile::Existing::refuse;
  }

  Result<EditPlan> plan(const MemberSet& members) const override {
    TRY(array, this->array(members));
    return row_->action == Action::add      ? added_bitmap(array, change_)
           : row_->action == Action::remove ? removed_bitmap(array)
           : row_->action == Action::repair ? repaired_bitmap(array)
                                            : converted_bitmap(array, change_);
  }

 private:
  // What to do; arguments() are the members from then on.
  Status take_arguments() {
    row_ = row_named(arguments().front());
    if (row_ == nullptr) {
      return Error{ErrorKind::usage, "bitmap " + arguments().front() + ": expected " +
                                         any_of_text(actions, [](const ActionRow& row) { return row.name; })};
    }
    verb_ = "bitmap " + std::string(row_->name);
    arguments().erase(arguments().begin());
    for (const OptionRow& option : option_rows()) {
      const bool taken = std::find(option.takers.begin(), option.takers.end(), row_->action) != option.takers.end();
      if (!taken && options_->given(option.name)) {
        return Error{ErrorKind::usage,
                     verb_ + ": " + option.name + " is for bitmap " + any_of_text(option.takers, name_of)};
      }
    }
    return arguments().empty() ? Status(Error{ErrorKind::usage, verb_ + ": which members?"}) : Status(Done{});
  }

  Result<Outcome> read(const Surroundings& around) {
    TRY(uuid, wanted_uuid());
    drawing_.existing = existing_file();
    const MemberSet members = MemberSet::open(arguments());
    return row_->action == Action::show  ? show_bitmaps(members, uuid)
           : row_->action == Action::map ? draw_bitmaps(members, uuid, drawing_)
                                         : check_bitmap(members, uuid, around);
  }

  const Options* options_ = nullptr;
  const ActionRow* row_ = nullptr;
  std::string verb_;
  Drawing drawing_;
  BitmapChangeOptions change_;
};

}  // namespace

std::unique_ptr<Command> make_bitmap() {
  return std::make_unique<BitmapCommand>();
}

}  // namespace mdtool::cli
