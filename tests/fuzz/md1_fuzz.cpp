// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/md1/superblock.h"
#include "tests/fuzz/superblock_fuzz.h"

// The input, after one byte for the minor version and one for the size of the member, is the superblock.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mdtool;
  if (size < 2) {
    return 0;
  }
  const std::uint64_t member_bytes = (std::uint64_t{1} << (12 + data[1] % 40)) + data[1];
  const auto input = std::as_bytes(std::span(data, size)).subspan(2);
  const std::uint64_t sectors = member_bytes / 512;
  const std::uint64_t end_bytes = sectors < 16 ? 0 : ((sectors - 16) & ~std::uint64_t{7}) * 512;
  const std::pair<const Format*, std::uint64_t> places[] = {
      {&md1::version_1_0(), end_bytes}, {&md1::version_1_1(), 0}, {&md1::version_1_2(), 4096}};
  const auto& [format, offset] = places[data[0] % 3];
  const fuzz::InputMember member(input, offset, member_bytes);
  const std::vector<std::uint64_t> found = format->probe(member).value();
  const auto metadata = format->read(member, offset);
  fuzz::require(found.empty() || metadata.has_value());
  if (metadata) {
    fuzz::examine_superblock(**metadata, member);
  }
  return 0;
}
