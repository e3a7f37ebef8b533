// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/ppl/header.h"
#include "tests/fuzz/superblock_fuzz.h"

// The input is the header; what is missing is zero.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mdtool;
  const auto input = std::as_bytes(std::span(data, size));
  fuzz::require(size >= ppl::header_bytes || !ppl::decode(input));
  std::vector<std::byte> bytes(input.begin(), input.end());
  bytes.resize(ppl::header_bytes);
  ppl::Header header = ppl::decode(bytes).value();
  fuzz::require(ppl::encode(header) == bytes);
  fuzz::require(ppl::entries(header).size() <= ppl::max_entries);
  fuzz::require(ppl::holds_content(header) == !ppl::entries(header).empty());
  fuzz::require(ppl::fields(header).size() == 6 + 5 * ppl::entries(header).size());
  fuzz::require_sound_text(ppl::verify(header, {Uuid{}, 0, 1U << 20}));

  header.signature = ppl::expected_signature(Uuid{});
  header.checksum = ppl::expected_checksum(header);
  fuzz::require(ppl::intact(header, Uuid{}));
  fuzz::require_sound_text(ppl::verify(header, {Uuid{}, 0, 0}));
  return 0;
}
