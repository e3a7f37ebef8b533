// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/bitmap_change.h"

#include <charconv>
#include <ctime>

#include "cli/create_words.h"
#include "libraid/io/file.h"

namespace mdtool::cli {

namespace {

// Only members get identities of their own from a clock's UUID; here is none to give.
EditClock clock_now() {
  return {static_cast<std::uint64_t>(std::time(nullptr)), {}};
}

std::optional<std::int64_t> offset_in(std::string_view text) {
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(number) : std::nullopt;
}

Status take_kind(const std::string& word, BitmapTarget& target) {
  if (word == "internal") {
    target.kind = bitmap::Kind::classic;
  } else if (word == "lockless") {
    target.kind = bitmap::Kind::lockless;
  } else if (word.find('/') != std::string::npos) {
    target.kind = bitmap::Kind::classic;
    target.file = word;
  } else {
    return Error{ErrorKind::usage, "--bitmap=" + word +
                                       ": expected internal, lockless, or a file with a slash in its path" +
                                       (word == "none" ? "; mdtool bitmap remove takes a bitmap away" : "")};
  }
  return Done{};
}

// `kind` is that of the bitmap where the options do not say.
Result<BitmapTarget> target_of(const BitmapChangeOptions& options, bitmap::Kind kind) {
  BitmapTarget target;
  target.kind = kind;
  if (options.bitmap) {
    TRY(taken, take_kind(*options.bitmap, target));
  }
  if (options.chunk) {
    TRY(chunk, sectors_of("--bitmap-chunk", *options.chunk));
    target.chunk_bytes = chunk.bytes();
  }
  if (options.offset) {
    target.offset_sectors = offset_in(*options.offset);
    if (!target.offset_sectors) {
      return Error{ErrorKind::usage, "--offset=" + *options.offset + ": expected sectors from the superblock"};
    }
    if (!target.file.empty()) {
      return Error{ErrorKind::usage, "--offset is for a bitmap on the members; a file has it at its start"};
    }
  }
  return target;
}

}  // namespace

void BitmapChangeOptions::add_to(Options& app) {
  app.add_option("--bitmap", bitmap, "add, convert: what it is to be: internal, lockless, or a file's path")
      .type_name("KIND");
  app.add_option("--bitmap-chunk", chunk, "add, convert: bytes for each bit, in KiB or with K, M, G or T")
      .type_name("SIZE");
  app.add_option("--offset", offset, "add, convert: where on the members, from the superblock").type_name("SECTORS");
  app.add_option("--from", from, "convert: the file that the bitmap is in now").type_name("FILE");
}

Result<EditPlan> added_bitmap(const Assembly& array, const BitmapChangeOptions& options) {
  TRY(target, target_of(options, bitmap::Kind::classic));
  return plan_bitmap_add(array, target, clock_now());
}

Result<EditPlan> removed_bitmap(const Assembly& array) {
  return plan_bitmap_remove(array, clock_now());
}

Result<EditPlan> converted_bitmap(const Assembly& array, const BitmapChangeOptions& options) {
  if (!options.bitmap && !options.chunk && !options.offset && !options.from) {
    return Error{ErrorKind::usage, "bitmap convert: into what? --bitmap, --bitmap-chunk, --offset or --from"};
  }
  const bool lockless = array.bitmap.kind == bitmap::Kind::lockless;
  TRY(target, target_of(options, lockless ? bitmap::Kind::lockless : bitmap::Kind::classic));
  if (!options.from) {
    return plan_bitmap_convert(array, target, std::nullopt, clock_now());
  }
  TRY(file, FileDevice::open(*options.from, Access::read_only));
  return plan_bitmap_convert(array, target, BitmapFile{*options.from, file.get()}, clock_now());
}

Result<EditPlan> repaired_bitmap(const Assembly& array) {
  return plan_bitmap_repair(array, clock_now());
}

}  // namespace mdtool::cli
