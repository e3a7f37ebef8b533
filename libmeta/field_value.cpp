// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/field_value.h"

#include <charconv>
#include <chrono>
#include <numeric>
#include <optional>
#include <vector>

namespace mdtool {
namespace {

constexpr std::uint64_t microseconds_most = (std::uint64_t{1} << (64 - seconds_bits)) - 1;
constexpr std::size_t suggestions_most = 5;
constexpr std::size_t distance_most = 3;  // of names that are taken for a slip
constexpr std::size_t common_prefix_least = 4;

template <typename Number>
std::optional<Number> whole_number(std::string_view text) {
  const bool hexadecimal = text.substr(0, 2) == "0x" || text.substr(0, 2) == "0X";
  const std::string_view digits = hexadecimal ? text.substr(2) : text;
  if (digits.empty() || (hexadecimal && digits.front() == '-')) {
    return std::nullopt;
  }
  Number number{};
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, number, hexadecimal ? 16 : 10);
  return error == std::errc() && stop == end ? std::optional(number) : std::nullopt;
}

// "2026-01-31T23:59:59Z"
std::optional<std::uint64_t> time_of_utc(std::string_view text) {
  constexpr std::string_view pattern = "0000-00-00T00:00:00Z";
  if (text.size() != pattern.size()) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (pattern[i] == '0' ? !digit : text[i] != pattern[i]) {
      return std::nullopt;
    }
  }
  const auto part = [&](std::size_t at, std::size_t length) {
    return *whole_number<unsigned>(text.substr(at, length));
  };
  const std::chrono::year_month_day day{std::chrono::year(static_cast<int>(part(0, 4))), std::chrono::month(part(5, 2)),
                                        std::chrono::day(part(8, 2))};
  if (!day.ok() || part(11, 2) > 23 || part(14, 2) > 59 || part(17, 2) > 59) {
    return std::nullopt;
  }
  const auto time = std::chrono::sys_days(day) + std::chrono::hours(part(11, 2)) + std::chrono::minutes(part(14, 2)) +
                    std::chrono::seconds(part(17, 2));
  const std::int64_t seconds = time.time_since_epoch().count();
  return seconds >= 0 ? std::optional(static_cast<std::uint64_t>(seconds)) : std::nullopt;
}

Error not_in_range(const std::string& least, const std::string& most, std::string_view or_else) {
  return {ErrorKind::usage,
          "the field takes a number from " + least + " to " + most + ", decimal or 0x..." + std::string(or_else)};
}

std::optional<unsigned> digit_value(char c) {
  constexpr std::string_view digits = "0123456789abcdef";
  const char lower = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  const std::size_t at = digits.find(lower);
  return at == std::string_view::npos ? std::nullopt : std::optional(static_cast<unsigned>(at));
}

// Insertions, deletions and replacements from one to the other.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

std::size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

// Names that may have been meant, the nearest first.
std::vector<std::string> near_names(std::string_view name, const Fields& all) {
  std::vector<std::pair<std::size_t, std::string>> near;
  for (const Field& field : all) {
    const std::size_t distance = edit_distance(name, field.name);
    const std::size_t same = common_prefix(name, field.name);
    const bool continued = same == name.size() || same == field.name.size();
    if (distance <= std::min(distance_most, name.size() / 2) || (same >= common_prefix_least && continued)) {
      near.emplace_back(distance, field.name);
    }
  }
  std::stable_sort(near.begin(), near.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  near.resize(std::min(near.size(), suggestions_most));
  std::vector<std::string> names;
  for (auto& [distance, near_name] : near) {
    names.push_back(std::move(near_name));
  }
  return names;
}

}  // namespace

Error unknown_field(std::string_view name, const Fields& all) {
  constexpr std::size_t name_most = 64;  // no field's name comes near
  std::string text = "the superblock has no field \"" + std::string(name.substr(0, name_most)) + "\"";
  std::string_view joint = "; near it: ";
  for (const std::string& near : near_names(name.substr(0, name_most), all)) {
    text.append(joint).append(near);
    joint = ", ";
  }
  return {ErrorKind::usage, std::move(text)};
}

Result<std::uint64_t> unsigned_value(std::string_view text, std::uint64_t most, Unit unit, AllOnes all_ones) {
  if (all_ones == AllOnes::a_state && (text == "clean" || text == "max" || text == "all-ones")) {
    return most;
  }
  std::optional<std::uint64_t> number = whole_number<std::uint64_t>(text);
  if (!number && unit == Unit::seconds) {
    number = time_of_utc(text);
  }
  if (!number || *number > most) {
    return not_in_range("0", std::to_string(most),
                        all_ones == AllOnes::a_state ? ", or clean"
                        : unit == Unit::seconds      ? ", or a time as 2026-01-31T23:59:59Z"
                                                     : "");
  }
  return *number;
}

Result<std::int64_t> signed_value(std::string_view text, std::int64_t least, std::int64_t most) {
  const std::optional<std::int64_t> number = whole_number<std::int64_t>(text);
  if (!number || *number < least || *number > most) {
    return not_in_range(std::to_string(least), std::to_string(most), "");
  }
  return *number;
}

Status set_hex_digits(std::string_view text, std::span<unsigned char> bytes) {
  if (text == "0") {
    std::fill(bytes.begin(), bytes.end(), static_cast<unsigned char>(0));
    return Done{};
  }
  const bool all_digits = std::all_of(text.begin(), text.end(), [](char c) { return digit_value(c).has_value(); });
  if (text.size() != bytes.size() * 2 || !all_digits) {
    return Error{ErrorKind::usage, "the field takes " + std::to_string(bytes.size() * 2) +
                                       " hexadecimal digits, its bytes as they lie on disk, or 0"};
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<unsigned char>(*digit_value(text[2 * i]) << 4U | *digit_value(text[2 * i + 1]));
  }
  return Done{};
}

Status set_characters(std::string_view text, std::span<char> characters) {
  if (text.size() > characters.size() || text.find('\0') != std::string_view::npos) {
    return Error{ErrorKind::usage, "the field takes up to " + std::to_string(characters.size()) +
                                       " bytes of text, not " + std::to_string(text.size())};
  }
  const bool same = std::equal(text.begin(), text.end(), characters.begin()) &&
                    (text.size() == characters.size() || characters[text.size()] == '\0');
  if (!same) {  // else what may lie behind the NUL stays
    std::fill(std::copy(text.begin(), text.end(), characters.begin()), characters.end(), '\0');
  }
  return Done{};
}

void FieldWriter::time(const std::string& name, le64& field) {
  le64 seconds = field & seconds_mask;
  le64 microseconds = field >> seconds_bits;
  if (meant(name)) {
    take(unsigned_value(value_, seconds_mask, Unit::seconds, AllOnes::a_number), seconds);
  }
  if (meant(name + ".microseconds")) {
    take(unsigned_value(value_, microseconds_most, Unit::none, AllOnes::a_number), microseconds);
  }
  field = microseconds << seconds_bits | seconds;
}

void FieldWriter::uuid(std::string_view name, std::array<unsigned char, 16>& field) {
  if (!meant(name)) {
    return;
  }
  const std::optional<Uuid> uuid = Uuid::parse(value_);
  if (uuid) {
    field = uuid->bytes;
  } else {
    status_ = Error{ErrorKind::usage, "the field takes a UUID, 32 hexadecimal digits with : or - between them"};
  }
}

void FieldWriter::characters(std::string_view name, std::span<char> field) {
  if (meant(name)) {
    status_ = set_characters(value_, field);
  }
}

}  // namespace mdtool
