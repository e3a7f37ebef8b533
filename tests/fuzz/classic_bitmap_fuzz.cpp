// SPDX-License-Identifier: GPL-2.0-or-later
// The input is a member's bitmap area, for arrays of several sizes: reading it must be bounded, and undoable.
#include <algorithm>
#include <cstdlib>

#include "libmeta/bitmap/classic.h"
#include "tests/meta/bitmap_member.h"

namespace mdtool::bitmap {
namespace {

void require(bool held) {
  if (!held) {
    std::abort();
  }
}

void check_changes(Classic bitmap, const Expected& expected) {
  const std::vector<std::byte> before = bitmap.encode();
  if (bitmap.chunks() != 0) {
    const std::uint64_t last = bitmap.chunks() - 1;
    const bool was_set = bitmap.is_set(last);
    bitmap.set(last);
    require(bitmap.is_set(last));
    bitmap.clear(last);
    require(!bitmap.is_set(last));
    was_set ? bitmap.set(last) : bitmap.clear(last);
  }
  require(bitmap.encode() == before);
  bitmap.merge(bitmap);
  require(bitmap.encode() == before);
  bitmap.set_all();
  bitmap.set_events(expected.events, expected.events);
  bitmap.clear_flags();
  require(bitmap.set_count() == bitmap.chunks());
  require(!bitmap.stale(expected));
  require(bitmap.encode().size() == before.size());
}

void check_member(const testing::BytesSource& member, std::span<const std::byte> bytes, const Expected& expected) {
  if (auto header = read_header(member, 0)) {
    verify_header(*header, expected);
    header_fields(*header);
  }
  const auto bitmap = Classic::read(member, 0, expected);
  if (!bitmap) {
    require(!bitmap.error().text.empty());
    return;
  }
  bitmap->verify(expected);
  require(bitmap->set_count() <= bitmap->chunks());
  require(bitmap->used_bytes() <= std::min<std::uint64_t>(expected.room_bytes, bytes.size()));
  require(std::ranges::equal(bitmap->encode(), bytes.first(bitmap->encode().size())));
  check_changes(*bitmap, expected);
}

}  // namespace
}  // namespace mdtool::bitmap

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mdtool;
  const auto bytes = std::as_bytes(std::span(data, size));
  const testing::BytesSource member({bytes.begin(), bytes.end()});
  for (std::uint64_t sync_size :
       {std::uint64_t{0}, testing::classic_sync_size, std::uint64_t{1} << 31, ~std::uint64_t{0}}) {
    for (std::uint64_t room : {std::uint64_t{0}, std::uint64_t{3000}, std::uint64_t{131072}, ~std::uint64_t{0}}) {
      bitmap::Expected expected = testing::expected_bitmap(sync_size);
      expected.room_bytes = room;
      bitmap::check_member(member, bytes, expected);
    }
  }
  return 0;
}
