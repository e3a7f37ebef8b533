// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/output_text.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <variant>

namespace mdtool::cli {

namespace {

constexpr std::size_t columns = 80;
constexpr std::size_t label_indent = 4;
constexpr std::size_t label_width = 15;
constexpr std::uint64_t last_second_of_9999 = 253402300799;
constexpr unsigned char first_printable = 0x20;
constexpr unsigned char delete_character = 0x7f;

std::string escaped(unsigned char byte) {
  constexpr std::string_view digits = "0123456789abcdef";
  return {'\\', 'x', digits[byte >> 4], digits[byte & 0xf]};
}

// The length of the UTF-8 sequence at the start of `text`: 0 if it is invalid or a control character.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) {
    return 0;
  }
  std::uint32_t code = first & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) {
      return 0;
    }
    code = (code << 6) | (byte(i) & 0x3fU);
  }
  constexpr std::array<std::uint32_t, 5> smallest{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  const bool control = code < 0xa0;  // C1
  const bool reorders = (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
  return code < smallest[length] || code > 0x10ffff || surrogate || control || reorders ? 0 : length;
}

enum class Newlines { escape, keep };

std::string filtered(std::string_view text, Charset charset, Newlines newlines) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text[0]);
    std::size_t length = 1;
    const bool plain =
        (byte >= first_printable && byte < delete_character) || (byte == '\n' && newlines == Newlines::keep);
    if (!plain && byte > delete_character && charset == Charset::utf8) {
      length = sequence_length(text);
    } else if (!plain) {
      length = 0;
    }
    out += length == 0 ? escaped(byte) : std::string(text.substr(0, length));
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

// Characters, not bytes: the filter has let through whole sequences only.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string padded(std::string_view text, std::size_t to) {
  std::string out(text);
  out.append(to > width(text) ? to - width(text) : 0, ' ');
  return out;
}

std::string hexadecimal(std::uint64_t value) {
  std::array<char, 20> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "0x%llx", static_cast<unsigned long long>(value));
  return buffer.data();
}

std::string_view unit_suffix(Unit unit) {
  switch (unit) {
    case Unit::sectors:
      return " sectors";
    case Unit::bytes:
      return " bytes";
    case Unit::kibibytes:
      return " KiB";
    case Unit::seconds:
      return " s";
    case Unit::none:
    case Unit::hexadecimal:
      break;
  }
  return "";
}

// Words as a shell sees them: blanks within single quotes do not end one.
std::vector<std::string> words_of(const std::string& command) {
  std::vector<std::string> words(1);
  bool quoted = false;
  for (char c : command) {
    quoted = c == '\'' ? !quoted : quoted;
    if (c == ' ' && !quoted) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

}  // namespace

Charset terminal_charset() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') {
      std::string upper(value);
      std::transform(upper.begin(), upper.end(), upper.begin(),
                     [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
      const bool utf8 = upper.find("UTF-8") != std::string::npos || upper.find("UTF8") != std::string::npos;
      return utf8 ? Charset::utf8 : Charset::ascii;
    }
  }
  return Charset::ascii;
}

std::string printable(std::string_view text, Charset charset) {
  return filtered(text, charset, Newlines::escape);
}

std::string printable_lines(std::string_view text, Charset charset) {
  return filtered(text, charset, Newlines::keep);
}

std::string human_size(std::uint64_t bytes) {
  constexpr std::array<const char*, 7> units{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  auto value = static_cast<double>(bytes);
  for (; value >= 1024.0 && unit + 1 < units.size(); ++unit) {
    value /= 1024.0;
  }
  const bool whole = value == static_cast<double>(static_cast<std::uint64_t>(value));
  std::array<char, 48> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.*f %s", whole ? 0 : 2, value, units[unit]);
  return buffer.data();
}

std::string utc_time(std::uint64_t seconds) {
  if (seconds > last_second_of_9999) {
    return "@" + std::to_string(seconds);
  }
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  std::array<char, 32> buffer{};
  gmtime_r(&time, &parts);
  std::strftime(buffer.data(), buffer.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return buffer.data();
}

std::string folded(std::string_view text, std::size_t indent, std::string_view first) {
  std::string out;
  std::string line(first);
  bool line_has_word = false;
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    if (line_has_word && width(line) + 1 + width(word) > columns) {
      out += line + "\n";
      line.assign(indent, ' ');
      line_has_word = false;
    }
    line.append(line_has_word ? 1 : 0, ' ').append(word);
    line_has_word = true;
    text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
  }
  return out + line + "\n";
}

std::string labelled(std::string_view label, std::string_view value) {
  return folded(value, label_indent + label_width, std::string(label_indent, ' ') + padded(label, label_width));
}

std::string command_text(const std::string& command, std::size_t indent, std::string_view first) {
  std::string text;
  std::string line(first);
  bool line_has_word = false;
  for (const std::string& word : words_of(command)) {
    const std::string safe = printable(word, terminal_charset());
    if (line_has_word && line.size() + safe.size() + 3 > columns) {
      text += line + " \\\n";
      line.assign(indent, ' ');
      line_has_word = false;
    }
    line += (line_has_word ? " " : "") + safe;
    line_has_word = true;
  }
  return text + line + "\n";
}

std::string table(std::span<const std::vector<std::string>> rows, std::size_t indent) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], width(row[i]));
    }
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line(indent, ' ');
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += i + 1 == row.size() ? row[i] : padded(row[i], widths[i] + 2);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string field_text(const Field& field) {
  if (const auto* text = std::get_if<std::string>(&field.value)) {
    return *text;
  }
  if (const auto* negative = std::get_if<std::int64_t>(&field.value)) {
    return std::to_string(*negative) + std::string(unit_suffix(field.unit));
  }
  const auto value = std::get<std::uint64_t>(field.value);
  if (field.unit == Unit::hexadecimal) {
    return hexadecimal(value);
  }
  return std::to_string(value) + std::string(unit_suffix(field.unit));
}

std::string plan_question(const LocatedFindings& findings, const std::string& plan) {
  std::string text;
  for (const LocatedFinding& finding : findings) {
    if (finding.finding.severity != Severity::note) {
      text += folded(printable(finding_text(finding), terminal_charset()), 2, "");
    }
  }
  return text + plan + "Go on?";
}

std::string_view severity_name(Severity severity) {
  switch (severity) {
    case Severity::note:
      return "note";
    case Severity::warning:
      return "warning";
    case Severity::problem:
      break;
  }
  return "problem";
}

std::string finding_text(const LocatedFinding& located) {
  const Finding& finding = located.finding;
  std::string text = std::string(severity_name(finding.severity)) + ": ";
  const bool names_path = finding.text.compare(0, located.path.size(), located.path) == 0;
  if (!located.path.empty() && !names_path) {
    text += located.path + ": ";
  }
  return text + finding.text + " [" + finding.id + "]";
}

}  // namespace mdtool::cli
