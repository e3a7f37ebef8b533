// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/seeds.h"

#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <random>
#include <span>
#include <string>

#include "libmeta/ondisk.h"
#include "libraid/edit/bundle.h"
#include "libraid/io/undo_file.h"
#include "tests/fuzz/fixture_members.h"
#include "tests/raid/sealed_overlay.h"

namespace mdtool::fuzz {
namespace {

constexpr std::size_t superblock_bytes = 4096;
constexpr std::size_t bitmap_bytes = 8192;
constexpr std::size_t block_bytes = 4096;
constexpr std::size_t magic_bytes = 4;

// A few of each kind are enough: the rest differ in values that mutations reach.
const std::vector<std::string> seed_fixtures = {"0.90-raid5-3-classic-crash",       "0.90-raid6-5-classic-clean",
                                                "1.0-raid5-3-none-crash",           "1.0-raid5-5-classic-clean",
                                                "1.1-raid5-3-classic-crash",        "1.2-raid5-3-journal-clean",
                                                "1.2-raid5-3-journal-crash",        "1.2-raid5-3-ppl-crash",
                                                "1.2-raid5-4-lockless-first-use",   "1.2-raid5-4-lockless-lazy-crash",
                                                "1.2-raid5-4-lockless-mixed-crash", "1.2-raid5-4-none-reshape",
                                                "1.2-raid6-5-none-bad-blocks"};

Input bytes_at(const Source& member, std::uint64_t offset, std::size_t length) {
  const std::uint64_t size = member.size_bytes();
  const auto bytes = read_bytes(member, offset, std::min<std::uint64_t>(length, offset < size ? size - offset : 0));
  Input input;
  for (std::byte b : bytes ? *bytes : std::vector<std::byte>{}) {
    input.push_back(std::to_integer<std::uint8_t>(b));
  }
  return input;
}

Input behind(std::initializer_list<std::uint8_t> first, const Input& rest) {
  Input all(first);
  all.insert(all.end(), rest.begin(), rest.end());
  return all;
}

struct Found {
  std::string format;
  std::uint64_t offset_bytes;
  MemberDescription description;
};

// What the target takes from this member, if it has such a thing.
std::optional<Input> cut(std::string_view target, const Source& member, const Found& found) {
  const MemberDescription& d = found.description;
  const bool is_0_90 = d.metadata == "0.90";
  if (target == "md0_fuzz" && is_0_90) {
    return bytes_at(member, found.offset_bytes, superblock_bytes);
  }
  if (target == "md1_fuzz" && !is_0_90) {
    // The member's size in that target is a power of two and some; 4 MiB is the nearest to the fixtures'.
    const auto minor = static_cast<std::uint8_t>(d.metadata.back() - '0');
    return behind({minor, 10}, bytes_at(member, found.offset_bytes, superblock_bytes));
  }
  if ((target == "classic_bitmap_fuzz" || target == "lockless_bitmap_fuzz") && d.bitmap_offset_bytes) {
    return bytes_at(member, *d.bitmap_offset_bytes, bitmap_bytes);
  }
  if (target == "bad_block_log_fuzz" && d.bad_block_log) {
    return behind({d.bad_block_log->shift}, bytes_at(member, d.bad_block_log->offset_bytes, block_bytes));
  }
  if (target == "ppl_fuzz" && d.ppl) {
    return bytes_at(member, d.ppl->offset_bytes, block_bytes);
  }
  if (target == "journal_fuzz" && d.journal_tail) {
    return bytes_at(member, (d.data_offset + *d.journal_tail).bytes() + magic_bytes, block_bytes - magic_bytes);
  }
  return std::nullopt;
}

std::vector<Input> cut_from_fixtures(std::string_view target) {
  std::vector<Input> seeds;
  for (const std::string& name : seed_fixtures) {
    for (const MemberImage& image : load_fixture(name)) {
      const ChangedMember member(image);
      for (const Format* format : all_formats()) {
        const std::vector<std::uint64_t> offsets = format->probe(member).value();
        for (std::uint64_t offset : offsets) {
          const Found found{std::string(format->name()), offset, (*format->read(member, offset))->describe()};
          if (auto seed = cut(target, member, found)) {
            seeds.push_back(std::move(*seed));
          }
        }
      }
    }
  }
  return seeds;
}

// Programs of edits, as assemble_fuzz reads them: all of its arrays untouched, and random edits of each.
std::vector<Input> edit_programs() {
  constexpr std::size_t arrays = 14;
  constexpr std::size_t edits = 12;
  std::mt19937 random(1);
  std::vector<Input> seeds;
  for (std::size_t i = 0; i < 4 * arrays; ++i) {
    Input seed{static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i / arrays)};
    for (std::size_t byte = 0; i >= arrays && byte < 8 * edits; ++byte) {
      seed.push_back(static_cast<std::uint8_t>(random()));
    }
    seeds.push_back(std::move(seed));
  }
  return seeds;
}

// The content of every frame of an undo file, in order.
std::vector<Input> frame_contents(const Input& file) {
  constexpr std::size_t head_bytes = 44;
  constexpr std::size_t length_at = 24;
  std::vector<Input> contents;
  for (std::size_t at = 0; at + head_bytes <= file.size();) {
    const auto length = load<le64>(std::as_bytes(std::span(file)), at + length_at);
    Input content(64U << 10);
    content.resize(ZSTD_decompress(content.data(), content.size(), file.data() + at + head_bytes, length->value()));
    contents.push_back(std::move(content));
    at += head_bytes + length->value();
  }
  return contents;
}

// A file with two members and two stages, and what its frames hold: the target seals that again after a mutation.
std::vector<Input> undo_files() {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("mdtool-undo-seed-" + std::to_string(getpid()));
  auto undo = UndoFile::create(path, "mdtool resync a b", {{"a", 65536, "uuid:0"}, {"b", 65536, "uuid:1"}});
  const std::vector<std::byte> zeroes(512), ones(512, std::byte{1});
  const bool written = undo &&
                       undo->append(std::vector<UndoRecord>{{0, 4096, zeroes, ones}, {1, 8192, zeroes, ones}}) &&
                       undo->append(std::vector<UndoRecord>{{0, 4096, ones, zeroes}});
  std::ifstream stream(path, std::ios::binary);
  const Input file{std::istreambuf_iterator<char>(stream), {}};
  std::filesystem::remove(path);
  const std::vector<Input> frames = written ? frame_contents(file) : std::vector<Input>{};
  std::vector<Input> seeds;
  for (std::size_t i = 1; i < frames.size(); ++i) {
    Input seed = behind({static_cast<std::uint8_t>(frames[0].size())}, frames[0]);
    seed.insert(seed.end(), frames[i].begin(), frames[i].end());
    seeds.push_back(std::move(seed));
  }
  seeds.push_back(file);
  return seeds;
}

void append(Input& to, std::span<const std::byte> bytes) {
  for (std::byte b : bytes) {
    to.push_back(std::to_integer<std::uint8_t>(b));
  }
}

// The parts of an overlay over two members, with and without a commit, as overlay_file_fuzz reads them; and a file.
std::vector<Input> overlay_files() {
  const std::vector<std::byte> bound(64, std::byte{1});
  const std::vector<OverlayMember> members = {{"a", "A", 262144, {{"superblock", 4096, bound}}},
                                              {"b", "B", 100000, {{"superblock", 4096, bound}}}};
  const std::vector<OverlayBlock> blocks = {{0, 0xff, 0x0f, 0}, {3, 1, 1, 1}, {7, ~0ULL, 0, 0}};
  test::OverlayParts parts{2, encode_overlay_members(members), {}, {}};
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const overlay_disk::Entry entry = overlay_disk::make_entry(i, blocks[i]);
    const auto bytes = std::as_bytes(std::span(&entry, 1)).first(test::unsealed_entry_bytes);
    parts.entries.insert(parts.entries.end(), bytes.begin(), bytes.end());
  }
  const auto commit = encode_overlay_commit({1, {{0, 0, 4096, bound}, {1, 1, 4096, bound}}});
  std::vector<Input> seeds;
  for (const bool committed : {false, true}) {
    Input seed{2, static_cast<std::uint8_t>(blocks.size()), static_cast<std::uint8_t>(parts.table.size() & 0xff),
               static_cast<std::uint8_t>(parts.table.size() >> 8)};
    append(seed, parts.table);
    append(seed, parts.entries);
    append(seed, committed ? commit : std::vector<std::byte>{});
    seeds.push_back(std::move(seed));
  }
  constexpr std::size_t file_bytes = 48U << 10;  // up to the end of the first block
  parts.entries.resize(test::unsealed_entry_bytes);
  const auto whole = test::sealed_overlay(parts);
  Input file;
  append(file, std::span(whole).first(file_bytes));
  seeds.push_back(std::move(file));
  return seeds;
}

// Dry runs' documents: no patch, one, and two over each other on the second of two members.
std::vector<Input> plans() {
  const std::string member =
      R"({"path":"m0","file":"/m0","offset_bytes":0,"size_bytes":8192,"device":1,"inode":2,"device_uuid":null})";
  const std::string patch =
      R"({"member":1,"purpose":"superblock","offset_bytes":4096,"length_bytes":4,"fields":[{"name":"events",)"
      R"("before":1,"after":2}],"before":"00000000","after":"fc4e2ba9"})";
  std::vector<Input> seeds;
  for (const std::string& stages : {std::string("[]"), "[[" + patch + "]]", "[[" + patch + "],[" + patch + "]]"}) {
    const std::string plan = R"({"mdtool":{"format":1},"plan":{"steps":["a"],"costs":[],"next":[],"members":[)" +
                             member + "," + member + R"(],"stages":)" + stages + "}}";
    seeds.emplace_back(plan.begin(), plan.end());
  }
  return seeds;
}

// What dumps of fixtures hold, unpacked: the target seals that again after a mutation; and one as it is.
std::vector<Input> bundles() {
  std::vector<Input> seeds;
  for (const std::string& name : seed_fixtures) {
    Bundle bundle;
    const std::vector<MemberImage> images = load_fixture(name);
    for (std::size_t i = 0; i < 2; ++i) {
      const ChangedMember member(images[i]);
      const auto candidate = inspect("m" + std::to_string(i), "", member, member);
      std::vector<BundleArea> areas = gather_areas(*candidate).areas;
      // A log of a mebibyte is no input for anybody.
      std::erase_if(areas, [](const BundleArea& area) { return area.bytes.size() > bitmap_bytes; });
      bundle.members.push_back(
          {candidate->path, "/" + candidate->path, 0, member.size_bytes(), std::nullopt, std::move(areas)});
    }
    const std::vector<std::byte> file = encode_bundle(bundle).value();
    Input raw(ZSTD_getFrameContentSize(file.data(), file.size()));
    raw.resize(ZSTD_decompress(raw.data(), raw.size(), file.data(), file.size()));
    seeds.push_back(std::move(raw));
    if (seeds.size() == 1) {
      Input whole;
      append(whole, file);
      seeds.push_back(std::move(whole));
    }
  }
  return seeds;
}

}  // namespace

std::vector<Input> seeds_for(std::string_view target) {
  std::vector<Input> seeds = target == "assemble_fuzz"       ? edit_programs()
                             : target == "undo_file_fuzz"    ? undo_files()
                             : target == "overlay_file_fuzz" ? overlay_files()
                             : target == "bundle_fuzz"       ? bundles()
                             : target == "plan_json_fuzz"    ? plans()
                                                             : cut_from_fixtures(target);
  if (seeds.empty()) {
    std::cerr << "no seeds for " << target << "\n";
    std::abort();
  }
  return seeds;
}

}  // namespace mdtool::fuzz
