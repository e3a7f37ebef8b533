// SPDX-License-Identifier: GPL-2.0-or-later
// The input is a list of edits to the metadata of a real array: everything that is made of the members afterwards must
// be bounded and keep its promises. Checksums are put right again in most cases, so that what is behind them is
// reached.
//
// First byte: the array. Second: bit 0, edit all members alike; bits 1-3 all set, leave the checksums wrong. Then edits
// of 8 bytes: member, area, offset (2, little-endian), what to do, operands (3).
#include <map>
#include <memory>

#include "libmeta/checksum.h"
#include "tests/fuzz/fixture_members.h"
#include "tests/fuzz/outlook.h"
#include "tests/fuzz/superblock_fuzz.h"

namespace mdtool::fuzz {
namespace {

constexpr std::size_t edit_bytes = 8;
constexpr std::size_t most_edits = 64;

constexpr std::string_view arrays[] = {
    "1.2-raid5-4-lockless-mixed-crash", "0.90-raid5-3-classic-crash",  "1.2-raid5-4-none-dirty-degraded",
    "1.0-raid5-5-classic-clean",        "1.2-raid5-3-journal-crash",   "1.2-raid5-3-ppl-crash",
    "1.2-raid6-5-lockless-unwritten",   "1.2-raid6-5-none-bad-blocks", "1.2-raid5-4-none-reshape",
    "1.2-raid6-5-classic-recovering",   "1.1-raid5-3-classic-crash",   "1.2-raid10-4-none",
    "1.2-raid5-4-lockless-lazy-crash",  "1.2-raid5-3-none-replacement"};

const std::vector<MemberImage>& images_of(std::string_view name) {
  static std::map<std::string_view, std::vector<MemberImage>> loaded;
  const auto [place, is_new] = loaded.try_emplace(name);
  if (is_new) {
    place->second = load_fixture(std::string(name));
  }
  return place->second;
}

// The superblock as it is in the fixture, and where its member keeps things.
struct Place {
  const Format* format = nullptr;
  std::uint64_t offset_bytes = 0;
  MemberDescription description;
};

Place place_on(const Source& member) {
  for (const Format* format : all_formats()) {
    const std::vector<std::uint64_t> offsets = format->probe(member).value();
    if (!offsets.empty()) {
      return {format, offsets.front(), (*format->read(member, offsets.front()))->describe()};
    }
  }
  return {};
}

struct Edit {
  std::uint8_t member, area;
  std::uint16_t offset;
  std::uint8_t action;
  std::uint8_t operands[3];
};

// Where an edit of this area goes on a member with these places.
std::uint64_t target(const Place& place, const Edit& edit) {
  const MemberDescription& d = place.description;
  switch (edit.area % 8) {
    case 0:
      return d.bitmap_offset_bytes.value_or(place.offset_bytes) + edit.offset % 256;
    case 1:
      return d.bitmap_offset_bytes.value_or(place.offset_bytes) + edit.offset % 8192;
    case 2:
      return (d.bad_block_log ? d.bad_block_log->offset_bytes : place.offset_bytes) + edit.offset % 4096;
    case 3:
      return (d.ppl ? d.ppl->offset_bytes : d.data_offset.bytes()) + edit.offset % 16384;
    case 4:
      return place.offset_bytes + edit.offset % 4096;
    default:  // the part with all the numbers
      return place.offset_bytes + edit.offset % 256;
  }
}

constexpr std::uint64_t interesting[] = {0,          1,          7,           8,          0x7f,           0xff,
                                         0x100,      0x7fff,     0x8000,      0xfffd,     0xfffe,         0xffff,
                                         0x10000,    0x7fffffff, 0x80000000,  0xffffffff, 0x100000000,    ~0ULL,
                                         ~0ULL >> 1, ~0ULL << 9, ~0ULL >> 10, 1ULL << 54, 0xfffffffffffe, 3};

void apply(ChangedMember& member, const Place& place, const Edit& edit) {
  const std::uint64_t at = target(place, edit);
  std::vector<std::byte> bytes;
  switch (edit.action % 8) {
    case 0:
      member.flip(at, static_cast<std::byte>(edit.operands[0] | 1));
      return;
    case 1:
      member.truncate((std::uint64_t{edit.offset} << 8 | edit.operands[0]) << (edit.operands[1] % 12));
      return;
    case 2:
      bytes.assign(edit.operands[1] + std::size_t{1}, static_cast<std::byte>(edit.operands[0]));
      member.write(at, std::move(bytes));
      return;
    case 3:
      for (std::uint8_t operand : edit.operands) {
        bytes.push_back(static_cast<std::byte>(operand));
      }
      member.write(at, std::move(bytes));
      return;
    default: {
      const std::size_t width = std::size_t{2} << (edit.operands[1] % 3);
      const std::uint64_t value = interesting[edit.operands[0] % std::size(interesting)] + edit.operands[2] % 3 - 1;
      for (std::size_t i = 0; i < width; ++i) {
        bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
      }
      member.write(at / width * width, std::move(bytes));
    }
  }
}

void put_checksum_right(ChangedMember& member, const Place& place) {
  if (const auto metadata = place.format->read(member, place.offset_bytes)) {
    member.write(place.offset_bytes, (*metadata)->changed({})->encode());
  }
}

void run(std::span<const std::uint8_t> input) {
  const std::vector<MemberImage>& images = images_of(arrays[input[0] % std::size(arrays)]);
  const bool all_alike = (input[1] & 1) != 0;
  const bool checksums_right = (input[1] & 0xe) != 0xe;
  std::vector<ChangedMember> members(images.begin(), images.end());
  std::vector<Place> places;
  for (const ChangedMember& member : members) {
    places.push_back(place_on(member));
  }
  input = input.subspan(2);
  for (std::size_t i = 0; i < most_edits && input.size() >= edit_bytes; ++i, input = input.subspan(edit_bytes)) {
    const Edit edit{input[0],
                    input[1],
                    static_cast<std::uint16_t>(input[2] | input[3] << 8),
                    input[4],
                    {input[5], input[6], input[7]}};
    for (std::size_t m = 0; m < members.size(); ++m) {
      if (places[m].format != nullptr && (all_alike || m == edit.member % members.size())) {
        apply(members[m], places[m], edit);
      }
    }
  }
  std::vector<const Source*> sources;
  for (std::size_t m = 0; m < members.size(); ++m) {
    if (places[m].format != nullptr && checksums_right) {
      put_checksum_right(members[m], places[m]);
    }
    sources.push_back(&members[m]);
  }
  outlook(sources);
}

}  // namespace
}  // namespace mdtool::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size >= 2) {
    mdtool::fuzz::run({data, size});
  }
  return 0;
}
