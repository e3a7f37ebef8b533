// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/account_output.h"

#include <algorithm>
#include <map>

#include "cli/output_text.h"
#include "libraid/assemble/open_array.h"

namespace mdtool::cli {

namespace {

constexpr std::size_t columns = 80;
constexpr std::size_t table_indent = 4;
constexpr std::uint32_t most_slots_in_a_column = 16;
constexpr std::size_t letters_in_a_line = 64;

std::string shown(std::string_view text) {
  return printable(text, terminal_charset());
}

std::string bad_blocks_text(const Member& member, const BitmapView& view) {
  const auto ranges = bad_ranges(member, view);
  if (!ranges) {
    return "unreadable";
  }
  std::uint64_t sectors = 0;
  for (const SectorRange& range : *ranges) {
    sectors += range.count.count();
  }
  return sectors == 0 ? "-" : std::to_string(sectors) + " sectors";
}

std::string sync_mark_text(const MemberDescription& d) {
  return !d.recovery ? "-" : d.recovery_is_all_ones() ? "all" : std::to_string(d.recovery_offset.count());
}

using Cells = std::vector<std::string>;

Cells member_cells(const Assembly& array, const Member& member, const Evidence& evidence) {
  const std::string slot = member.slot ? std::to_string(*member.slot) : "-";
  if (member.candidate == nullptr) {
    return {slot, std::string(role_name(member.role)), "missing", "-", "-", "-", "-", "-", "-"};
  }
  const MemberDescription& d = member.description();
  return {slot,
          std::string(role_name(member.role)),
          std::string(member_state_name(member.state)),
          std::to_string(d.events),
          utc_time(d.utime_seconds),
          sync_mark_text(d),
          evidence.bitmap_events ? std::to_string(*evidence.bitmap_events) : "-",
          bad_blocks_text(member, array.bitmap),
          array.slots() <= most_slots_in_a_column ? evidence.view : "-"};
}

void drop_column(std::vector<Cells>& rows, std::string_view heading) {
  const auto at = std::find(rows.front().begin(), rows.front().end(), heading) - rows.front().begin();
  for (Cells& row : rows) {
    if (static_cast<std::size_t>(at) < row.size()) {
      row.erase(row.begin() + at);
    }
  }
}

// Columns that say nothing for anybody are left out.
void drop_empty_columns(std::vector<Cells>& rows) {
  for (std::size_t column = rows.front().size(); column-- > 0;) {
    const bool empty = std::all_of(rows.begin() + 1, rows.end(), [&](const Cells& row) { return row[column] == "-"; });
    const std::string heading = rows.front()[column];
    if (empty && heading != "slot") {
      drop_column(rows, heading);
    }
  }
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

bool all_fit(const std::vector<std::string>& lines) {
  return std::all_of(lines.begin(), lines.end(), [](const std::string& line) { return line.size() <= columns; });
}

std::string table_with_paths(const std::vector<Cells>& rows, const Cells& paths) {
  std::vector<Cells> wide = rows;
  for (std::size_t i = 0; i < wide.size(); ++i) {
    wide[i].push_back(paths[i]);
  }
  const std::string text = table(wide, table_indent);
  if (all_fit(lines_of(text))) {
    return text;
  }
  const std::vector<std::string> lines = lines_of(table(rows, table_indent));
  std::string out;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    out += lines[i] + "\n";
    if (i > 0 && paths[i] != "-") {
      out += std::string(table_indent + 2, ' ') + paths[i] + "\n";
    }
  }
  return out;
}

// More slots than a column holds: each view once, with those who have it.
std::string views_text(const Assembly& array, const Account& account) {
  std::map<std::string, std::string> seen_by;
  for (std::size_t i = 0; i < array.members.size(); ++i) {
    if (const Member& m = array.members[i]; m.candidate != nullptr) {
      std::string& names = seen_by[account.evidence[i].view];
      names += (names.empty() ? "" : " ") + shown(m.candidate->path);
    }
  }
  std::string text;
  for (const auto& [view, names] : seen_by) {
    text += folded(names, table_indent + 2, std::string(table_indent, ' ') + "as seen by");
    for (std::size_t at = 0; at < view.size(); at += letters_in_a_line) {
      text += std::string(table_indent + 2, ' ') + view.substr(at, letters_in_a_line) + "\n";
    }
  }
  return text;
}

std::string where(const Assembly& array, std::size_t member) {
  const Member& m = array.members[member];
  const auto& slot = m.description().slot;
  return m.candidate->path + (slot ? " (slot " + std::to_string(*slot) + ")" : std::string());
}

std::string_view source_name(Departure::Source source) {
  switch (source) {
    case Departure::Source::bitmap:
      return "bitmap";
    case Departure::Source::standstill:
      return "standstill";
    case Departure::Source::events:
      return "events";
    case Departure::Source::none:
      break;
  }
  return "none";
}

Json paths_json(const Assembly& array, const std::vector<std::size_t>& members) {
  Json json = Json::array();
  for (std::size_t i : members) {
    json.push_back(array.members[i].candidate->path);
  }
  return json;
}

Json json_of(const Assembly& array, const Departure& departure) {
  const auto& slot = array.members[departure.member].description().slot;
  Json json = Json::object();
  json["path"] = array.members[departure.member].candidate->path;
  json["slot"] = slot ? Json(*slot) : Json(nullptr);
  json["events_behind"] = departure.events_behind;
  json["left"] = utc_time(departure.left_seconds);
  json["last"] = utc_time(departure.last_seconds);
  json["stale_bytes"] = departure.stale_bytes;
  json["source"] = source_name(departure.source);
  json["slot_taken"] = departure.slot_taken;
  json["text"] = departure.text;
  return json;
}

Json json_of(const Assembly& array, const Choice& choice) {
  Json json = Json::object();
  json["id"] = choice.id;
  json["what"] = choice.what;
  json["cost"] = choice.cost;
  json["command"] = choice.command.empty() ? Json(nullptr) : Json(choice.command);
  json["members"] = paths_json(array, choice.members);
  json["stale_bytes"] = choice.stale_bytes ? Json(*choice.stale_bytes) : Json(nullptr);
  return json;
}

}  // namespace

std::string member_table_text(const Assembly& array, const Account& account) {
  std::vector<Cells> rows{{"slot", "role", "state", "events", "updated", "mark", "bitmap", "bad", "view"}};
  Cells paths{"member"};
  std::string reasons;
  for (std::size_t i = 0; i < array.members.size(); ++i) {
    const Member& member = array.members[i];
    rows.push_back(member_cells(array, member, account.evidence[i]));
    paths.push_back(member.candidate == nullptr ? "-" : shown(member.candidate->path));
    if (member.candidate != nullptr && !member.reason.empty()) {
      reasons += folded(shown(member.candidate->path + ": " + member.reason), 6, "    ");
    }
  }
  drop_empty_columns(rows);
  const bool views_below = array.slots() > most_slots_in_a_column || !all_fit(lines_of(table(rows, table_indent)));
  if (views_below) {
    drop_column(rows, "view");
  }
  return "  members:\n" + table_with_paths(rows, paths) + (views_below ? views_text(array, account) : "") + reasons;
}

std::string history_text(const Assembly& array, const Account& account) {
  std::string text;
  for (const Departure& left : account.departures) {
    text += folded(utc_time(left.left_seconds) + " " + shown(where(array, left.member) + " " + left.text), 6, "    ");
  }
  return text.empty() ? text : "  history, the last to leave first:\n" + text;
}

std::string choices_text(const Account& account) {
  std::string text = "  choices, the cheapest first:\n";
  for (const Choice& choice : account.choices) {
    text += folded(shown(choice.what) + " [" + choice.id + "]", 6, "    ");
    text += folded(shown(choice.cost), 12, "      cost: ");
    if (!choice.command.empty()) {
      text += command_text(choice.command, 10, "        ");
    }
  }
  return account.choices.empty() ? "" : text;
}

std::string next_text(const Account& account) {
  if (!account.halves.empty()) {
    return labelled("next", "decide which side to keep: see the choices; nothing decides it by itself");
  }
  if (account.choices.empty()) {
    return "";
  }
  const Choice& first = account.choices.front();
  return labelled("next", shown(first.what) + (first.command.empty() ? "" : ":")) +
         (first.command.empty() ? "" : command_text(first.command, 21, std::string(19, ' ')));
}

void add_account(Json& json, const Assembly& array, const Account& account) {
  json["history"] = Json::array();
  for (const Departure& departure : account.departures) {
    json["history"].push_back(json_of(array, departure));
  }
  json["choices"] = Json::array();
  for (const Choice& choice : account.choices) {
    json["choices"].push_back(json_of(array, choice));
  }
  json["halves"] = Json::array();
  for (const auto& half : account.halves) {
    json["halves"].push_back(paths_json(array, half));
  }
}

}  // namespace mdtool::cli
