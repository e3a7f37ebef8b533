// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/plan_text.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <iterator>

#include "cli/output_text.h"
#include "libraid/assemble/shell_word.h"

namespace mdtool::cli {

namespace {

// How many fields of a patch are printed as text; JSON has them all.
constexpr std::size_t fields_shown = 48;

std::string list_text(std::string_view heading, const std::vector<std::string>& lines) {
  std::string text = lines.empty() ? "" : std::string(heading) + ":\n";
  for (const std::string& line : lines) {
    text += folded(printable(line, terminal_charset()), 4, "  - ");
  }
  return text;
}

// The sentinels in words.
std::string value_text(const Field& field) {
  const auto* number = std::get_if<std::uint64_t>(&field.value);
  if (number != nullptr && (field.name == "utime" || field.name == "ctime")) {
    return utc_time(*number);
  }
  if (number != nullptr && *number == ~std::uint64_t{0}) {
    return field.name == "resync_offset" ? "clean" : "all ones";
  }
  const std::string text = printable(field_text(field), terminal_charset());
  return text.empty() ? "-" : text;
}

bool is_nothing(const Field& field) {
  const bool is_role = field.name.starts_with("dev_roles");
  if (const auto* number = std::get_if<std::uint64_t>(&field.value)) {
    return is_role ? *number == role_spare : *number == 0 && field.name != "resync_offset";
  }
  if (const auto* number = std::get_if<std::int64_t>(&field.value)) {
    return *number == 0;
  }
  return std::get<std::string>(field.value).find_first_not_of('0') == std::string::npos;
}

// Of a structure that comes or goes, what is zero or free says nothing to people.
std::vector<FieldChange> telling(const std::vector<FieldChange>& fields) {
  std::vector<FieldChange> all;
  std::copy_if(fields.begin(), fields.end(), std::back_inserter(all), [](const FieldChange& change) {
    const bool comes = field_text(change.before).empty() && is_nothing(change.after);
    const bool goes = field_text(change.after).empty() && is_nothing(change.before);
    return !comes && !goes;
  });
  return all;
}

std::string member_text(const PlanMember& member) {
  const bool block_device = member.inode == 0;
  std::string text = std::to_string(member.size_bytes) + " bytes, ";
  text += block_device ? "block device " : "inode " + std::to_string(member.inode) + " on device ";
  text += std::to_string(major(member.device)) + ":" + std::to_string(minor(member.device));
  text += member.device_uuid ? ", device UUID " + *member.device_uuid : "";
  return folded(printable(member.path, terminal_charset()) + ": " + text, 4, "  ");
}

std::string patch_text(const EditPatch& patch, std::size_t stage, std::size_t stages) {
  const std::string order = stages > 1 ? ", written in step " + std::to_string(stage + 1) : "";
  return folded(patch.purpose + " at byte " + std::to_string(patch.offset_bytes) + " (" +
                    std::to_string(patch.after.size()) + " bytes)" + order,
                6, "    ") +
         fields_text(patch.fields);
}

std::string patches_text(const EditPlan& plan, std::size_t member) {
  std::string text;
  for (std::size_t stage = 0; stage < plan.stages.size(); ++stage) {
    for (const EditPatch& patch : plan.stages[stage]) {
      text += patch.member == member ? patch_text(patch, stage, plan.stages.size()) : "";
    }
  }
  return text;
}

std::string zeroed_text(const EditPlan& plan, std::size_t member) {
  std::string text;
  for (const ZeroedRange& range : plan.zeroed) {
    if (range.member == member) {
      text += folded("ZEROES from byte " + std::to_string(range.offset_bytes) + " on (" +
                         std::to_string(range.length_bytes) + " bytes): what is there is lost, no undo file has it",
                     6, "    ");
    }
  }
  return text;
}

std::string file_text(const std::optional<PlannedFile>& file) {
  return file ? folded(printable(file->path, terminal_charset()) + ": the file, " +
                           std::to_string(file->content.size()) + " bytes (no undo file tells of it)",
                       4, "  ")
              : "";
}

std::string change_text(const ArrayChange& change) {
  const Assembly& shown = change.after != nullptr ? *change.after : *change.before;
  std::string text = "array " + shown.array().set_uuid.text() + ": ";
  if (change.after == nullptr) {
    return folded(text + "not there any more on these members", 4, "  - ");
  }
  text += verdict_name(change.after->verdict);
  text += change.before == nullptr ? " (new on these members)"
                                   : " (was " + std::string(verdict_name(change.before->verdict)) + ")";
  std::string all = folded(text, 4, "  - ");
  for (const std::string& reason : change.after->reasons) {
    all += folded(printable(reason, terminal_charset()), 6, "      ");
  }
  return all;
}

}  // namespace

std::string fields_text(const std::vector<FieldChange>& every_field) {
  std::vector<std::vector<std::string>> rows;
  const std::vector<FieldChange> fields = telling(every_field);
  for (const FieldChange& change : std::span(fields).first(std::min(fields.size(), fields_shown))) {
    rows.push_back(
        {printable(change.after.name, terminal_charset()), value_text(change.before), "->", value_text(change.after)});
  }
  std::string text = table(rows, 6);
  if (rows.size() < every_field.size()) {
    text += "      and " + std::to_string(every_field.size() - rows.size()) + " fields more (--json lists them all)\n";
  }
  return text;
}

std::string outlook_text(const PlanOutlook& outlook) {
  std::string text = outlook.arrays().empty() ? "" : "After it:\n";
  for (const ArrayChange& change : outlook.arrays()) {
    text += change_text(change);
  }
  return text;
}

std::string try_text(std::span<const std::string> members) {
  std::string command = "mdtool examine --with plan.json";
  for (const std::string& member : members) {
    command += " " + quoted(member);
  }
  return "To try it first, in memory: this command with --dry-run --json > plan.json, then\n" +
         command_text(command, 4, "  ");
}

std::string next_text(const EditPlan& plan) {
  return list_text("Next", plan.next);
}

std::string plan_text(const EditPlan& plan, std::span<const PlanMember> members, const PlanOutlook& outlook) {
  std::string text = list_text("Plan", plan.steps) + list_text("What it costs", plan.costs) + "To be written:\n";
  for (std::size_t i = 0; i < members.size(); ++i) {
    text += member_text(members[i]) + zeroed_text(plan, i) + patches_text(plan, i);
  }
  return text + file_text(plan.file) + outlook_text(outlook) + next_text(plan);
}

}  // namespace mdtool::cli
