// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/create_words.h"

#include <array>
#include <charconv>
#include <limits>
#include <span>

namespace mdtool::cli {

namespace {

struct Word {
  std::string_view text;
  std::int64_t code;
};

// maps.c of mdadm.
constexpr std::array level_words{
    Word{"linear", -1}, Word{"raid0", 0},  Word{"0", 0},     Word{"stripe", 0},  Word{"raid1", 1},
    Word{"1", 1},       Word{"mirror", 1}, Word{"raid4", 4}, Word{"4", 4},       Word{"raid5", 5},
    Word{"5", 5},       Word{"raid6", 6},  Word{"6", 6},     Word{"raid10", 10}, Word{"10", 10},
};

constexpr std::array raid0_layouts{Word{"original", 1}, Word{"alternate", 2}};

constexpr std::array raid5_layouts{
    Word{"left-asymmetric", 0}, Word{"la", 0},           Word{"right-asymmetric", 1}, Word{"ra", 1},
    Word{"left-symmetric", 2},  Word{"ls", 2},           Word{"right-symmetric", 3},  Word{"rs", 3},
    Word{"default", 2},         Word{"parity-first", 4}, Word{"parity-last", 5},
};

constexpr std::array raid6_only_layouts{
    Word{"ddf-zero-restart", 8},   Word{"ddf-N-restart", 9},       Word{"ddf-N-continue", 10},
    Word{"left-asymmetric-6", 16}, Word{"right-asymmetric-6", 17}, Word{"left-symmetric-6", 18},
    Word{"right-symmetric-6", 19}, Word{"parity-first-6", 20},
};

constexpr std::array metadata_words{
    Word{"0", 0},   Word{"0.9", 0}, Word{"0.90", 0}, Word{"1.0", 1},
    Word{"1.1", 2}, Word{"1", 3},   Word{"1.2", 3},  Word{"default", 3},
};
constexpr std::array<std::string_view, 4> metadata_names{"0.90", "1.0", "1.1", "1.2"};

std::optional<std::int64_t> code_of(std::span<const Word> words, std::string_view text) {
  for (const Word& word : words) {
    if (word.text == text) {
      return word.code;
    }
  }
  return std::nullopt;
}

std::string listed(std::span<const Word> words) {
  std::string text;
  for (const Word& word : words) {
    text += (text.empty() ? "" : ", ") + std::string(word.text);
  }
  return text;
}

Error unknown(std::string_view option, std::string_view word, const std::string& expected) {
  return {ErrorKind::usage, std::string(option) + "=" + std::string(word) + ": expected " + expected};
}

// parse_layout_10() of mdadm: "n2", "o3", "f2".
std::optional<std::uint32_t> raid10_layout(std::string_view word) {
  constexpr std::uint32_t most_copies = 32;
  constexpr std::uint32_t offset_bit = 1U << 16;
  const auto copies = word.empty() ? std::nullopt : number_of(word.substr(1));
  if (!copies || *copies == 0 || *copies > most_copies) {
    return std::nullopt;
  }
  const auto count = static_cast<std::uint32_t>(*copies);
  switch (word.front()) {
    case 'n':
      return (1U << 8) | count;
    case 'f':
      return (count << 8) | 1U;
    case 'o':
      return offset_bit | (count << 8) | 1U;
    default:
      return std::nullopt;
  }
}

unsigned shift_of(char suffix) {
  constexpr std::string_view suffixes = "KMGT";
  return 1 + 10 * static_cast<unsigned>(suffixes.find(suffix));
}

}  // namespace

std::optional<std::uint64_t> number_of(std::string_view digits) {
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool whole = !digits.empty() && parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size();
  return whole ? std::optional(number) : std::nullopt;
}

Result<std::int32_t> level_of(std::string_view word) {
  const auto code = code_of(level_words, word);
  return code ? Result<std::int32_t>(static_cast<std::int32_t>(*code)) : unknown("--level", word, listed(level_words));
}

Result<std::uint32_t> layout_of(std::int32_t level, std::string_view word) {
  const auto digits = number_of(word);
  if (digits && *digits <= std::numeric_limits<std::uint32_t>::max()) {
    return static_cast<std::uint32_t>(*digits);
  }
  if (level == 10) {
    const auto layout = raid10_layout(word);
    return layout ? Result<std::uint32_t>(*layout)
                  : unknown("--layout", word, "n, f or o with a number of copies, as n2, or md's number");
  }
  auto code = code_of(level == 0 ? std::span<const Word>(raid0_layouts) : raid5_layouts, word);
  std::string expected = level == 0 ? listed(raid0_layouts) : listed(raid5_layouts);
  if (level == 6) {
    code = code ? code : code_of(raid6_only_layouts, word);
    expected += ", " + listed(raid6_only_layouts);
  }
  return code ? Result<std::uint32_t>(static_cast<std::uint32_t>(*code)) : unknown("--layout", word, expected);
}

Result<std::string> metadata_of(std::string_view word) {
  const auto code = code_of(metadata_words, word);
  return code ? Result<std::string>(std::string(metadata_names[static_cast<std::size_t>(*code)]))
              : unknown("--metadata", word, "0.90, 1.0, 1.1 or 1.2");
}

Result<Sectors> sectors_of(std::string_view option, std::string_view word) {
  std::string_view digits = word;
  unsigned shift = shift_of('K');
  const char last = digits.empty() ? '\0' : digits.back();
  if (last == 's') {
    shift = 0;
    digits.remove_suffix(1);
  } else if (last == 'K' || last == 'M' || last == 'G' || last == 'T') {
    shift = shift_of(last);
    digits.remove_suffix(1);
  }
  const auto number = number_of(digits);
  const std::uint64_t most = std::numeric_limits<std::int64_t>::max() / Sectors::bytes_each;
  if (!number || *number == 0 || *number > most >> shift) {
    return unknown(option, word, "a size above 0 in KiB, or with K, M, G, T, or s for sectors");
  }
  return Sectors(*number << shift);
}

}  // namespace mdtool::cli
