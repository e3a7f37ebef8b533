// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/md1/bad_block_log.h"
#include "tests/fuzz/superblock_fuzz.h"

// The input, after one byte for the shift, is the log.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mdtool;
  if (size == 0) {
    return 0;
  }
  const auto input = std::as_bytes(std::span(data, size)).subspan(1);
  const auto log = md1::BadBlockLog::decode(input, data[0]);
  if (!log) {
    return 0;
  }
  const std::vector<std::byte> encoded = log->encode();
  fuzz::require(std::equal(encoded.begin(), encoded.end(), input.begin(), input.end()));
  fuzz::require_sound_text(log->verify(1U << 30));
  fuzz::require(log->fields().size() <= 2 * 512);
  Sectors end;
  for (const md1::BadRange& range : log->ranges()) {
    fuzz::require(!range.count.is_zero() && (range.first > end || end.is_zero()));
    fuzz::require(log->covers(range.first, Sectors(1)));
    fuzz::require(range.first.is_zero() || range.first == end || !log->covers(end, range.first - end));
    end = range.first + range.count;
  }
  return 0;
}
