// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/lost_superblock.h"

#include <algorithm>
#include <string_view>

#include "libmeta/source.h"
#include "libraid/assemble/account_parts.h"

namespace mdtool {

namespace {

constexpr std::uint64_t block_bytes = 4096;
constexpr std::uint64_t samples = 64;
// Where the header of a GPT begins: the second logical block, of 512 or 4096 bytes.
constexpr std::array<std::uint64_t, 2> gpt_places{512, 4096};
constexpr std::string_view gpt_signature = "EFI PART";

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

bool has_partition_table(const Source& source) {
  return std::any_of(gpt_places.begin(), gpt_places.end(), [&](std::uint64_t place) {
    const auto bytes = read_bytes(source, place, gpt_signature.size());
    return bytes && std::equal(gpt_signature.begin(), gpt_signature.end(), bytes->begin(),
                               [](char c, std::byte b) { return static_cast<std::byte>(c) == b; });
  });
}

// Sector of the superblock that a member of this size would have.
std::optional<std::uint64_t> superblock_sector(const std::string& metadata, std::uint64_t sectors) {
  if (metadata == "1.1") {
    return 0;
  }
  if (metadata == "1.2") {
    return 8;
  }
  if (metadata == "1.0" && sectors >= 24) {
    return (sectors - 16) & ~std::uint64_t{7};
  }
  if (metadata == "0.90" && sectors >= 128) {
    return (sectors & ~std::uint64_t{127}) - 128;
  }
  return std::nullopt;
}

bool holds_data(const Source& source, std::uint64_t first_byte, std::uint64_t length) {
  const std::uint64_t step = std::max(length / samples / block_bytes, std::uint64_t{1}) * block_bytes;
  for (std::uint64_t i = 0; i < samples && i * step + block_bytes <= length; ++i) {
    const auto bytes = read_bytes(source, first_byte + i * step, block_bytes);
    if (bytes && !all_zero(*bytes)) {
      return true;
    }
  }
  return false;
}

std::optional<LostSuperblock::Cause> cause_of(const Candidate& c, const MemberDescription& d) {
  const std::uint64_t sectors = c.metadata->size_bytes() / Sectors::bytes_each;
  const auto place = superblock_sector(d.metadata, sectors);
  const Sectors length = d.size.is_zero() ? d.data_size : d.size;
  const bool behind = d.metadata == "1.1" || d.metadata == "1.2";
  const std::uint64_t end = behind ? sectors : place.value_or(0);
  if (!place || d.data_offset.count() > end || length.count() > end - d.data_offset.count()) {
    return std::nullopt;
  }
  if (has_partition_table(*c.metadata)) {
    return LostSuperblock::Cause::partition_table;
  }
  const auto bytes = read_bytes(*c.metadata, *place * Sectors::bytes_each, Sectors::bytes_each);
  const bool zeroed = bytes && all_zero(*bytes) && holds_data(*c.metadata, d.data_offset.bytes(), length.bytes());
  return zeroed ? std::optional(LostSuperblock::Cause::zeros) : std::nullopt;
}

std::vector<std::uint32_t> lacking(const Assembly& a) {
  std::vector<std::uint32_t> slots;
  for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
    if (a.in_slot(slot) == nullptr) {
      slots.push_back(slot);
    }
  }
  return slots;
}

}  // namespace

std::vector<LostSuperblock> lost_superblocks(std::span<const Candidate> candidates, std::span<const Assembly> arrays) {
  std::vector<LostSuperblock> found;
  std::vector<std::pair<const Assembly*, std::vector<std::uint32_t>>> incomplete;
  for (const Assembly& a : arrays) {
    if (auto slots = lacking(a); !slots.empty()) {
      incomplete.emplace_back(&a, std::move(slots));
    }
  }
  for (const Candidate& c : candidates) {
    if (c.chosen() != nullptr) {
      continue;
    }
    for (const auto& [array, slots] : incomplete) {
      if (const auto cause = cause_of(c, array->array())) {
        found.push_back({&c, array, *cause, slots});
        break;
      }
    }
  }
  return found;
}

Finding finding_of(const LostSuperblock& lost) {
  const MemberDescription& d = lost.array->array();
  const bool table = lost.cause == LostSuperblock::Cause::partition_table;
  const bool one = lost.slots.size() == 1;
  const std::string text = lost.candidate->path +
                           (table ? ": a partition table (GPT) lies where the " + d.metadata +
                                        " superblock of a member would be touched by it"
                                  : ": zeros where a " + d.metadata + " superblock would be, but data behind it") +
                           ", and array " + d.set_uuid.text() + " lacks slot " + slots_text(lost.slots) +
                           ", for which it is large enough: " +
                           (table ? "the superblock was probably overwritten" : "it was probably erased") +
                           ", and most of the data may be whole";
  const std::string path = quoted(lost.candidate->path);
  const std::string next = "try it in memory: mdtool add" + arguments_text(*lost.array, all_members(*lost.array)) +
                           " " + path + " --target " + path + " --slot " + std::to_string(lost.slots.front()) +
                           (one ? "" : " (or another of the missing)") +
                           " --dry-run --json > PLAN, then mdtool copy --with PLAN";
  return {Severity::warning, table ? "gpt-over-superblock" : "superblock-zeroed", "", text, Effect::none, next};
}

}  // namespace mdtool
