// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/field_costs.h"

#include <algorithm>

#include "libraid/edit/field_rules.h"
#include "libraid/edit/updates.h"

namespace mdtool {

namespace {

bool has_update(const FieldEdit& edit, std::string_view name) {
  return std::any_of(edit.updates.begin(), edit.updates.end(), [&](const NamedUpdate& u) { return u.name == name; });
}

bool has_field(const FieldEdit& edit, std::string_view name) {
  return std::any_of(edit.settings.begin(), edit.settings.end(),
                     [&](const FieldSetting& s) { return s.name.starts_with(name); });
}

void explain_identity(EditDraft& draft, const FieldEdit& edit) {
  const bool uuid = has_field(edit, "set_uuid") || has_update(edit, "uuid");
  const bool name = has_update(edit, "name") || has_update(edit, "homehost") || has_field(edit, "set_name");
  if (uuid || name) {
    draft.next("whatever names the array by its old " + std::string(uuid ? "UUID" : "name") +
               " has to be told: mdadm.conf, the initramfs, the boot loader");
  }
  if (uuid) {
    draft.cost("members that are not given here keep the old UUID and belong to this array no more");
  }
}

void explain_metadata(EditDraft& draft, const FieldEdit& edit) {
  if (has_update(edit, "metadata")) {
    draft.cost("the 0.90 superblocks stay where they are; the 1.0 ones count, because they are newer");
    // As md_run() does where events are 0 (seen in the lab).
    draft.cost(
        "events begin at 0: Linux 7.2 takes the array as new at its first start and records a logical block "
        "size, which kernels up to 6.18 refuse (mdtool set --field logical_block_size=0 takes it out again)");
    draft.next("once the array is known to work: mdtool erase --metadata 0.90 MEMBER...");
  }
}

}  // namespace

std::uint64_t unbuilt_chunks(const BitmapView& bitmap) {
  if (bitmap.trust != Trust::believed || !bitmap.lockless) {
    return bitmap.chunks() == 0 ? 1 : bitmap.chunks();
  }
  const bitmap::StateCounts counts = bitmap.lockless->counts();
  std::uint64_t built = 0;
  for (std::size_t state = 0; state < counts.by_state.size(); ++state) {
    built += bitmap::parity_is_promised(static_cast<std::uint8_t>(state)) ? counts.by_state[state] : 0;
  }
  return bitmap.lockless->chunks() - built;
}

void explain_costs(EditDraft& draft, const Assembly& array, const FieldEdit& edit) {
  const bool maps =
      std::any_of(edit.settings.begin(), edit.settings.end(), [](const FieldSetting& s) { return maps_data(s.name); });
  if (maps || !edit.slots.empty()) {
    draft.cost(std::string(edit.slots.empty() ? "the content stays and is read in another way"
                                              : "the members' content is taken for those slots' as it is") +
               ": with a value that is not the one it was written with, everything reads as garbage");
    draft.next(
        "before: save this plan with --dry-run --json > PLAN, and look at what it gives with "
        "mdtool examine --with PLAN and mdtool copy --with PLAN");
  }
  if (has_update(edit, "resync")) {
    draft.cost(array.bitmap.trust == Trust::believed && !has_update(edit, "no-bitmap")
                   ? "the next start resynchronises what the bitmap calls dirty, and no more"
                   : "the next start resynchronises the whole array; until then a lost member costs data");
  }
  if (has_update(edit, "force-no-bbl")) {
    draft.cost("sectors that the logs list as bad are believed again (mdtool set --bad-blocks=show lists them)");
  }
  if (has_update(edit, "no-ppl")) {
    draft.cost("what the PPL holds is not replayed; after an unclean stop the whole array is due for a resync");
  }
  explain_metadata(draft, edit);
  explain_identity(draft, edit);
}

void explain_dropped_bitmap(EditDraft& draft, const Assembly& array, AfterBitmap after) {
  if (after == AfterBitmap::all_due) {
    draft.cost("the array is dirty, and without the bitmap all of it is due for a resync");
  }
  if (!array.complete) {
    draft.cost("a member that comes back has to be filled whole");
  }
}

}  // namespace mdtool
