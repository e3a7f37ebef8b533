// SPDX-License-Identifier: GPL-2.0-or-later
// The input is a member's bitmap area, for arrays of several sizes: reading it must be bounded, and undoable, and the
// state machine must leave none but the eight states.
#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "libmeta/bitmap/lockless.h"
#include "tests/meta/bitmap_member.h"

namespace mdtool::bitmap {
namespace {

void require(bool held) {
  if (!held) {
    std::abort();
  }
}

std::uint64_t total(const StateCounts& counts) {
  return std::accumulate(counts.by_state.begin(), counts.by_state.end(), counts.invalid);
}

void check_walks(const Lockless& read) {
  for (std::size_t action = 0; action < action_count; ++action) {
    for (const Condition condition : {Condition{false, false}, Condition{true, true}}) {
      Lockless bitmap = read;
      bitmap.clear_flags();
      bitmap.apply(static_cast<Action>(action), 0, ~std::uint64_t{0}, condition);
      require(bitmap.counts().invalid == 0);
      require(total(bitmap.counts()) == bitmap.chunks());
    }
  }
}

void check_changes(Lockless bitmap, const Expected& expected) {
  const std::vector<std::byte> before = bitmap.encode();
  bitmap.merge(bitmap);
  require(bitmap.encode() == before);
  bitmap.finish_first_use();
  bitmap.clear_flags();
  bitmap.set_events(expected.events);
  require(!bitmap.first_use() && !bitmap.stale(expected));
  const testing::BytesSource written(bitmap.encode());
  const auto again = Lockless::read(written, 0, expected);
  require(again.has_value() && same_content(*again, bitmap));
}

void check_member(const testing::BytesSource& member, std::span<const std::byte> bytes, const Expected& expected) {
  if (auto header = read_header(member, 0)) {
    verify_header(*header, expected);
    header_fields(*header);
  }
  const auto bitmap = Lockless::read(member, 0, expected);
  if (!bitmap) {
    require(!bitmap.error().text.empty());
    return;
  }
  bitmap->verify(expected);
  require(total(bitmap->counts()) == bitmap->chunks());
  require(bitmap->used_bytes() <= std::min<std::uint64_t>(max_area_bytes, bytes.size()));
  require(std::ranges::equal(bitmap->encode(), bytes.first(bitmap->encode().size())));
  check_walks(*bitmap);
  check_changes(*bitmap, expected);
}

}  // namespace
}  // namespace mdtool::bitmap

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mdtool;
  const auto bytes = std::as_bytes(std::span(data, size));
  const testing::BytesSource member({bytes.begin(), bytes.end()});
  for (std::uint64_t sync_size :
       {std::uint64_t{0}, testing::lockless_sync_size, std::uint64_t{1} << 31, ~std::uint64_t{0}}) {
    for (std::uint64_t room : {std::uint64_t{0}, std::uint64_t{4096}, ~std::uint64_t{0}}) {
      bitmap::Expected expected = testing::expected_bitmap(sync_size);
      expected.room_bytes = room;
      bitmap::check_member(member, bytes, expected);
    }
  }
  return 0;
}
