// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/fields.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "libmeta/bitmap/header.h"
#include "libraid/assemble/write_checks.h"
#include "libraid/edit/array_after.h"
#include "libraid/edit/field_costs.h"
#include "libraid/edit/field_rules.h"
#include "libraid/edit/meaning.h"
#include "libraid/edit/updates.h"

namespace mdtool {

namespace {

constexpr std::string_view force_one_member = "one-member";
constexpr std::string_view force_meaning = "meaning";
constexpr std::string_view force_events = "events";
constexpr std::string_view force_checksum = "checksum";
constexpr std::string_view force_unbuilt_parity = "unbuilt-parity";
constexpr std::string_view force_log = "log";
constexpr std::array force_names{force_one_member, force_meaning,        force_events,
                                 force_checksum,   force_unbuilt_parity, force_log};

constexpr std::array<std::int32_t, 7> known_levels{-1, 0, 1, 4, 5, 6, 10};
// Findings about superblocks that nobody knows how to write.
constexpr std::array<std::string_view, 5> unknown_superblock{"major-version", "minor-version", "unknown-features",
                                                             "padding", "max-dev"};

// A member's superblock, and what becomes of it.
struct Edit {
  const Candidate* member = nullptr;
  std::unique_ptr<Metadata> after;

  const FoundSuperblock& before() const { return *member->chosen(); }
};

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

std::string overridable(std::string text, std::string_view force) {
  return text + "; --force=" + std::string(force) + " overrides this";
}

const Field* field_called(const Fields& fields, std::string_view name) {
  const auto at = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == name; });
  return at == fields.end() ? nullptr : &*at;
}

bool has_finding(const Findings& findings, std::string_view id) {
  return std::any_of(findings.begin(), findings.end(), [&](const Finding& f) { return f.id == id; });
}

// No force overrides it: nobody knows what such a superblock means.
Status check_known(const std::string& path, const MemberDescription& d, const Findings& findings) {
  for (const Finding& f : findings) {
    if (std::find(unknown_superblock.begin(), unknown_superblock.end(), f.id) != unknown_superblock.end()) {
      return refused(path + ": never written: " + f.text);
    }
  }
  if (std::find(known_levels.begin(), known_levels.end(), d.level) == known_levels.end()) {
    return refused(path + ": never written: level " + std::to_string(d.level) + " is not known");
  }
  return Done{};
}

// What fails one check on several members is said once.
std::string text_of(const Findings& worse) {
  std::string text;
  for (auto at = worse.begin(); at != worse.end(); ++at) {
    const auto like = [&](const Finding& f) { return f.id == at->id && f.field == at->field; };
    if (std::find_if(worse.begin(), at, like) == at) {
      const auto others = std::count_if(at, worse.end(), like) - 1;
      text += (text.empty() ? " [" : "; [") + at->id + "] " + at->text;
      text += others == 0 ? "" : " (and " + std::to_string(others) + " more like this)";
    }
  }
  return text;
}

class FieldPlanner {
 public:
  FieldPlanner(const Assembly& array, const FieldEdit& edit) : array_(array), edit_(edit) {}

  Result<EditPlan> plan() && {
    TRY(meant, choose_members());
    TRY(scopes, check_scopes());
    TRY(slots, check_slots());
    TRY(fresh, check_conversion());
    TRY(edits, edit_members());
    TRY(logs, check_logs());
    TRY(bitmaps, change_bitmaps());
    draft_.next_stage();
    for (const Edit& e : edits_) {
      TRY(drafted, change_superblock(e));
    }
    TRY(parity, check_parity());
    explain();
    EditPlan plan = std::move(draft_).take();
    TRY(meaning, check_meaning(plan));
    return plan;
  }

 private:
  bool forces(std::string_view name) const {
    return std::find(edit_.forced.begin(), edit_.forced.end(), name) != edit_.forced.end();
  }

  Status choose_members() {
    const std::vector<const Candidate*> all = members_of(array_);
    for (const Candidate* target : edit_.targets) {
      if (std::find(all.begin(), all.end(), target) == all.end()) {
        return Error{ErrorKind::usage, target->path + " is no member of this array"};
      }
    }
    members_ = edit_.targets.empty() ? all : edit_.targets;
    subset_ = members_.size() < all.size();
    return Done{};
  }

  Status check_scopes() const {
    for (const FieldSetting& setting : edit_.settings) {
      TRY(fine, check_scope(setting));
    }
    if (subset_ && !forces(force_one_member) && !edit_.updates.empty()) {
      return refused(overridable("an update concerns all members, who would fall apart", force_one_member));
    }
    return Done{};
  }

  Status check_scope(const FieldSetting& setting) const {
    switch (field_scope(setting.name)) {
      case FieldScope::kept:
        return Error{ErrorKind::usage, setting.name + " is not set by hand"};
      case FieldScope::identity:
        if (edit_.targets.size() != 1) {
          return Error{ErrorKind::usage, setting.name + " is one member's alone: say which with --target"};
        }
        return Done{};
      case FieldScope::member:
        if (edit_.targets.empty()) {
          return Error{ErrorKind::usage, setting.name + " is a member's own: say which ones with --target"};
        }
        return Done{};
      case FieldScope::place:
        return Done{};
      case FieldScope::array:
        break;
    }
    if (subset_ && !forces(force_one_member)) {
      return refused(overridable(setting.name + " is the array's: with another value on some members they fall apart",
                                 force_one_member));
    }
    return Done{};
  }

  Status check_slots() {
    if (!edit_.slots.empty() && subset_) {
      return Error{ErrorKind::usage, "slots are written to all members: no --target goes with them"};
    }
    std::set<std::uint32_t> slots;
    std::set<const Candidate*> holders;
    for (const SlotSetting& s : edit_.slots) {
      if (std::find(members_.begin(), members_.end(), s.member) == members_.end()) {
        return Error{ErrorKind::usage, s.member->path + " is no member of this array"};
      }
      if (!slots.insert(s.slot).second || !holders.insert(s.member).second) {
        return Error{ErrorKind::usage, "a slot is given twice, or a member two of them"};
      }
      TRY(fine, check_slot(s));
    }
    return Done{};
  }

  Status check_slot(const SlotSetting& s) {
    const MemberDescription& d = s.member->chosen()->description;
    if (s.slot >= array_.slots()) {
      return Error{ErrorKind::usage,
                   "the array has no slot " + std::to_string(s.slot) + ", only " + std::to_string(array_.slots())};
    }
    if (d.dev_number >= d.dev_roles.size()) {
      return refused(s.member->path + ": its dev_number " + std::to_string(d.dev_number) +
                     " has no role; give it another one first with --field dev_number=N --target " + s.member->path);
    }
    for (const Candidate* other : members_) {
      if (other != s.member && other->chosen()->description.dev_number == d.dev_number) {
        return refused(s.member->path + " and " + other->path + " have the same dev_number " +
                       std::to_string(d.dev_number) + ": leave out the wrong one, or give it another one first");
      }
    }
    return check_events(s.member->path, d.events);
  }

  // The new superblocks begin with events 0: a member that is behind would be like the others.
  Status check_conversion() const {
    const bool converts = std::any_of(edit_.updates.begin(), edit_.updates.end(),
                                      [](const NamedUpdate& u) { return u.name == "metadata"; });
    for (const Member& m : array_.members) {
      const bool fresh = m.state == MemberState::in_sync || m.state == MemberState::spare;
      if (converts && m.candidate != nullptr && !fresh) {
        return refused(m.candidate->path + " is " + std::string(member_state_name(m.state)) +
                       ", and 1.0 superblocks of all members would be equally new: leave it out");
      }
    }
    return Done{};
  }

  // Roles do not bring a member back whose content is older.
  Status check_events(const std::string& path, std::uint64_t events) {
    const std::uint64_t fresh = array_.array().events;
    if (events == fresh) {
      return Done{};
    }
    if (!forces(force_events)) {
      return refused(overridable(path + " has " + std::to_string(events) + " events, the array " +
                                     std::to_string(fresh) + ": mdtool force takes stale members along",
                                 force_events));
    }
    std::vector<std::size_t> all(array_.members.size());
    std::generate(all.begin(), all.end(), [n = std::size_t{0}]() mutable { return n++; });
    std::erase_if(all, [&](std::size_t i) { return array_.members[i].candidate == nullptr; });
    TRY(highest, highest_events(array_, all));
    events_ = highest;
    return Done{};
  }

  // Nobody comes back by his event count, and nobody who was left behind catches up by the others' stepping back.
  Status check_events_field(const Edit& e) {
    const std::uint64_t after = e.after->describe().events;
    const bool named = std::any_of(edit_.settings.begin(), edit_.settings.end(),
                                   [](const FieldSetting& s) { return s.name == "events"; });
    if (!named) {
      return Done{};
    }
    if (after < array_.array().events && !forces(force_events)) {
      return refused(overridable("events do not step back from " + std::to_string(array_.array().events) + " to " +
                                     std::to_string(after) + ": a member that was left behind could count again",
                                 force_events));
    }
    const std::uint64_t before = e.before().description.events;
    return before == after ? Status(Done{}) : check_events(e.member->path, before);
  }

  // What was not rebuilt is not taken for rebuilt.
  Status check_filled(const Edit& e) const {
    const MemberDescription& before = e.before().description;
    const MemberDescription after = e.after->describe();
    const bool rebuilding = before.role == Role::active && before.recovery && !before.recovery_is_all_ones();
    const bool claims_more =
        after.role == Role::active && (!after.recovery || after.recovery_offset > before.recovery_offset);
    if (!rebuilding || !claims_more || forces(force_meaning)) {
      return Done{};
    }
    return refused(overridable(e.member->path + " is filled up to sector " +
                                   std::to_string(before.recovery_offset.count()) +
                                   " only, and would count as filled beyond: mdtool recover fills it",
                               force_meaning));
  }

  // A wrong checksum is taken only where it becomes right by this very edit, which then was under way before.
  Status check_checksum(const Edit& e) const {
    if (!has_finding(e.before().findings, "superblock-checksum") || forces(force_checksum)) {
      return Done{};
    }
    const Fields before = e.before().metadata->fields();
    const Fields after = e.after->fields();
    const Field* stored = field_called(before, "sb_csum");
    const Field* right = field_called(after, "sb_csum");
    if (stored != nullptr && right != nullptr && stored->value == right->value) {
      return Done{};
    }
    return refused(overridable(
        e.member->path + ": the checksum of its superblock is wrong, so what it says may be, too (mdtool undo takes "
                         "back a run that was cut off)",
        force_checksum));
  }

  Status edit_members() {
    for (const Candidate* member : members_) {
      const FoundSuperblock& before = *member->chosen();
      TRY(known, check_known(member->path, before.description, before.findings));
      TRY(after, edited(*member).in(member->path));
      edits_.push_back({member, std::move(after)});
      const Edit& e = edits_.back();
      TRY(still_known, check_known(member->path, e.after->describe(), e.after->verify(member->metadata->size_bytes())));
      TRY(checksum, check_checksum(e));
      TRY(events, check_events_field(e));
      TRY(filled, check_filled(e));
    }
    return Done{};
  }

  Result<std::unique_ptr<Metadata>> edited(const Candidate& member) const {
    std::unique_ptr<Metadata> now = member.chosen()->metadata->changed({});
    for (const FieldSetting& setting : edit_.settings) {
      TRY(after, now->with_field(setting.name, setting.value).in(setting.name));
      now = std::move(after);
    }
    for (const NamedUpdate& update : edit_.updates) {
      TRY(after, updated(*now, member, update));
      now = std::move(after);
    }
    if (!edit_.slots.empty()) {
      now = now->changed(slot_change(now->describe()));
    }
    return now;
  }

  // One superblock's view: those named hold their slots, and nobody else does.
  SuperblockChange slot_change(const MemberDescription& d) const {
    std::map<std::uint32_t, std::uint16_t> named;
    std::set<std::uint16_t> taken;
    for (const SlotSetting& s : edit_.slots) {
      named[s.member->chosen()->description.dev_number] = static_cast<std::uint16_t>(s.slot);
      taken.insert(static_cast<std::uint16_t>(s.slot));
    }
    SuperblockChange change;
    for (std::uint32_t i = 0; i < d.dev_roles.size(); ++i) {
      if (taken.contains(d.dev_roles[i]) && !named.contains(i)) {
        change.roles.push_back({i, role_spare});
      }
    }
    for (const auto& [dev_number, slot] : named) {
      change.roles.push_back({dev_number, slot});
    }
    if (events_ && d.events != *events_) {
      change.events = events_;
    }
    return change;
  }

  Status change_superblock(const Edit& e) {
    const Metadata& before = *e.before().metadata;
    return e.after->offset_bytes() == before.offset_bytes() ? draft_.superblock(*e.member, before, *e.after)
                                                            : draft_.new_superblock(*e.member, *e.after);
  }

  Status change_bitmaps() {
    for (const Edit& e : edits_) {
      TRY(changed, change_bitmap(e));
    }
    return Done{};
  }

  // A bitmap carries the array's UUID. One that has neither the old nor the new one is another array's and stays that.
  Status change_bitmap(const Edit& e) {
    const MemberDescription after = e.after->describe();
    const std::optional<std::uint64_t> at = e.before().description.bitmap_offset_bytes;
    const Uuid& old = e.before().description.bitmap_uuid;
    if (!at || at != after.bitmap_offset_bytes || old == after.bitmap_uuid) {
      return Done{};
    }
    const auto header = bitmap::read_header(*e.member->metadata, *at);
    if (!header || Uuid{header->uuid} != old) {
      if (!header || Uuid{header->uuid} != after.bitmap_uuid) {
        draft_.find({Severity::warning, "bitmap-left", "uuid",
                     e.member->path + ": what is in the bitmap's place is no bitmap of this array and is left alone",
                     Effect::none});
      }
      return Done{};
    }
    bitmap::Header changed = *header;
    changed.uuid = after.bitmap_uuid.bytes;
    const std::size_t sector = std::min<std::uint64_t>(Sectors::bytes_each, e.member->metadata->size_bytes() - *at);
    TRY(bytes, read_bytes(*e.member->metadata, *at, sector));
    return draft_.bytes(*e.member, "bitmap", *at, bitmap::area_with_header(bytes, changed),
                        changes_between(bitmap::header_fields(*header), bitmap::header_fields(changed)));
  }

  // PPL and journal carry a checksum of the array's UUID: with another one the kernel takes them as empty (seen in the
  // lab: it starts an empty journal).
  Status check_logs() const {
    const MemberDescription& d = array_.array();
    const bool renamed = std::any_of(edits_.begin(), edits_.end(), [](const Edit& e) {
      return e.before().description.set_uuid != e.after->describe().set_uuid;
    });
    const bool dropped = std::any_of(edits_.begin(), edits_.end(), [](const Edit& e) {
      return e.before().description.ppl && !e.after->describe().ppl;
    });
    const bool holds_writes = (d.has_journal && renamed) || (d.ppl && !array_.clean && (renamed || dropped));
    if (!holds_writes || forces(force_log)) {
      return Done{};
    }
    return refused(overridable(std::string(d.has_journal ? "the journal" : "the PPL of a dirty array") +
                                   " may hold writes that nobody replays after this: let the kernel start the array, "
                                   "and stop it cleanly, first",
                               force_log));
  }

  // Without its lockless bitmap nothing remembers which parity was never built (md-llbitmap.c: Unwritten).
  Status check_parity() {
    const std::int32_t level = array_.array().level;
    const bool parity = level == 4 || level == 5 || level == 6;
    const bool dropped = std::any_of(edits_.begin(), edits_.end(), [](const Edit& e) {
      return e.before().description.bitmap_offset_bytes && !e.after->describe().bitmap_offset_bytes;
    });
    if (!dropped) {
      return Done{};
    }
    const bool all_due =
        std::any_of(edits_.begin(), edits_.end(), [](const Edit& e) { return !e.after->describe().clean(); });
    explain_dropped_bitmap(draft_, array_, all_due ? AfterBitmap::all_due : AfterBitmap::clean);
    const std::uint64_t unbuilt = unbuilt_chunks(array_.bitmap);
    if (!parity || array_.bitmap.kind != bitmap::Kind::lockless || unbuilt == 0 || all_due) {
      return Done{};
    }
    if (!forces(force_unbuilt_parity)) {
      return refused(overridable(
          std::to_string(unbuilt) + " chunks of the lockless bitmap have no parity that is promised, and without it "
                                    "nothing remembers that: a write there and then a lost member give wrong data. Add "
                                    "--update=resync, or build the parity first (mdtool build-parity)",
          force_unbuilt_parity));
    }
    draft_.cost(std::to_string(unbuilt) + " chunks have no parity, and nothing remembers that: do not lose a member");
    return Done{};
  }

  void explain() {
    for (const FieldSetting& setting : edit_.settings) {
      draft_.step(setting.name + " becomes " + setting.value + " on " + whom());
    }
    for (const NamedUpdate& update : edit_.updates) {
      draft_.step(update_text(update) + ", on " + whom());
    }
    for (const SlotSetting& s : edit_.slots) {
      draft_.step(s.member->path + " holds slot " + std::to_string(s.slot) + " in the view of all members");
    }
    explain_costs(draft_, array_, edit_);
  }

  std::string whom() const {
    return members_.size() == 1 ? members_.front()->path
           : subset_            ? std::to_string(members_.size()) + " members"
                                : "all " + std::to_string(members_.size()) + " members";
  }

  Status check_meaning(EditPlan& plan) const {
    if (plan.nothing_to_do()) {
      return Done{};
    }
    const bool apart = subset_ && forces(force_one_member);
    TRY(worse, worsened_by(plan, array_, apart ? Apart::allowed : Apart::worse));
    if (!worse.empty() && !forces(force_meaning)) {
      return refused(overridable("this would not be accepted:" + text_of(worse), force_meaning));
    }
    for (Finding& f : worse) {
      f.severity = Severity::warning;
      f.effect = Effect::none;
      plan.findings.push_back(std::move(f));
    }
    return Done{};
  }

  const Assembly& array_;
  const FieldEdit& edit_;
  std::vector<const Candidate*> members_;
  bool subset_ = false;
  std::optional<std::uint64_t> events_;  // that all members get
  std::vector<Edit> edits_;
  EditDraft draft_;
};

}  // namespace

std::span<const std::string_view> field_force_names() {
  return force_names;
}

Result<EditPlan> plan_fields(const Assembly& array, const FieldEdit& edit) {
  const bool checksums = std::find(edit.forced.begin(), edit.forced.end(), force_checksum) != edit.forced.end();
  if (edit.settings.empty() && edit.updates.empty() && edit.slots.empty() && !checksums) {
    return Error{ErrorKind::usage, "nothing to set"};
  }
  return FieldPlanner(array, edit).plan();
}

}  // namespace mdtool
