// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/md0/superblock.h"
#include "tests/fuzz/superblock_fuzz.h"

// The input is the superblock of a 1 MiB member.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mdtool;
  constexpr std::uint64_t member_bytes = 1U << 20;
  const fuzz::InputMember member(std::as_bytes(std::span(data, size)), member_bytes - (64U << 10), member_bytes);
  for (const Format* format : {&md0::little_endian(), &md0::big_endian()}) {
    const std::vector<std::uint64_t> found = format->probe(member).value();
    for (std::uint64_t offset : found) {
      fuzz::examine_superblock(*format->read(member, offset).value(), member);
    }
  }
  return 0;
}
