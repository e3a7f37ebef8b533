// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/next_steps.h"

#include <algorithm>
#include <array>
#include <utility>

namespace mdtool {

namespace {

constexpr std::string_view leave_out =
    "leave this member out; if no other has what is on it, correct the field with mdtool set --dry-run first";
constexpr std::string_view without_bitmap =
    "mdtool set --update=no-bitmap takes the bitmap off; mdtool resync (RAID-4, 5, 6) or the kernel synchronises all";
constexpr std::string_view other_software =
    "a kernel or an mdadm that is newer than this program may know it: leave the array to that";
constexpr std::string_view one_field = "mdtool set corrects the field (--dry-run shows what becomes of it)";
constexpr std::string_view right_device =
    "is this the right device, and all of it? Look with lsblk and mdtool examine -v";
constexpr std::string_view check_disk =
    "look at the disk (smartctl, dmesg); copy it with ddrescue and work on the copy";

using Row = std::pair<std::string_view, std::string_view>;

// Sorted by id.
constexpr auto table = std::to_array<Row>({
    {"area-beyond-member", right_device},
    {"areas-overlap", "no verb writes this member: copy the array's content away, then make it anew"},
    {"bad-block-beyond-member", "mdtool set --bad-blocks lists the log, or empties it"},
    {"bad-block-length", "mdtool set --bad-blocks lists the log, or empties it"},
    {"bad-block-log-place", one_field},
    {"bad-block-log-under-bitmap", "take the log off: mdtool set --update=force-no-bbl"},
    {"bitmap-chunk-size", without_bitmap},
    {"bitmap-clustered", "leave it to its cluster, or mdtool set --update=no-bitmap"},
    {"bitmap-copies-differ", "mdtool bitmap map shows where; mdtool resync makes them equal"},
    {"bitmap-daemon-sleep", without_bitmap},
    {"bitmap-events-ahead", "mdtool resync writes it anew"},
    {"bitmap-events-cleared", "re-add no member by this bitmap; mdtool resync writes it anew"},
    {"bitmap-header-overwritten", "mdtool bitmap repair writes it anew; then mdtool bitmap convert --bitmap=internal"},
    {"bitmap-ignored", "mdtool bitmap show says what is in it"},
    {"bitmap-invalid-state", "mdtool resync: such chunks count as not synchronised"},
    {"bitmap-magic", without_bitmap},
    {"bitmap-place", without_bitmap},
    {"bitmap-sectors-reserved", "mdtool bitmap show says what is in it; if in doubt, mdtool set --update=no-bitmap"},
    {"bitmap-size", without_bitmap},
    {"bitmap-stale", "mdtool resync: everything counts as not synchronised"},
    {"bitmap-state", "mdtool bitmap show says what is in it"},
    {"bitmap-sync-size", "mdtool resync writes it anew"},
    {"bitmap-unreadable", check_disk},
    {"bitmap-unusable", without_bitmap},
    {"bitmap-uuid", without_bitmap},
    {"bitmap-version", without_bitmap},
    {"bitmap-version-mismatch", "nothing, if what is on disk is what you want; else see mdtool bitmap"},
    {"bitmap-versions-differ", without_bitmap},
    {"bitmap-write-behind", without_bitmap},
    {"bitmap-write-error", without_bitmap},
    {"chunk", leave_out},
    {"data-beyond-member", right_device},
    {"data-overlaps-superblock", leave_out},
    {"data-size", leave_out},
    {"delta-disks", leave_out},
    {"dev-number", "mdtool set --slot gives the member its slot again, if it is known"},
    {"journal-role", leave_out},
    {"journal-tail", "let the kernel replay the journal"},
    {"journal-with-bitmap", without_bitmap},
    {"layout", leave_out},
    {"lazy-recovery-cut", "mdtool resync"},
    {"lazy-recovery-or-re-add", "was a member removed and added again before the cut? See the choices"},
    {"level", leave_out},
    {"logical-block-size", one_field},
    {"major-version", leave_out},
    {"max-dev", leave_out},
    {"member-cloned", "name only the one that is meant"},
    {"member-failed", check_disk},
    {"member-faulty", "look at the disk (smartctl), then recover onto it or onto another"},
    {"member-in-use", "stop what uses it before anything is written"},
    {"member-left-out", "see the history and the choices"},
    {"member-unreadable", check_disk},
    {"minor-version", leave_out},
    {"no-member-in-directory", "name the members themselves"},
    {"no-superblock", right_device},
    {"padding", other_software},
    {"partition-table", "name the member as file@offset+size"},
    {"partition-unreadable", check_disk},
    {"ppl-conflict", leave_out},
    {"ppl-level", leave_out},
    {"ppl-place", leave_out},
    {"raid-disks", leave_out},
    {"raid0-layout", leave_out},
    {"recovery-offset-all-ones", "mdtool resync clears the mark"},
    {"recovery-offset-range", one_field},
    {"resync-offset-range", "mdtool resync"},
    {"role-contradiction", "its own superblock and the others' disagree: see the table, and the choices"},
    {"role-out-of-range", "mdtool set --slot gives the member its slot again, if it is known"},
    {"several-superblocks", "if the one that counts is wrong, mdtool erase --metadata takes it off"},
    {"size", leave_out},
    {"slot-claimed-twice", "examine each without the other (mdtool examine), and name only the right one"},
    {"super-offset", "was the member resized or copied to another place? Name the part that it was: file@offset+size"},
    {"superblock-ambiguous", "name the one that is meant as file@offset+size; mdtool erase takes the other off"},
    {"superblock-checksum",
     "if the fields look right, mdtool set --force=checksum MEMBER... writes a right one; else leave the member out"},
    {"superblock-place-unreadable", check_disk},
    {"superblock-unreadable", check_disk},
    {"unknown-features", other_software},
});

static_assert(std::is_sorted(table.begin(), table.end(), [](const Row& a, const Row& b) { return a.first < b.first; }));

}  // namespace

std::string_view next_step(std::string_view finding_id) {
  const auto row = std::lower_bound(table.begin(), table.end(), finding_id,
                                    [](const Row& r, std::string_view id) { return r.first < id; });
  return row != table.end() && row->first == finding_id ? row->second : std::string_view();
}

}  // namespace mdtool
