// SPDX-License-Identifier: GPL-2.0-or-later
// Any bytes as a dump, and as the content of one whose checksum is right: it is refused, or is written again as it was
// read, can be looked at and made anonymous, and is put back only within its members.
#include <zstd.h>

#include <cstdlib>
#include <memory>
#include <vector>

#include "libraid/edit/anonymize.h"
#include "libraid/edit/bundle.h"
#include "libraid/edit/bundle_images.h"
#include "libraid/edit/restore_plan.h"

namespace {

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

void put_back(const mdtool::Bundle& bundle) {
  for (std::size_t i = 0; i < bundle.members.size() && i < 4; ++i) {
    const mdtool::BundleMember empty{"there", "/there", 0, bundle.members[i].size_bytes, std::nullopt, {}};
    const auto there = mdtool::recorded_member(empty);
    if (!there) {
      continue;
    }
    const std::vector<mdtool::RestorePair> pairs{{i, &there->candidate, "as told"}};
    const auto plan = mdtool::plan_restore(bundle, pairs);
    for (const mdtool::EditStage& stage : plan ? plan->stages : std::vector<mdtool::EditStage>{}) {
      for (const mdtool::EditPatch& patch : stage) {
        require(mdtool::fits(patch.offset_bytes, patch.after.size(), empty.size_bytes));
      }
    }
  }
}

void check(const mdtool::Bundle& bundle) {
  const auto again = mdtool::encode_bundle(bundle);
  require(again && mdtool::decode_bundle(*again).value() == bundle);
  require(mdtool::image_names(bundle).size() == bundle.members.size());
  const auto anonymous = mdtool::anonymized(bundle, {});
  require(!anonymous || mdtool::encode_bundle(*anonymous));
  put_back(bundle);
}

void decode(std::span<const std::byte> file) {
  const auto bundle = mdtool::decode_bundle(file);
  if (bundle) {
    check(*bundle);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  decode(std::as_bytes(std::span(data, size)));
  std::vector<std::byte> sealed(ZSTD_compressBound(size));
  sealed.resize(ZSTD_compress(sealed.data(), sealed.size(), data, size, 1));
  decode(sealed);
  return 0;
}
