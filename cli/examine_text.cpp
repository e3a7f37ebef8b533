// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/examine_text.h"

#include "cli/account_output.h"
#include "cli/compatibility_output.h"
#include "cli/output_text.h"
#include "libraid/geometry/layout.h"

namespace mdtool::cli {

namespace {

std::string member_shape(const MemberDescription& d) {
  std::string text = level_name(d.level).value_or("unknown level " + std::to_string(d.level));
  if (const auto layout = layout_name(d.level, d.layout)) {
    text += " " + *layout;
  }
  text += ", " + std::to_string(d.raid_disks) + " slots";
  return d.chunk.is_zero() ? text : text + ", chunk " + human_size(d.chunk.bytes());
}

std::string at_byte(std::uint64_t offset_bytes) {
  return "at byte " + std::to_string(offset_bytes);
}

std::string role_text(const MemberDescription& d) {
  std::string text(role_name(d.role));
  if (d.slot) {
    text = (d.replacement ? "replacement for slot " : "slot ") + std::to_string(*d.slot) + ", " + text;
  }
  if (d.recovery) {
    text += d.recovery_is_all_ones() ? ", recovered (mark of all ones)"
                                     : ", in sync below sector " + std::to_string(d.recovery_offset.count());
  }
  return text;
}

std::string bitmap_text(const MemberDescription& d) {
  return d.bitmap_offset_bytes ? "internal, " + at_byte(*d.bitmap_offset_bytes) : "none";
}

std::string fields_text(const Fields& fields) {
  std::vector<std::vector<std::string>> rows;
  for (const Field& field : fields) {
    rows.push_back({printable(field.name, terminal_charset()), printable(field_text(field), terminal_charset())});
  }
  return table(rows, 8);
}

std::string superblock_text(const FoundSuperblock& superblock, Detail detail) {
  const MemberDescription& d = superblock.description;
  std::string text = "  superblock " + d.metadata + " " + at_byte(superblock.metadata->offset_bytes()) + "\n";
  text += labelled("array", d.set_uuid.text());
  if (!d.set_name.empty()) {
    text += labelled("name", printable(d.set_name, terminal_charset()));
  }
  text += labelled("shape", member_shape(d));
  if (d.device_uuid) {
    text += labelled("device", d.device_uuid->text());
  }
  text += labelled("role", role_text(d));
  text += labelled("state", std::string(d.clean() ? "clean" : "dirty") + ", events " + std::to_string(d.events));
  text += labelled("created", utc_time(d.ctime_seconds));
  text += labelled("updated", utc_time(d.utime_seconds));
  text += labelled("data", human_size(d.data_size.bytes()) + " " + at_byte(d.data_offset.bytes()));
  text += labelled("bitmap", bitmap_text(d));
  return detail == Detail::every_field ? text + fields_text(superblock.metadata->fields()) : text;
}

std::string device_text(const Candidate& candidate, Detail detail) {
  std::string text = printable(candidate.path, terminal_charset()) + ":\n";
  if (candidate.chosen() == nullptr) {
    text += "  no md superblock in " + human_size(candidate.metadata->size_bytes()) + "\n";
  }
  for (const FoundSuperblock& superblock : candidate.superblocks) {
    text += superblock_text(superblock, detail);
  }
  return text;
}

std::string trust_text(Trust trust) {
  switch (trust) {
    case Trust::absent:
      return "none";
    case Trust::believed:
      return "believed";
    case Trust::stale:
      return "stale: every chunk counts as dirty";
    case Trust::first_use:
      return "never used: its states are not valid yet";
    case Trust::rejected:
      break;
  }
  return "rejected: the kernel would not start the array with it";
}

std::string chunk_text(const BitmapView& view) {
  return std::to_string(view.chunks()) + " chunks of " + human_size(view.chunk().bytes());
}

std::string states_text(const bitmap::StateCounts& counts) {
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < bitmap::chunk_state_count; ++i) {
    rows.push_back(
        {std::string(bitmap::state_name(static_cast<bitmap::ChunkState>(i))), std::to_string(counts.by_state[i])});
  }
  rows.push_back({"invalid", std::to_string(counts.invalid)});
  return table(rows, 8);
}

std::string view_text(const BitmapView& view, Detail detail) {
  if (view.trust == Trust::absent) {
    return labelled("bitmap", "none");
  }
  const std::string version = " (version " + std::to_string(view.version) + ")";
  std::string text;
  if (view.lockless) {
    text = labelled("bitmap", "lockless" + version + ", " + chunk_text(view) + "; " + trust_text(view.trust)) +
           states_text(view.lockless->counts());
  } else if (view.classic) {
    text = labelled("bitmap", "classic" + version + ", " + chunk_text(view) + ", " +
                                  std::to_string(view.classic->set_count()) + " dirty; " + trust_text(view.trust));
  } else {
    text = labelled("bitmap", "unreadable" + version + "; " + trust_text(view.trust));
  }
  if (detail == Detail::every_field && (view.lockless || view.classic)) {
    text += fields_text(view.lockless ? view.lockless->fields() : view.classic->fields());
  }
  for (const std::string& cure : view.cures) {
    text += labelled("cure", cure);
  }
  return text;
}

std::string findings_text(const LocatedFindings& findings) {
  std::string text;
  for (const LocatedFinding& located : findings) {
    text += folded(printable(finding_text(located), terminal_charset()), 6, "    ");
    if (!located.finding.next.empty()) {
      text += folded(printable(located.finding.next, terminal_charset()), 12, "      next: ");
    }
  }
  return text;
}

std::string array_text(const ExaminedArray& examined, Detail detail) {
  const Assembly& array = examined.assembly;
  const MemberDescription& d = array.array();
  std::string text = "array " + d.set_uuid.text() + ":\n";
  if (!d.set_name.empty()) {
    text += labelled("name", printable(d.set_name, terminal_charset()));
  }
  text += labelled("shape", shape_text(array));
  text += labelled("size", human_size(array.array_bytes()) + " (" + std::to_string(array.array_bytes()) + " bytes)");
  text += labelled("state", std::string(array.clean ? "clean" : "dirty") + ", events " + std::to_string(d.events));
  text += view_text(array.bitmap, detail);
  text += member_table_text(array, examined.account);
  text += history_text(array, examined.account);
  if (!examined.findings.empty()) {
    text += "  findings:\n" + findings_text(examined.findings);
  }
  text += choices_text(examined.account);
  text += compatibility_text(examined.compatibility);
  text += labelled("verdict", verdict_name(array.verdict));
  for (const std::string& reason : array.reasons) {
    text += labelled("reason", printable(reason, terminal_charset()));
  }
  return text + next_text(examined.account);
}

}  // namespace

std::string shape_text(const Assembly& array) {
  return member_shape(array.array()) + ", metadata " + array.array().metadata;
}

std::string examine_text(const MemberSet& members, std::span<const ExaminedArray> arrays,
                         const LocatedFindings& findings, Detail detail) {
  std::string text;
  for (const Candidate& candidate : members.candidates()) {
    text += device_text(candidate, detail);
  }
  if (!findings.empty()) {
    text += std::string(text.empty() ? "" : "\n") + "findings about members:\n" + findings_text(findings);
  }
  for (const ExaminedArray& array : arrays) {
    text += (text.empty() ? "" : "\n") + array_text(array, detail);
  }
  return text;
}

}  // namespace mdtool::cli
