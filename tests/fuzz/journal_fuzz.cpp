// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/journal/meta_block.h"
#include "tests/fuzz/superblock_fuzz.h"

// The input is a meta block behind its magic; what is missing is zero.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mdtool;
  const auto input = std::as_bytes(std::span(data, size));
  std::vector<std::byte> bytes(journal::block_bytes);
  const le32 magic = journal::magic_number;
  fuzz::require(store(std::span(bytes), 0, magic).has_value());
  std::copy_n(input.begin(), std::min(size, bytes.size() - sizeof(magic)), bytes.begin() + sizeof(magic));
  const journal::MetaBlock block = journal::MetaBlock::decode(bytes).value();
  fuzz::require(block.encode() == bytes);
  fuzz::require(block.payloads().size() <= (journal::block_bytes - sizeof(journal::BlockHeader)) / 8);
  fuzz::require(block.length() <= Sectors(8 * (1 + 2 * 203)));
  fuzz::require(block.holds_content() || block.header().meta_size == sizeof(journal::BlockHeader));
  fuzz::require(!block.fields().empty());
  fuzz::require_sound_text(block.verify({Uuid{}, Sectors(0), 0}));
  return 0;
}
