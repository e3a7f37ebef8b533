// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <bit>
#include <iterator>
#include <string>
#include <utility>

#include "libmeta/field_list.h"
#include "libmeta/md1/bad_block_log.h"
#include "libmeta/md1/superblock.h"
#include "libmeta/plausibility.h"
#include "libmeta/source.h"

namespace mdtool::md1 {
namespace {

constexpr std::uint64_t data_size_least = 10;
constexpr std::uint32_t logical_block_size_least = 512;
constexpr std::uint32_t logical_block_size_most = 4096;
constexpr std::uint32_t ppl_header_sectors = 8;

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

// Gathers findings about one superblock on a member of a certain size.
class Judge {
 public:
  Judge(const Record& record, std::uint64_t member_bytes)
      : record_(record), sb_(record.fixed), d_(describe(record)), member_(Sectors::from_bytes(member_bytes)) {}

  Findings all() {
    identity();
    checksum();
    padding();
    data();
    bad_block_log();
    features();
    ppl();
    geometry();
    roles();
    recovery();
    reshape();
    limits();
    add(judge_areas(d_.areas, member_.bytes()));
    return std::move(findings_);
  }

 private:
  void add(Finding finding) { findings_.push_back(std::move(finding)); }
  void add(Findings findings) { std::move(findings.begin(), findings.end(), std::back_inserter(findings_)); }
  void note(std::string id, std::string field, std::string text) {
    add(Finding{Severity::note, std::move(id), std::move(field), std::move(text), Effect::none});
  }
  void warning(std::string id, std::string field, std::string text) {
    add(Finding{Severity::warning, std::move(id), std::move(field), std::move(text), Effect::none});
  }

  void identity() {
    if (sb_.major_version != 1) {
      add(refuses_member("major-version", "major_version",
                         "major_version is " + number(sb_.major_version) + ", not 1"));
    }
    if (sb_.max_dev > max_dev_limit) {
      add(refuses_member("max-dev", "max_dev",
                         "max_dev is " + number(sb_.max_dev) + ", at most " + number(max_dev_limit) + " roles fit"));
    }
    if (Sectors(sb_.super_offset) != d_.super_offset) {
      add(refuses_member("super-offset", "super_offset",
                         "the superblock lies at sector " + number(d_.super_offset.count()) + " but says sector " +
                             number(sb_.super_offset)));
    }
    if (d_.unknown_features != 0) {
      add(refuses_member("unknown-features", "feature_map",
                         "feature bits " + hexadecimal(d_.unknown_features) + " are not known to Linux 7.2"));
    }
  }

  void checksum() {
    const std::uint32_t expected = record_.expected_checksum();
    if (sb_.max_dev <= max_dev_limit && sb_.sb_csum != expected) {
      add(refuses_member("superblock-checksum", "sb_csum",
                         "sb_csum is " + hexadecimal(sb_.sb_csum) + ", expected " + hexadecimal(expected)));
    }
  }

  void padding() {
    if (sb_.pad0 != 0) {
      add(refuses_member("padding", "pad0", "pad0 is " + hexadecimal(sb_.pad0) + ", not 0: perhaps a newer feature"));
    }
    if (std::any_of(sb_.pad3.begin(), sb_.pad3.end(), [](unsigned char byte) { return byte != 0; })) {
      add(refuses_member("padding", "pad3", "pad3 is not all 0: perhaps a newer feature"));
    }
  }

  void data() {
    if (sb_.data_size < data_size_least) {
      add(refuses_member("data-size", "data_size",
                         "data_size is " + number(sb_.data_size) + " sectors, less than " + number(data_size_least)));
    }
    if (record_.minor_version == 0) {
      data_before_superblock();
    } else {
      data_behind_superblock();
    }
    if (d_.role != Role::journal && d_.size > d_.data_size) {
      add(stops_writing(
          "size", "size",
          "size is " + number(sb_.size) + " sectors, more than the data_size of " + number(sb_.data_size)));
    }
  }

  void data_before_superblock() {
    if (d_.data_size > d_.super_offset) {
      add(refuses_member("data-beyond-member", "data_size",
                         "data_size is " + number(sb_.data_size) + " sectors, but the superblock is at sector " +
                             number(d_.super_offset.count())));
    }
    if (d_.data_offset < d_.super_offset && d_.size > d_.super_offset - d_.data_offset) {
      add(refuses_array("data-overlaps-superblock", "data_offset", "the data runs into the superblock behind it"));
    }
  }

  void data_behind_superblock() {
    const Sectors end = Sectors::from_bytes(record_.offset_bytes + record_.io_bytes());
    const std::int64_t move = d_.reshape ? d_.reshape->new_offset_sectors : 0;
    const bool moved_in = move < 0 && d_.data_offset < end + Sectors(static_cast<std::uint64_t>(-move));
    if (d_.data_offset < end || moved_in) {
      add(refuses_member("data-overlaps-superblock", moved_in ? "new_offset" : "data_offset",
                         "the data, from sector " + number(sb_.data_offset) +
                             (moved_in ? " moved by " + std::to_string(move) : std::string()) +
                             " on, begins before the end of the superblock at sector " + number(end.count())));
    }
    if (!fits(sb_.data_offset, sb_.data_size, member_.count())) {
      add(refuses_member("data-beyond-member", "data_size",
                         "the data, " + number(sb_.data_size) + " sectors from sector " + number(sb_.data_offset) +
                             " on, does not fit into the member of " + number(member_.count()) + " sectors"));
    }
  }

  void bad_block_log() {
    const bool reserved = sb_.bblog_size != 0 || sb_.bblog_offset != 0;
    const bool possible = d_.bad_block_log && sb_.bblog_size <= bad_block_log_sectors_most &&
                          sb_.bblog_shift < bad_block_shift_limit &&
                          fits(d_.bad_block_log->offset_bytes, sb_.bblog_size * Sectors::bytes_each, member_.bytes());
    const std::string place = number(sb_.bblog_size) + " sectors at offset " +
                              std::to_string(sb_.bblog_offset.value()) + " from the superblock, shift " +
                              number(sb_.bblog_shift);
    if (record_.has(feature_bad_blocks) && !possible) {
      add(refuses_member("bad-block-log-place", "bblog_offset",
                         "feature BAD_BLOCKS is set, but no bad-block log can lie there: " + place));
    } else if (reserved && !possible) {
      warning("bad-block-log-place", "bblog_offset",
              "no bad-block log can lie there: " + place + "; it is empty, so the kernel does not look");
    }
  }

  void features() {
    if (record_.has(feature_raid0_layout) && sb_.level != 0) {
      add(refuses_member("raid0-layout", "feature_map",
                         "feature RAID0_LAYOUT is set for level " + std::to_string(sb_.level.value())));
    }
    if (record_.has(feature_raid0_layout) && sb_.level == 0 && (sb_.layout < 1 || sb_.layout > 2)) {
      add(refuses_array("layout", "layout", "the RAID-0 layout is " + number(sb_.layout) + ", neither 1 nor 2"));
    }
    if (record_.has(feature_journal) && record_.has(feature_bitmap_offset)) {
      add(refuses_array("journal-with-bitmap", "feature_map", "features JOURNAL and BITMAP_OFFSET are both set"));
    }
    if (record_.has(feature_bitmap_offset) && !d_.bitmap_offset_bytes) {
      add(refuses_array("bitmap-place", "bitmap_offset",
                        "the bitmap, " + std::to_string(sb_.bitmap_offset.value()) +
                            " sectors from the superblock, lies outside of the member"));
    }
    if (record_.has(feature_new_offset) && !d_.reshape) {
      note("new-offset-unused", "feature_map", "feature NEW_OFFSET is set without RESHAPE_ACTIVE; it is ignored");
    }
    if ((sb_.devflags & ~(devflag_write_mostly | devflag_failfast)) != 0) {
      note("devflags", "devflags", "devflags is " + number(sb_.devflags) + ": bits beyond 1 and 2 are not in use");
    }
  }

  void ppl() {
    if (!record_.has(feature_ppl | feature_multiple_ppls)) {
      return;
    }
    if (record_.has(feature_bitmap_offset | feature_journal)) {
      add(refuses_member("ppl-conflict", "feature_map", "a PPL is announced together with a bitmap or a journal"));
    }
    if (record_.has(feature_ppl) && record_.has(feature_multiple_ppls)) {
      add(refuses_member("ppl-conflict", "feature_map", "features PPL and MULTIPLE_PPLS are both set"));
    }
    if (sb_.level != 5) {
      add(refuses_array("ppl-level", "feature_map",
                        "a PPL is announced for level " + std::to_string(sb_.level.value()) + ", not 5"));
    }
    if (!d_.ppl || Sectors::from_bytes(d_.ppl->length_bytes) < Sectors(2 * std::uint64_t{ppl_header_sectors})) {
      const PplPlace place = ppl_place(sb_);
      add(refuses_array("ppl-place", "ppl.offset",
                        "no PPL can lie there: " + number(place.size) + " sectors at offset " +
                            std::to_string(place.offset.value()) + " from the superblock"));
    }
  }

  void geometry() {
    add(judge_geometry(d_));
    const std::uint32_t block = sb_.logical_block_size;
    const bool possible = block >= logical_block_size_least && block <= logical_block_size_most;
    if (block != 0 && !(possible && std::has_single_bit(block))) {
      add(refuses_array("logical-block-size", "logical_block_size",
                        "logical_block_size is " + number(block) + ", neither 0 nor a power of two from 512 to 4096"));
    }
  }

  void roles() {
    if (sb_.dev_number >= sb_.max_dev) {
      warning("dev-number", "dev_number",
              "dev_number is " + number(sb_.dev_number) + ", but there are only " + number(sb_.max_dev) +
                  " roles; the member counts as a spare");
    } else if (sb_.dev_number < d_.dev_roles.size()) {
      own_role(d_.dev_roles[sb_.dev_number]);
    }
    if (d_.role == Role::journal && !d_.has_journal) {
      add(refuses_member("journal-role", "dev_roles",
                         "the member is a journal device, but the array has no feature JOURNAL"));
    }
    if (d_.role == Role::journal && sb_.recovery_offset >= sb_.data_size) {
      warning("journal-tail", "journal_tail",
              "journal_tail is " + number(sb_.recovery_offset) + ", beyond the journal's " + number(sb_.data_size) +
                  " sectors; the kernel starts at 0");
    }
  }

  void own_role(std::uint16_t role) {
    if (d_.role == Role::faulty) {
      warning("member-faulty", "dev_roles", "the member is marked faulty; it is not used for data");
    } else if (d_.role == Role::spare && role != role_spare) {
      warning("role-out-of-range", "dev_roles",
              "the member's role is " + number(role) + " of " + number(sb_.raid_disks) + "; it counts as a spare");
    }
  }

  void recovery() {
    if (d_.replacement) {
      note("member-replacement", "feature_map", "the member replaces another one with the same role");
    }
    if (d_.recovery_is_all_ones()) {
      warning(
          "recovery-offset-all-ones", "recovery_offset",
          "feature RECOVERY_OFFSET is set, but nothing is left to recover: a lockless lazy recovery was cut off. The "
          "member counts as in sync; the kernel refuses to start the array while it is dirty");
    } else if (d_.recovery) {
      note("member-recovering", "recovery_offset",
           "the member is being rebuilt: only its first " + number(sb_.recovery_offset) + " sectors of data are right");
    }
    if (d_.recovery && !d_.recovery_is_all_ones() && d_.recovery_offset > d_.data_size) {
      warning(
          "recovery-offset-range", "recovery_offset",
          "recovery_offset is " + number(sb_.recovery_offset) + ", beyond the data_size of " + number(sb_.data_size));
    }
  }

  void reshape() {
    if (!d_.reshape) {
      return;
    }
    note("reshape-active", "feature_map",
         "a reshape is under way, at array sector " + number(d_.reshape->position.count()));
    if (std::int64_t{sb_.raid_disks} - sb_.delta_disks.value() <= 0) {
      add(refuses_array("delta-disks", "delta_disks",
                        "delta_disks is " + std::to_string(sb_.delta_disks.value()) + " with " +
                            number(sb_.raid_disks) + " slots: none were left before the reshape"));
    }
  }

  void limits() {
    const bool in_member_sectors = sb_.level == 1 || (sb_.level >= 4 && sb_.level <= 6);
    if (in_member_sectors && !d_.clean() && d_.resync_offset > d_.size) {
      warning("resync-offset-range", "resync_offset",
              "resync_offset is " + number(sb_.resync_offset) + ", beyond the size of " + number(sb_.size) +
                  " and not all ones");
    }
    const bool control = std::any_of(d_.set_name.begin(), d_.set_name.end(),
                                     [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; });
    if (control) {
      note("set-name-control-bytes", "set_name", "the array's name holds control bytes");
    }
  }

  const Record& record_;
  const Superblock& sb_;
  MemberDescription d_;
  Sectors member_;
  Findings findings_;
};

}  // namespace

Findings verify(const Record& record, std::uint64_t member_bytes) {
  return Judge(record, member_bytes).all();
}

}  // namespace mdtool::md1
