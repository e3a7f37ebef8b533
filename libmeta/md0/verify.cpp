// SPDX-License-Identifier: GPL-2.0-or-later
#include <iterator>
#include <string>
#include <utility>

#include "libmeta/field_list.h"
#include "libmeta/md0/superblock.h"
#include "libmeta/plausibility.h"

namespace mdtool::md0 {
namespace {

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

// md_csum_fold(): some architectures stored a sum folded to 16 bits, so that only that much is compared.
std::uint32_t folded(std::uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

void append(Findings& to, Findings from) {
  std::move(from.begin(), from.end(), std::back_inserter(to));
}

// super_90_load(), in its order.
template <std::endian Order>
Findings verify_identity(const Record<Order>& record) {
  const Superblock<Order>& sb = record.fixed;
  Findings findings;
  if (sb.major_version != 0) {
    findings.push_back(
        refuses_member("major-version", "major_version", "major_version is " + number(sb.major_version) + ", not 0"));
  }
  if (sb.minor_version != minor_version_normal && sb.minor_version != minor_version_reshape) {
    findings.push_back(refuses_member("minor-version", "minor_version",
                                      "minor_version is " + number(sb.minor_version) + ", neither 90 nor 91"));
  }
  const std::uint32_t expected = record.expected_checksum();
  if (folded(sb.sb_csum) != folded(expected)) {
    findings.push_back(refuses_member("superblock-checksum", "sb_csum",
                                      "sb_csum is " + hexadecimal(sb.sb_csum) + ", expected " + hexadecimal(expected)));
  } else if (sb.sb_csum != expected) {
    findings.push_back({Severity::note, "superblock-checksum-folded", "sb_csum",
                        "sb_csum is " + hexadecimal(sb.sb_csum) + ", expected " + hexadecimal(expected) +
                            "; they agree when folded to 16 bits, which is all that the kernel compares",
                        Effect::none});
  }
  return findings;
}

template <std::endian Order>
Findings verify_data(const Record<Order>& record, const MemberDescription& d) {
  Findings findings;
  if (d.level >= 1 && d.size > d.super_offset) {
    findings.push_back(refuses_member("data-beyond-member", "size",
                                      "size is " + number(record.fixed.size) +
                                          " KiB, but the superblock is at sector " + number(d.super_offset.count())));
  }
  if (record.fixed.chunk_size % Sectors::bytes_each != 0) {
    findings.push_back(refuses_array("chunk", "chunk_size",
                                     "chunk_size is " + number(record.fixed.chunk_size) + " bytes, not whole sectors"));
  }
  if (d.bitmap_offset_bytes && d.bitmap_room_bytes == 0) {
    findings.push_back(refuses_array("bitmap-place", "state", "no room for the bitmap behind the superblock"));
  }
  return findings;
}

template <std::endian Order>
Findings verify_disks(const Record<Order>& record, const MemberDescription& d) {
  const Superblock<Order>& sb = record.fixed;
  Findings findings;
  if (sb.this_disk.number >= max_disks) {
    findings.push_back(stops_writing("dev-number", "this_disk.number",
                                     "this_disk.number is " + number(sb.this_disk.number) + ", but there are only " +
                                         number(max_disks) + " descriptors; the member counts as a spare"));
  }
  if (sb.raid_disks > max_disks) {
    findings.push_back(refuses_array("raid-disks", "raid_disks",
                                     "raid_disks is " + number(sb.raid_disks) + ", more than " + number(max_disks)));
  }
  if (d.role == Role::faulty) {
    findings.push_back({Severity::warning, "member-faulty", "disks",
                        "the member is marked faulty; it is not used for data", Effect::none});
  }
  for (std::size_t i = 0; i < max_disks; ++i) {
    const Disk<Order>& disk = sb.disks[i];
    if ((disk.state & disk_sync) != 0 && (disk.state & disk_faulty) == 0 && d.dev_roles[i] == role_spare) {
      findings.push_back({Severity::warning, "role-out-of-range", "disks[" + number(i) + "].raid_disk",
                          "descriptor " + number(i) + " is in sync in slot " + number(disk.raid_disk) + " of " +
                              number(sb.raid_disks) + "; it counts as a spare",
                          Effect::none});
    }
  }
  return findings;
}

template <std::endian Order>
Findings verify_state(const Record<Order>& record, const MemberDescription& d) {
  Findings findings;
  if (Order != std::endian::little) {
    findings.push_back({Severity::note, "byte-order", "md_magic",
                        "the superblock is in big-endian byte order; only a kernel of a big-endian machine takes it",
                        Effect::none});
  }
  if (!d.reshape) {
    return findings;
  }
  findings.push_back({Severity::note, "reshape-active", "minor_version",
                      "a reshape is under way, at array sector " + number(d.reshape->position.count()), Effect::none});
  const std::int64_t before = std::int64_t{record.fixed.raid_disks} - d.reshape->delta_disks;
  if (before <= 0) {
    findings.push_back(refuses_array("delta-disks", "delta_disks",
                                     "delta_disks is " + std::to_string(d.reshape->delta_disks) + " with " +
                                         number(record.fixed.raid_disks) +
                                         " slots: none were left before the reshape"));
  }
  return findings;
}

}  // namespace

template <std::endian Order>
Findings verify(const Record<Order>& record, std::uint64_t member_bytes) {
  const MemberDescription d = describe(record);
  Findings findings = verify_identity(record);
  append(findings, verify_data(record, d));
  append(findings, verify_disks(record, d));
  append(findings, verify_state(record, d));
  append(findings, judge_geometry(d));
  append(findings, judge_areas(d.areas, member_bytes));
  return findings;
}

template Findings verify(const Record<std::endian::little>&, std::uint64_t);
template Findings verify(const Record<std::endian::big>&, std::uint64_t);

}  // namespace mdtool::md0
