// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/plan_json.h"

#include <algorithm>
#include <array>
#include <variant>

namespace mdtool::cli {

namespace {

constexpr int format_version = 1;
// Far above what plans have; below what would take memory out of proportion to the document.
constexpr std::size_t deepest_nesting = 32;
constexpr std::size_t most_values = 1'000'000;
constexpr std::size_t most_members = 4096;
constexpr std::size_t most_patches = 2048;
constexpr std::string_view hex_digits = "0123456789abcdef";

using ReadJson = nlohmann::json;
using nlohmann::ordered_json;

Error shape_error(const std::string& text) {
  return {ErrorKind::format, "this is no plan of mdtool's (\"mdtool VERB --dry-run --json\" prints one): " + text};
}

// ---- to JSON

std::string hex_of(std::span<const std::byte> bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (std::byte b : bytes) {
    text += hex_digits[std::to_integer<unsigned>(b) >> 4];
    text += hex_digits[std::to_integer<unsigned>(b) & 0xf];
  }
  return text;
}

ordered_json value_json(const Field& field) {
  return std::visit([](const auto& value) { return ordered_json(value); }, field.value);
}

ordered_json patch_json(const EditPatch& patch) {
  ordered_json fields = ordered_json::array();
  for (const FieldChange& change : patch.fields) {
    fields.push_back(
        {{"name", change.after.name}, {"before", value_json(change.before)}, {"after", value_json(change.after)}});
  }
  return {{"member", patch.member},
          {"purpose", patch.purpose},
          {"offset_bytes", patch.offset_bytes},
          {"length_bytes", patch.after.size()},
          {"fields", fields},
          {"before", hex_of(patch.before)},
          {"after", hex_of(patch.after)}};
}

ordered_json member_json(const PlanMember& member) {
  return {{"path", member.path},
          {"file", member.file},
          {"offset_bytes", member.offset_bytes},
          {"size_bytes", member.size_bytes},
          {"device", member.device},
          {"inode", member.inode},
          {"serial", member.serial ? ordered_json(*member.serial) : ordered_json(nullptr)},
          {"device_uuid", member.device_uuid ? ordered_json(*member.device_uuid) : ordered_json(nullptr)}};
}

// ---- from JSON

// Cheap, before anything is allocated for it: how deep the document nests, and how much it may hold.
Status check_proportions(std::string_view document) {
  std::size_t depth = 0;
  std::size_t values = 1;
  bool in_string = false;
  for (std::size_t i = 0; i < document.size(); ++i) {
    const char c = document[i];
    if (in_string) {
      i += c == '\\' ? 1 : 0;
      in_string = c != '"';
      continue;
    }
    in_string = c == '"';
    values += c == ',' || c == '[' || c == '{' ? 1 : 0;
    depth += c == '[' || c == '{' ? 1 : 0;
    depth -= (c == ']' || c == '}') && depth > 0 ? 1 : 0;
    if (depth > deepest_nesting || values > most_values) {
      return shape_error("it nests too deep, or holds too much");
    }
  }
  return Done{};
}

const ReadJson* find(const ReadJson& object, const char* key) {
  const auto at = object.is_object() ? object.find(key) : object.end();
  return at == object.end() ? nullptr : &*at;
}

Result<std::uint64_t> number_in(const ReadJson& object, const char* key) {
  const ReadJson* value = find(object, key);
  if (value == nullptr || !value->is_number_unsigned()) {
    return shape_error("\"" + std::string(key) + "\" is missing, or no whole number");
  }
  return value->get<std::uint64_t>();
}

Result<std::string> text_in(const ReadJson& object, const char* key) {
  const ReadJson* value = find(object, key);
  if (value == nullptr || !value->is_string()) {
    return shape_error("\"" + std::string(key) + "\" is missing, or no text");
  }
  return value->get<std::string>();
}

Result<const ReadJson*> list_in(const ReadJson& object, const char* key) {
  const ReadJson* value = find(object, key);
  if (value == nullptr || !value->is_array()) {
    return shape_error("\"" + std::string(key) + "\" is missing, or no list");
  }
  return value;
}

Result<std::vector<std::byte>> bytes_in(const ReadJson& object, const char* key) {
  TRY(text, text_in(object, key));
  std::vector<std::byte> bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    const std::size_t high = hex_digits.find(text[i]);
    const std::size_t low = hex_digits.find(text[i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) {
      return shape_error("\"" + std::string(key) + "\" holds other characters than 0-9 and a-f");
    }
    bytes.push_back(static_cast<std::byte>(high << 4 | low));
  }
  if (text.size() % 2 != 0) {
    return shape_error("\"" + std::string(key) + "\" ends within a byte");
  }
  return bytes;
}

Result<std::vector<std::string>> texts_in(const ReadJson& object, const char* key) {
  TRY(list, list_in(object, key));
  std::vector<std::string> texts;
  for (const ReadJson& item : *list) {
    if (!item.is_string()) {
      return shape_error("\"" + std::string(key) + "\" holds something that is no text");
    }
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

Result<PlanMember> member_from(const ReadJson& json) {
  TRY(path, text_in(json, "path"));
  TRY(file, text_in(json, "file"));
  TRY(offset, number_in(json, "offset_bytes"));
  TRY(size, number_in(json, "size_bytes"));
  TRY(device, number_in(json, "device"));
  TRY(inode, number_in(json, "inode"));
  return PlanMember{path, file, offset, size, device, inode, std::nullopt, std::nullopt};
}

// The fields are for people: what is tried are the bytes.
Result<EditPatch> patch_from(const ReadJson& json, std::span<const PlanMember> members) {
  TRY(member, number_in(json, "member"));
  TRY(purpose, text_in(json, "purpose"));
  TRY(offset, number_in(json, "offset_bytes"));
  TRY(length, number_in(json, "length_bytes"));
  TRY(before, bytes_in(json, "before"));
  TRY(after, bytes_in(json, "after"));
  if (member >= members.size()) {
    return shape_error("a patch is for member " + std::to_string(member) + " of " + std::to_string(members.size()));
  }
  if (before.size() != length || after.size() != length) {
    return shape_error("a patch is not as long as it says");
  }
  if (!fits(offset, length, members[member].size_bytes)) {
    return shape_error("a patch of " + std::to_string(length) + " bytes at byte " + std::to_string(offset) +
                       " lies beyond the end of " + members[member].path);
  }
  return EditPatch{member, purpose, offset, std::move(before), std::move(after), {}};
}

Result<std::vector<PlanMember>> members_from(const ReadJson& plan) {
  TRY(list, list_in(plan, "members"));
  if (list->size() > most_members) {
    return shape_error("it has " + std::to_string(list->size()) + " members");
  }
  std::vector<PlanMember> members;
  for (const ReadJson& json : *list) {
    TRY(member, member_from(json));
    members.push_back(std::move(member));
  }
  return members;
}

// Plans that were made before there were any have no such list.
Result<std::vector<ZeroedRange>> zeroed_from(const ReadJson& plan, std::span<const PlanMember> members) {
  std::vector<ZeroedRange> zeroed;
  if (find(plan, "zeroed") == nullptr) {
    return zeroed;
  }
  TRY(list, list_in(plan, "zeroed"));
  if (list->size() > most_members) {
    return shape_error("it zeroes " + std::to_string(list->size()) + " ranges");
  }
  for (const ReadJson& json : *list) {
    TRY(member, number_in(json, "member"));
    TRY(offset, number_in(json, "offset_bytes"));
    TRY(length, number_in(json, "length_bytes"));
    if (member >= members.size() || !fits(offset, length, members[member].size_bytes)) {
      return shape_error("it zeroes what is on none of its members");
    }
    zeroed.push_back({member, offset, length});
  }
  return zeroed;
}

Result<std::vector<EditStage>> stages_from(const ReadJson& plan, std::span<const PlanMember> members) {
  TRY(list, list_in(plan, "stages"));
  std::vector<EditStage> stages;
  std::size_t patches = 0;
  for (const ReadJson& stage : *list) {
    if (!stage.is_array()) {
      return shape_error("a stage is no list");
    }
    patches += stage.size();
    if (patches > most_patches) {
      return shape_error("it has more than " + std::to_string(most_patches) + " patches");
    }
    stages.emplace_back();
    for (const ReadJson& json : stage) {
      TRY(patch, patch_from(json, members));
      stages.back().push_back(std::move(patch));
    }
  }
  return stages;
}

}  // namespace

ordered_json plan_json(const EditPlan& plan, std::span<const PlanMember> members) {
  ordered_json json = ordered_json::object();
  json["steps"] = plan.steps;
  json["costs"] = plan.costs;
  json["next"] = plan.next;
  json["members"] = ordered_json::array();
  for (const PlanMember& member : members) {
    json["members"].push_back(member_json(member));
  }
  json["zeroed"] = ordered_json::array();
  for (const ZeroedRange& range : plan.zeroed) {
    json["zeroed"].push_back(
        {{"member", range.member}, {"offset_bytes", range.offset_bytes}, {"length_bytes", range.length_bytes}});
  }
  json["file"] = plan.file ? ordered_json{{"path", plan.file->path}, {"length_bytes", plan.file->content.size()}}
                           : ordered_json(nullptr);
  json["stages"] = ordered_json::array();
  for (const EditStage& stage : plan.stages) {
    ordered_json patches = ordered_json::array();
    for (const EditPatch& patch : stage) {
      patches.push_back(patch_json(patch));
    }
    json["stages"].push_back(std::move(patches));
  }
  return json;
}

Result<PlanFile> parse_plan(std::string_view document) {
  if (document.size() > largest_plan_bytes) {
    return shape_error("it is larger than " + std::to_string(largest_plan_bytes) + " bytes");
  }
  TRY(checked, check_proportions(document));
  const ReadJson json = ReadJson::parse(document, nullptr, false);
  if (json.is_discarded() || !json.is_object()) {
    return shape_error("it is no JSON document");
  }
  const ReadJson* envelope = find(json, "mdtool");
  const ReadJson* plan = find(json, "plan");
  if (envelope == nullptr || plan == nullptr) {
    return shape_error("it has no \"mdtool\", or no \"plan\"");
  }
  TRY(format, number_in(*envelope, "format"));
  if (format != format_version) {
    return shape_error("its format is " + std::to_string(format) + ", and this mdtool knows " +
                       std::to_string(format_version));
  }
  PlanFile file;
  TRY(members, members_from(*plan));
  TRY(zeroed, zeroed_from(*plan, members));
  TRY(stages, stages_from(*plan, members));
  TRY(steps, texts_in(*plan, "steps"));
  TRY(costs, texts_in(*plan, "costs"));
  TRY(next, texts_in(*plan, "next"));
  file.members = std::move(members);
  file.edit.zeroed = std::move(zeroed);
  file.edit.stages = std::move(stages);
  file.edit.steps = std::move(steps);
  file.edit.costs = std::move(costs);
  file.edit.next = std::move(next);
  return file;
}

}  // namespace mdtool::cli
