// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/parity/recover.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "libraid/geometry/layout.h"

namespace mdtool::parity {
namespace {

constexpr std::size_t row_bytes = 192;
constexpr std::byte garbage{0x5a};

using Bytes = std::vector<std::byte>;
using Slots = std::vector<std::uint32_t>;
using Exponents = std::vector<std::optional<std::uint32_t>>;

// 2 * x, by the definition of the field.
std::byte slow_double(std::byte x) {
  const unsigned shifted = std::to_integer<unsigned>(x) << 1;
  return static_cast<std::byte>(shifted > 0xff ? shifted ^ 0x11dU : shifted);
}

// A row with right parity, worked out byte by byte.
class TestRow {
 public:
  TestRow(std::uint32_t slots, std::uint32_t p, std::optional<std::uint32_t> q, Exponents exponents)
      : exponents_(std::move(exponents)), p_(p), q_(q) {
    std::mt19937 random(slots * 131 + p);
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
      memory_.emplace_back(row_bytes + slots);
      std::ranges::generate(memory_.back(), [&] { return static_cast<std::byte>(random()); });
      blocks_.push_back(memory_.back().data() + slot);  // moving the vectors themselves keeps this
    }
    for (std::size_t at = 0; at < row_bytes; ++at) {
      set_parity(at);
    }
    right_ = memory_;
  }

  Row row() const { return {blocks_, exponents_, p_, q_, row_bytes}; }
  std::uint32_t slots() const { return static_cast<std::uint32_t>(blocks_.size()); }
  std::byte& byte(std::uint32_t slot, std::size_t at) { return blocks_[slot][at]; }
  void spoil(std::uint32_t slot) { std::fill_n(blocks_[slot], row_bytes, garbage); }
  bool all_right() const { return memory_ == right_; }

 private:
  void set_parity(std::size_t at) {
    std::byte p{};
    std::byte q{};
    for (std::uint32_t slot = 0; slot < blocks_.size(); ++slot) {
      if (slot == p_ || slot == q_) {
        continue;
      }
      std::byte product = blocks_[slot][at];
      p ^= product;
      for (std::uint32_t k = q_ ? *exponents_[slot] : 0; k != 0; --k) {
        product = slow_double(product);
      }
      q ^= product;
    }
    blocks_[p_][at] = p;
    if (q_) {
      blocks_[*q_][at] = q;
    }
  }

  std::vector<Bytes> memory_;
  std::vector<Bytes> right_;
  std::vector<MutableBlock> blocks_;
  Exponents exponents_;
  std::uint32_t p_;
  std::optional<std::uint32_t> q_;
};

Exponents native_exponents(std::uint32_t slots, std::uint32_t p, std::uint32_t q) {
  Exponents exponents(slots);
  std::uint32_t next = 0;
  for (std::uint32_t step = 1; step < slots; ++step) {
    const std::uint32_t slot = (q + step) % slots;
    if (slot != p) {
      exponents[slot] = next++;
    }
  }
  return exponents;
}

Exponents ddf_exponents(std::uint32_t slots, std::uint32_t p, std::uint32_t q) {
  Exponents exponents;
  for (std::uint32_t slot = 0; slot < slots; ++slot) {
    exponents.push_back(slot == p || slot == q ? std::nullopt : std::optional(slot));
  }
  return exponents;
}

TestRow single_parity_row(std::uint32_t slots, std::uint32_t p) {
  return {slots, p, std::nullopt, {}};
}

// No loss, and every loss of one or two slots, in both orders.
std::vector<Slots> losses(std::uint32_t slots, std::size_t at_most) {
  std::vector<Slots> all{{}};
  for (std::uint32_t a = 0; a < slots; ++a) {
    all.push_back({a});
    for (std::uint32_t b = 0; at_most == 2 && b < slots; ++b) {
      if (a != b) {
        all.push_back({a, b});
      }
    }
  }
  return all;
}

void expect_recovery(const Kernels& kernels, TestRow& row, const Slots& lost) {
  for (const std::uint32_t slot : lost) {
    row.spoil(slot);
  }
  const Status status = recover(kernels, row.row(), lost);
  ASSERT_TRUE(status) << status.error().text;
  ASSERT_TRUE(row.all_right()) << kernels.name << " slots " << row.slots() << " P " << row.row().p << " Q "
                               << row.row().q.value_or(0) << " lost " << testing::PrintToString(lost);
}

TEST(Recover, AnyOneOfASingleParityRow) {
  for (const Kernels* kernels : supported_kernels()) {
    for (std::uint32_t slots = 2; slots <= 9; ++slots) {
      for (std::uint32_t p = 0; p < slots; ++p) {
        TestRow row = single_parity_row(slots, p);
        for (const Slots& lost : losses(slots, 1)) {
          ASSERT_NO_FATAL_FAILURE(expect_recovery(*kernels, row, lost));
        }
      }
    }
  }
}

TEST(Recover, AnyTwoOfADoubleParityRow) {
  for (const Kernels* kernels : supported_kernels()) {
    for (std::uint32_t slots = 4; slots <= 9; ++slots) {
      for (const Slots& parity : losses(slots, 2)) {
        if (parity.size() != 2) {
          continue;
        }
        const auto [p, q] = std::pair(parity[0], parity[1]);
        for (const Exponents& exponents : {native_exponents(slots, p, q), ddf_exponents(slots, p, q)}) {
          TestRow row(slots, p, q, exponents);
          for (const Slots& lost : losses(slots, 2)) {
            ASSERT_NO_FATAL_FAILURE(expect_recovery(*kernels, row, lost));
          }
        }
      }
    }
  }
}

TEST(Recover, RowsOfEveryLayout) {
  const Kernels& kernels = *supported_kernels().front();
  for (const std::uint32_t code : {0U, 1U, 2U, 3U, 4U, 5U, 8U, 9U, 10U, 16U, 17U, 18U, 19U, 20U}) {
    for (std::uint32_t slots = 4; slots <= 8; ++slots) {
      const auto layout = Layout::of({6, code, slots, Sectors(8), Sectors(8) * slots});
      ASSERT_TRUE(layout);
      for (std::uint64_t stripe = 0; stripe < slots; ++stripe) {
        Exponents exponents;
        for (std::uint32_t slot = 0; slot < slots; ++slot) {
          exponents.push_back(layout->q_exponent(stripe, slot));
        }
        const ParitySlots parity = layout->parity(stripe);
        TestRow row(slots, parity.p, parity.q, exponents);
        ASSERT_TRUE(consistent(kernels, row.row()));
        for (const Slots& lost : losses(slots, 2)) {
          ASSERT_NO_FATAL_FAILURE(expect_recovery(kernels, row, lost)) << "layout " << code;
        }
      }
    }
  }
}

TEST(Recover, TheWidestRows) {
  for (const Kernels* kernels : supported_kernels()) {
    TestRow native(257, 256, 0, native_exponents(257, 256, 0));
    TestRow ddf(255, 17, 18, ddf_exponents(255, 17, 18));
    TestRow single = single_parity_row(1000, 500);
    for (const Slots& lost : std::vector<Slots>{{0, 256}, {1, 255}, {0, 7}, {254, 256}, {100, 200}, {9}}) {
      ASSERT_NO_FATAL_FAILURE(expect_recovery(*kernels, native, lost));
    }
    for (const Slots& lost : std::vector<Slots>{{17, 18}, {0, 254}, {17, 254}, {3, 18}, {16, 19}}) {
      ASSERT_NO_FATAL_FAILURE(expect_recovery(*kernels, ddf, lost));
    }
    for (const Slots& lost : std::vector<Slots>{{0}, {500}, {999}}) {
      ASSERT_NO_FATAL_FAILURE(expect_recovery(*kernels, single, lost));
    }
  }
}

void expect_refusal(TestRow& row, const Slots& lost) {
  const Status status = recover(*supported_kernels().front(), row.row(), lost);
  ASSERT_FALSE(status) << testing::PrintToString(lost);
  EXPECT_EQ(status.error().kind, ErrorKind::refused);
  EXPECT_TRUE(row.all_right()) << "written in spite of the refusal";
}

TEST(Recover, RefusesMoreThanTheParityCovers) {
  TestRow single = single_parity_row(5, 2);
  expect_refusal(single, {0, 1});
  expect_refusal(single, {2, 0});
  expect_refusal(single, {0, 1, 2, 3, 4});
  TestRow twofold(6, 4, 5, native_exponents(6, 4, 5));
  expect_refusal(twofold, {0, 1, 2});
  expect_refusal(twofold, {0, 4, 5});
  expect_refusal(twofold, {0, 1, 4});
}

TEST(Recover, RefusesSlotsThatAreNoneOrTheSame) {
  TestRow single = single_parity_row(5, 2);
  expect_refusal(single, {5});
  TestRow twofold(6, 4, 5, native_exponents(6, 4, 5));
  expect_refusal(twofold, {0, 6});
  expect_refusal(twofold, {3, 3});
  expect_refusal(twofold, {5, 5});
  expect_refusal(twofold, {0xffffffff});
}

TEST(Generate, WritesParityAndNothingElse) {
  for (const Kernels* kernels : supported_kernels()) {
    TestRow single = single_parity_row(5, 2);
    single.spoil(2);
    ASSERT_TRUE(generate(*kernels, single.row()));
    EXPECT_TRUE(single.all_right()) << kernels->name;

    TestRow twofold(7, 6, 0, ddf_exponents(7, 6, 0));
    twofold.spoil(0);
    twofold.spoil(6);
    ASSERT_TRUE(generate(*kernels, twofold.row()));
    EXPECT_TRUE(twofold.all_right()) << kernels->name;
  }
}

void expect_every_flip_seen(const Kernels& kernels, TestRow& row) {
  EXPECT_TRUE(consistent(kernels, row.row()));
  for (std::uint32_t slot = 0; slot < row.slots(); ++slot) {
    for (std::size_t at = 0; at < row_bytes; ++at) {
      row.byte(slot, at) ^= std::byte{0x10};
      EXPECT_FALSE(consistent(kernels, row.row())) << kernels.name << " slot " << slot << " byte " << at;
      row.byte(slot, at) ^= std::byte{0x10};
    }
  }
}

TEST(Consistent, NoticesAnyWrongByteOfAnyBlock) {
  for (const Kernels* kernels : supported_kernels()) {
    TestRow single = single_parity_row(4, 3);
    expect_every_flip_seen(*kernels, single);
    TestRow twofold(6, 2, 3, native_exponents(6, 2, 3));
    expect_every_flip_seen(*kernels, twofold);
  }
}

// P still agrees when two data blocks change places; Q does not.
TEST(Consistent, NoticesSwappedData) {
  for (const Kernels* kernels : supported_kernels()) {
    TestRow row(6, 2, 3, native_exponents(6, 2, 3));
    for (std::size_t at = 0; at < row_bytes; ++at) {
      std::swap(row.byte(0, at), row.byte(5, at));
    }
    EXPECT_FALSE(consistent(*kernels, row.row())) << kernels->name;
  }
}

}  // namespace
}  // namespace mdtool::parity
