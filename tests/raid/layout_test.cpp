// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/geometry/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

namespace mdtool {
namespace {

constexpr Sectors test_chunk{8};

Geometry geometry(std::int32_t level, std::uint32_t layout, std::uint32_t slots, std::uint64_t stripes,
                  Sectors chunk = test_chunk) {
  return {level, layout, slots, chunk, chunk * stripes};
}

Layout layout_of(const Geometry& g) {
  auto layout = Layout::of(g);
  EXPECT_TRUE(layout.has_value());
  return *layout;
}

bool refuses(const Geometry& g) {
  const auto layout = Layout::of(g);
  return !layout && layout.error().kind == ErrorKind::refused && !layout.error().text.empty();
}

// What a stripe holds, slot by slot.
constexpr int p_mark = -1;
constexpr int q_mark = -2;
using Stripe = std::vector<int>;

// ---- the model: a row written down once, then turned slot by slot for every further stripe ----

enum class Turn { none, left, right };
enum class Filling { in_slot_order, turns_too };
struct Model {
  std::int32_t level;
  std::uint32_t layout;
  std::vector<int> head;  // marks before the data of stripe 0
  std::vector<int> tail;  // marks behind it
  Turn turn;
  Filling filling;
  std::vector<int> fixed_tail = {};  // marks that do not take part
};

std::vector<Model> all_models() {
  const auto in_order = Filling::in_slot_order;
  const auto turning = Filling::turns_too;
  return {
      {4, 0, {}, {p_mark}, Turn::none, in_order},
      {4, 2, {}, {p_mark}, Turn::none, in_order},
      {5, 0, {}, {p_mark}, Turn::left, in_order},
      {5, 1, {p_mark}, {}, Turn::right, in_order},
      {5, 2, {}, {p_mark}, Turn::left, turning},
      {5, 3, {p_mark}, {}, Turn::right, turning},
      {5, 4, {p_mark}, {}, Turn::none, in_order},
      {5, 5, {}, {p_mark}, Turn::none, in_order},
      {6, 0, {q_mark}, {p_mark}, Turn::left, in_order},
      {6, 1, {p_mark, q_mark}, {}, Turn::right, in_order},
      {6, 2, {q_mark}, {p_mark}, Turn::left, turning},
      {6, 3, {p_mark, q_mark}, {}, Turn::right, turning},
      {6, 4, {p_mark, q_mark}, {}, Turn::none, in_order},
      {6, 5, {}, {p_mark, q_mark}, Turn::none, in_order},
      {6, 8, {p_mark, q_mark}, {}, Turn::right, in_order},
      {6, 9, {}, {p_mark, q_mark}, Turn::left, in_order},
      {6, 10, {}, {q_mark, p_mark}, Turn::left, turning},
      {6, 16, {}, {p_mark}, Turn::left, in_order, {q_mark}},
      {6, 17, {p_mark}, {}, Turn::right, in_order, {q_mark}},
      {6, 18, {}, {p_mark}, Turn::left, turning, {q_mark}},
      {6, 19, {p_mark}, {}, Turn::right, turning, {q_mark}},
      {6, 20, {p_mark}, {}, Turn::none, in_order, {q_mark}},
  };
}

int parity_blocks(const Model& model) {
  return model.level == 6 ? 2 : 1;
}

// Data blocks are 0, 1, 2, ... within the stripe.
Stripe model_stripe(const Model& model, int slots, std::uint64_t number) {
  Stripe row = model.head;
  for (int d = 0; d < slots - parity_blocks(model); ++d) {
    row.push_back(d);
  }
  row.insert(row.end(), model.tail.begin(), model.tail.end());
  for (std::uint64_t turned = 0; turned < number && model.turn != Turn::none; ++turned) {
    const auto middle = model.turn == Turn::left ? row.begin() + 1 : row.end() - 1;
    std::rotate(row.begin(), middle, row.end());
  }
  if (model.filling == Filling::in_slot_order) {
    int next = 0;
    std::for_each(row.begin(), row.end(), [&](int& block) { block = block < 0 ? block : next++; });
  }
  row.insert(row.end(), model.fixed_tail.begin(), model.fixed_tail.end());
  return row;
}

// By slot; -1 for parity.
std::vector<int> model_exponents(const Model& model, const Stripe& row) {
  std::vector<int> exponents(row.size(), -1);
  const bool by_slot = model.layout >= 8 && model.layout <= 10;
  std::size_t slot = static_cast<std::size_t>(std::find(row.begin(), row.end(), q_mark) - row.begin());
  int next = 0;
  for (std::size_t step = 0; step < row.size(); ++step) {
    slot = slot + 1 == row.size() ? 0 : slot + 1;
    if (row[slot] >= 0) {
      exponents[slot] = by_slot ? static_cast<int>(slot) : next++;
    }
  }
  return exponents;
}

// ---- what the implementation says, in the same shape ----

Stripe stripe_of(const Layout& layout, std::uint64_t number) {
  Stripe row(layout.geometry().raid_disks, 1000);
  for (std::uint32_t d = 0; d < layout.data_disks(); ++d) {
    row.at(layout.data_slot(number, d)) = static_cast<int>(d);
  }
  const ParitySlots parity = layout.parity(number);
  row.at(parity.p) = p_mark;
  if (parity.q) {
    row.at(*parity.q) = q_mark;
  }
  return row;
}

std::vector<int> exponents_of(const Layout& layout, std::uint64_t number) {
  std::vector<int> exponents;
  for (std::uint32_t slot = 0; slot < layout.geometry().raid_disks; ++slot) {
    const auto exponent = layout.q_exponent(number, slot);
    exponents.push_back(exponent ? static_cast<int>(*exponent) : -1);
  }
  return exponents;
}

struct Case {
  Model model;
  std::uint32_t slots;
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Model& model : all_models()) {
    for (std::uint32_t slots = model.level == 6 ? 4 : 2; slots <= 9; ++slots) {
      cases.push_back({model, slots});
    }
  }
  return cases;
}

std::string label(const Case& c) {
  return "level " + std::to_string(c.model.level) + " layout " + std::to_string(c.model.layout) + " slots " +
         std::to_string(c.slots);
}

std::uint64_t two_periods_and_one(std::uint32_t slots) {
  return std::uint64_t{2} * slots + 1;
}

TEST(Layout, AgreesWithRowsTurnedByHand) {
  for (const Case& c : all_cases()) {
    SCOPED_TRACE(label(c));
    const std::uint64_t stripes = two_periods_and_one(c.slots);
    const Layout layout = layout_of(geometry(c.model.level, c.model.layout, c.slots, stripes));
    for (std::uint64_t stripe = 0; stripe < stripes; ++stripe) {
      const Stripe expected = model_stripe(c.model, static_cast<int>(c.slots), stripe);
      ASSERT_EQ(stripe_of(layout, stripe), expected) << "stripe " << stripe;
      for (std::uint32_t slot = 0; slot < c.slots; ++slot) {
        const auto index = layout.data_index(stripe, slot);
        ASSERT_EQ(index ? static_cast<int>(*index) : -1, std::max(expected[slot], -1)) << stripe << " slot " << slot;
      }
      if (c.model.level == 6) {
        ASSERT_EQ(exponents_of(layout, stripe), model_exponents(c.model, expected)) << "stripe " << stripe;
      } else {
        ASSERT_EQ(exponents_of(layout, stripe), std::vector<int>(c.slots, -1));
      }
    }
  }
}

// Every array sector has a place of its own that is not parity's, in a stripe of its own, and comes back from it.
void check_bijection(const Layout& layout) {
  std::set<std::pair<std::uint32_t, std::uint64_t>> seen;
  for (Sectors s; s < layout.array_size(); s += Sectors(1)) {
    const Place place = layout.data(s);
    ASSERT_LT(place.slot, layout.geometry().raid_disks);
    ASSERT_LT(place.sector, layout.geometry().component_size);
    ASSERT_TRUE(seen.insert({place.slot, place.sector.count()}).second) << "sector " << s.count() << " collides";
    ASSERT_EQ(layout.array_sector(place), s);
  }
  for (std::uint64_t sector = 0; sector < layout.geometry().component_size.count(); ++sector) {
    const ParitySlots parity = layout.parity(Sectors(sector) / layout.geometry().chunk);
    ASSERT_NE(parity.p, parity.q);
    for (std::uint32_t slot = 0; slot < layout.geometry().raid_disks; ++slot) {
      const bool is_parity = slot == parity.p || slot == parity.q;
      ASSERT_NE(seen.contains({slot, sector}), is_parity) << "slot " << slot << " sector " << sector;
      ASSERT_NE(layout.array_sector({slot, Sectors(sector)}).has_value(), is_parity);
    }
  }
}

TEST(Layout, DataIsABijectionBesideParity) {
  for (const Case& c : all_cases()) {
    for (const Sectors chunk : {Sectors(8), Sectors(32)}) {
      SCOPED_TRACE(label(c) + " chunk " + std::to_string(chunk.count()));
      const Layout layout =
          layout_of(geometry(c.model.level, c.model.layout, c.slots, two_periods_and_one(c.slots), chunk));
      check_bijection(layout);
      if (HasFatalFailure()) {
        return;
      }
    }
  }
}

TEST(Layout, OnlyParityMeansNeverData) {
  for (const Case& c : all_cases()) {
    const std::uint64_t stripes = two_periods_and_one(c.slots);
    const Layout layout = layout_of(geometry(c.model.level, c.model.layout, c.slots, stripes));
    for (std::uint32_t slot = 0; slot <= c.slots; ++slot) {
      bool holds_data = slot == c.slots;  // no such slot
      for (std::uint64_t stripe = 0; stripe < stripes; ++stripe) {
        holds_data = holds_data || layout.data_index(stripe, slot).has_value();
      }
      EXPECT_NE(layout.only_parity(slot), holds_data) << label(c) << " slot " << slot;
    }
  }
}

// ---- the examples ----

struct Example {
  std::int32_t level;
  std::uint32_t layout;
  std::string stripes;  // chunk numbers of the array; stripes parted by "/"
  std::string weights;  // exponents of the data chunks, in slot order
};

std::vector<std::vector<std::string>> words_by_stripe(const std::string& text) {
  std::vector<std::vector<std::string>> stripes(1);
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (word == "/") {
      stripes.emplace_back();
    } else {
      stripes.back().push_back(word);
    }
  }
  return stripes;
}

std::string written_slot(const Layout& layout, std::uint32_t slot, std::uint64_t stripe) {
  const auto sector = layout.array_sector({slot, layout.geometry().chunk * stripe});
  if (sector) {
    return std::to_string(*sector / layout.geometry().chunk);
  }
  return slot == layout.parity(stripe).p ? "P" : "Q";
}

void check_example(const Example& example) {
  const auto expected = words_by_stripe(example.stripes);
  const auto weights = words_by_stripe(example.weights);
  const auto slots = static_cast<std::uint32_t>(expected[0].size());
  const Layout layout = layout_of(geometry(example.level, example.layout, slots, expected.size(), Sectors(128)));
  for (std::uint64_t stripe = 0; stripe < expected.size(); ++stripe) {
    std::string written_weights;
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
      const std::string& word = expected[stripe].at(slot);
      EXPECT_EQ(written_slot(layout, slot, stripe), word) << "stripe " << stripe << " slot " << slot;
      if (word != "P" && word != "Q") {
        const Sectors middle = Sectors(128) * std::stoull(word) + Sectors(5);
        EXPECT_EQ(layout.data(middle), (Place{slot, Sectors(128) * stripe + Sectors(5)}));
      }
      const auto exponent = layout.q_exponent(stripe, slot);
      written_weights += exponent ? std::to_string(*exponent) : "";
    }
    if (example.level == 6) {
      EXPECT_EQ(written_weights, weights.at(stripe).at(0)) << "stripe " << stripe;
    }
  }
}

TEST(Layout, Raid4And5Examples) {
  const std::vector<Example> examples{
      {5, 0, "0 1 2 P / 3 4 P 5 / 6 P 7 8 / P 9 10 11", ""}, {5, 1, "P 0 1 2 / 3 P 4 5 / 6 7 P 8 / 9 10 11 P", ""},
      {5, 2, "0 1 2 P / 4 5 P 3 / 8 P 6 7 / P 9 10 11", ""}, {5, 3, "P 0 1 2 / 5 P 3 4 / 7 8 P 6 / 9 10 11 P", ""},
      {5, 4, "P 0 1 2 / P 3 4 5 / P 6 7 8 / P 9 10 11", ""}, {5, 5, "0 1 2 P / 3 4 5 P / 6 7 8 P / 9 10 11 P", ""},
      {4, 0, "0 1 2 P / 3 4 5 P / 6 7 8 P / 9 10 11 P", ""}, {4, 2, "0 1 2 P / 3 4 5 P / 6 7 8 P / 9 10 11 P", ""},
  };
  for (const Example& example : examples) {
    SCOPED_TRACE("level " + std::to_string(example.level) + " layout " + std::to_string(example.layout));
    check_example(example);
  }
}

TEST(Layout, Raid6Examples) {
  const std::string same = "012 / 012 / 012 / 012 / 012";
  const std::vector<Example> examples{
      {6, 0, "Q 0 1 2 P / 3 4 5 P Q / 6 7 P Q 8 / 9 P Q 10 11 / P Q 12 13 14", "012 / 012 / 120 / 201 / 012"},
      {6, 1, "P Q 0 1 2 / 3 P Q 4 5 / 6 7 P Q 8 / 9 10 11 P Q / Q 12 13 14 P", "012 / 201 / 120 / 012 / 012"},
      {6, 2, "Q 0 1 2 P / 3 4 5 P Q / 7 8 P Q 6 / 11 P Q 9 10 / P Q 12 13 14", "012 / 012 / 120 / 201 / 012"},
      {6, 3, "P Q 0 1 2 / 5 P Q 3 4 / 7 8 P Q 6 / 9 10 11 P Q / Q 12 13 14 P", "012 / 201 / 120 / 012 / 012"},
      {6, 4, "P Q 0 1 2 / P Q 3 4 5 / P Q 6 7 8 / P Q 9 10 11 / P Q 12 13 14", same},
      {6, 5, "0 1 2 P Q / 3 4 5 P Q / 6 7 8 P Q / 9 10 11 P Q / 12 13 14 P Q", same},
      {6, 8, "P Q 0 1 2 / 3 P Q 4 5 / 6 7 P Q 8 / 9 10 11 P Q / Q 12 13 14 P", "234 / 034 / 014 / 012 / 123"},
      {6, 9, "0 1 2 P Q / 3 4 P Q 5 / 6 P Q 7 8 / P Q 9 10 11 / Q 12 13 14 P", "012 / 014 / 034 / 234 / 123"},
      {6, 10, "0 1 2 Q P / 4 5 Q P 3 / 8 Q P 6 7 / Q P 9 10 11 / P 12 13 14 Q", "012 / 014 / 034 / 234 / 123"},
      {6, 16, "0 1 2 P Q / 3 4 P 5 Q / 6 P 7 8 Q / P 9 10 11 Q / 12 13 14 P Q", same},
      {6, 17, "P 0 1 2 Q / 3 P 4 5 Q / 6 7 P 8 Q / 9 10 11 P Q / P 12 13 14 Q", same},
      {6, 18, "0 1 2 P Q / 4 5 P 3 Q / 8 P 6 7 Q / P 9 10 11 Q / 12 13 14 P Q", same},
      {6, 19, "P 0 1 2 Q / 5 P 3 4 Q / 7 8 P 6 Q / 9 10 11 P Q / P 12 13 14 Q", same},
      {6, 20, "P 0 1 2 Q / P 3 4 5 Q / P 6 7 8 Q / P 9 10 11 Q / P 12 13 14 Q", same},
  };
  for (const Example& example : examples) {
    SCOPED_TRACE("layout " + std::to_string(example.layout));
    check_example(example);
  }
}

// ---- sizes and limits ----

TEST(Layout, RoundsTheComponentDownToWholeChunks) {
  Geometry g = geometry(5, 2, 4, 10, Sectors(1024));
  g.component_size += Sectors(1023);
  const Layout layout = layout_of(g);
  EXPECT_EQ(layout.stripes(), 10U);
  EXPECT_EQ(layout.geometry().component_size, Sectors(10240));
  EXPECT_EQ(layout.array_size(), Sectors(30720));
  EXPECT_EQ(layout.array_sector({0, Sectors(10239)}).has_value(), layout.parity(9).p != 0);
  EXPECT_EQ(layout.array_sector({0, Sectors(10240)}), std::nullopt);
  EXPECT_EQ(layout.array_sector({1, Sectors(10240)}), std::nullopt);
}

TEST(Layout, PlacesOutsideTheSlotsHoldNothing) {
  const Layout layout = layout_of(geometry(6, 2, 5, 10));
  EXPECT_EQ(layout.array_sector({5, Sectors(0)}), std::nullopt);
  EXPECT_EQ(layout.data_index(0, 5), std::nullopt);
  EXPECT_EQ(layout.q_exponent(0, 5), std::nullopt);
}

TEST(Layout, RefusesUnknownLevelsAndLayouts) {
  for (const std::int32_t level : {-4, -1, 0, 1, 2, 3, 7, 10, 0x7fffffff}) {
    EXPECT_TRUE(refuses(geometry(level, 2, 6, 10))) << level;
  }
  const std::set<std::uint32_t> raid5{0, 1, 2, 3, 4, 5};
  const std::set<std::uint32_t> raid6{0, 1, 2, 3, 4, 5, 8, 9, 10, 16, 17, 18, 19, 20};
  for (std::uint32_t layout = 0; layout < 300; ++layout) {
    EXPECT_EQ(refuses(geometry(5, layout, 6, 10)), !raid5.contains(layout)) << layout;
    EXPECT_EQ(refuses(geometry(6, layout, 6, 10)), !raid6.contains(layout)) << layout;
  }
  EXPECT_TRUE(refuses(geometry(5, 0xffffffff, 6, 10)));
  EXPECT_TRUE(refuses(geometry(6, 0x10002, 6, 10)));
  EXPECT_FALSE(refuses(geometry(4, 77, 6, 10)));
}

TEST(Layout, RefusesImpossibleNumbersOfSlots) {
  struct Limits {
    std::int32_t level;
    std::uint32_t layout;
    std::uint32_t low;
    std::uint32_t high;
  };
  for (const Limits& l : {Limits{4, 0, 2, 0xff00}, Limits{5, 2, 2, 0xff00}, Limits{6, 2, 4, 257}, Limits{6, 18, 4, 257},
                          Limits{6, 8, 4, 255}, Limits{6, 9, 4, 255}, Limits{6, 10, 4, 255}}) {
    EXPECT_TRUE(refuses(geometry(l.level, l.layout, 0, 10)));
    EXPECT_TRUE(refuses(geometry(l.level, l.layout, l.low - 1, 10)));
    EXPECT_FALSE(refuses(geometry(l.level, l.layout, l.low, 10)));
    EXPECT_FALSE(refuses(geometry(l.level, l.layout, l.high, 10)));
    EXPECT_TRUE(refuses(geometry(l.level, l.layout, l.high + 1, 10)));
    EXPECT_TRUE(refuses(geometry(l.level, l.layout, 0xffffffff, 10)));
  }
}

TEST(Layout, ExponentsStayDistinctAndBelow255AtTheLimits) {
  for (const auto& [layout_code, slots] : {std::pair{2U, 257U}, {0U, 257U}, {16U, 257U}, {8U, 255U}, {10U, 255U}}) {
    const Layout layout = layout_of(geometry(6, layout_code, slots, slots));
    for (std::uint64_t stripe = 0; stripe < slots; ++stripe) {
      std::set<std::uint32_t> seen;
      for (std::uint32_t slot = 0; slot < slots; ++slot) {
        if (const auto exponent = layout.q_exponent(stripe, slot)) {
          ASSERT_LT(*exponent, 255U);
          ASSERT_TRUE(seen.insert(*exponent).second);
        }
      }
      ASSERT_EQ(seen.size(), slots - 2);
    }
  }
}

TEST(Layout, RefusesBadChunksAndSizes) {
  for (const std::uint64_t chunk : {0ULL, 1ULL, 4ULL, 7ULL, 12ULL, 24ULL, 129ULL, ~0ULL}) {
    EXPECT_TRUE(refuses({5, 2, 4, Sectors(chunk), Sectors(1 << 20)})) << chunk;
  }
  EXPECT_TRUE(refuses({5, 2, 4, Sectors(1024), Sectors(0)}));
  EXPECT_TRUE(refuses({5, 2, 4, Sectors(1024), Sectors(1023)}));
  EXPECT_FALSE(refuses({5, 2, 4, Sectors(1024), Sectors(1024)}));
  EXPECT_TRUE(refuses({5, 2, 4, Sectors(std::uint64_t{1} << 63), Sectors::max()}));
}

TEST(Layout, RefusesArraysThatDoNotFit64Bits) {
  const std::uint64_t all_sectors = std::uint64_t{1} << 55;  // 2^64 bytes
  EXPECT_TRUE(refuses({5, 2, 3, Sectors(8), Sectors::max()}));
  EXPECT_TRUE(refuses({5, 2, 3, Sectors(8), Sectors(all_sectors / 2)}));
  EXPECT_TRUE(refuses({5, 2, 0xff00, Sectors(8), Sectors(all_sectors / 0xf000)}));
  EXPECT_FALSE(refuses({5, 2, 3, Sectors(8), Sectors(all_sectors / 2 - 8)}));

  const Layout huge = layout_of({6, 2, 6, Sectors(1024), Sectors(all_sectors / 4 - 1)});
  const Sectors last = huge.array_size() - Sectors(1);
  EXPECT_EQ(huge.data(last).sector, huge.geometry().component_size - Sectors(1));
  EXPECT_EQ(huge.array_sector(huge.data(last)), last);
}

// ---- names ----

TEST(LayoutName, OfRaid5And6) {
  EXPECT_EQ(layout_name(5, 0), "left-asymmetric");
  EXPECT_EQ(layout_name(5, 1), "right-asymmetric");
  EXPECT_EQ(layout_name(5, 2), "left-symmetric");
  EXPECT_EQ(layout_name(5, 3), "right-symmetric");
  EXPECT_EQ(layout_name(5, 4), "parity-first");
  EXPECT_EQ(layout_name(5, 5), "parity-last");
  EXPECT_EQ(layout_name(6, 2), "left-symmetric");
  EXPECT_EQ(layout_name(6, 5), "parity-last");
  EXPECT_EQ(layout_name(6, 8), "ddf-zero-restart");
  EXPECT_EQ(layout_name(6, 9), "ddf-N-restart");
  EXPECT_EQ(layout_name(6, 10), "ddf-N-continue");
  EXPECT_EQ(layout_name(6, 16), "left-asymmetric-6");
  EXPECT_EQ(layout_name(6, 17), "right-asymmetric-6");
  EXPECT_EQ(layout_name(6, 18), "left-symmetric-6");
  EXPECT_EQ(layout_name(6, 19), "right-symmetric-6");
  EXPECT_EQ(layout_name(6, 20), "parity-first-6");
}

TEST(LayoutName, ExistsForExactlyTheLayoutsThatCanBeMapped) {
  for (const std::int32_t level : {5, 6}) {
    for (std::uint32_t layout = 0; layout < 300; ++layout) {
      EXPECT_EQ(layout_name(level, layout).has_value(), !refuses(geometry(level, layout, 6, 10))) << level << layout;
    }
  }
  EXPECT_EQ(layout_name(5, 0xffffffff), std::nullopt);
}

TEST(LayoutName, OfOtherLevels) {
  EXPECT_EQ(layout_name(0, 1), "original");
  EXPECT_EQ(layout_name(0, 2), "alternate");
  EXPECT_EQ(layout_name(0, 0), std::nullopt);
  EXPECT_EQ(layout_name(10, 0x102), "near=2");
  EXPECT_EQ(layout_name(10, 0x201), "far=2");
  EXPECT_EQ(layout_name(10, 0x10201), "offset=2");
  EXPECT_EQ(layout_name(10, 0x40201), "far=2");
  EXPECT_EQ(layout_name(10, 0x202), "near=2, far=2");
  for (const std::uint32_t bad : {0x0U, 0x2U, 0x100U, 0x60201U, 0x80102U, 0x80000102U}) {
    EXPECT_EQ(layout_name(10, bad), std::nullopt) << bad;
  }
  for (const std::int32_t level : {-5, -4, -1, 1, 4, 7}) {
    EXPECT_EQ(layout_name(level, 0), std::nullopt) << level;
  }
}

TEST(LevelName, IsMdadms) {
  EXPECT_EQ(level_name(-1), "linear");
  EXPECT_EQ(level_name(0), "raid0");
  EXPECT_EQ(level_name(1), "raid1");
  EXPECT_EQ(level_name(4), "raid4");
  EXPECT_EQ(level_name(5), "raid5");
  EXPECT_EQ(level_name(6), "raid6");
  EXPECT_EQ(level_name(10), "raid10");
  EXPECT_EQ(level_name(-4), "multipath");
  EXPECT_EQ(level_name(-5), "faulty");
  for (const std::int32_t level : {-2, 2, 3, 7, 0x7fffffff}) {
    EXPECT_EQ(level_name(level), std::nullopt) << level;
  }
}

}  // namespace
}  // namespace mdtool
