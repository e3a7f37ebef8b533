// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "libraid/parity/kernel_tables.h"
#include "libraid/parity/kernels.h"

namespace mdtool::parity {
namespace {

using Bytes = std::vector<std::uint8_t>;

// ---- the oracle: one byte at a time, by the definition of the field ----

std::uint8_t slow_multiply(std::uint8_t a, std::uint8_t b) {
  unsigned product = 0;
  for (unsigned bit = 0; bit < 8; ++bit) {
    product ^= ((b >> bit) & 1U) != 0 ? unsigned{a} << bit : 0U;
  }
  for (unsigned bit = 14; bit >= 8; --bit) {
    product ^= ((product >> bit) & 1U) != 0 ? 0x11dU << (bit - 8) : 0U;
  }
  return static_cast<std::uint8_t>(product);
}

std::uint8_t slow_power_of_two(unsigned exponent) {
  std::uint8_t power = 1;
  for (; exponent != 0; --exponent) {
    power = slow_multiply(power, 2);
  }
  return power;
}

Bytes slow_sum(const std::vector<Bytes>& sources, const Bytes& coefficients) {
  Bytes sum(sources[0].size(), 0);
  for (std::size_t i = 0; i < sources.size(); ++i) {
    Bytes products(256);
    for (unsigned x = 0; x < 256; ++x) {
      products[x] = slow_multiply(coefficients[i], static_cast<std::uint8_t>(x));
    }
    for (std::size_t at = 0; at < sum.size(); ++at) {
      sum[at] ^= products[sources[i][at]];
    }
  }
  return sum;
}

Bytes powers(const Bytes& exponents) {
  Bytes coefficients;
  for (const std::uint8_t exponent : exponents) {
    coefficients.push_back(slow_power_of_two(exponent));
  }
  return coefficients;
}

// ---- memory as the kernels see it: at odd addresses, with something around it that must stay ----

class Buffer {
 public:
  Buffer(const Bytes& content, std::size_t offset)
      : memory_(content.size() + 3 * guard, guard_byte), size_(content.size()) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    start_ = guard + (guard - address % guard) % guard + offset % guard;
    std::ranges::copy(content, memory_.begin() + static_cast<std::ptrdiff_t>(start_));
  }

  MutableBlock block() { return reinterpret_cast<std::byte*>(memory_.data() + start_); }
  std::uint8_t& operator[](std::size_t at) { return memory_[start_ + at]; }
  Bytes content() const { return {begin(), begin() + static_cast<std::ptrdiff_t>(size_)}; }
  bool intact_around() const {
    const auto is_guard = [](std::uint8_t byte) { return byte == guard_byte; };
    return std::all_of(memory_.begin(), begin(), is_guard) &&
           std::all_of(begin() + static_cast<std::ptrdiff_t>(size_), memory_.end(), is_guard);
  }

 private:
  static constexpr std::size_t guard = 64;
  static constexpr std::uint8_t guard_byte = 0xa5;
  Bytes::const_iterator begin() const { return memory_.begin() + static_cast<std::ptrdiff_t>(start_); }
  Bytes memory_;
  std::size_t start_ = 0;
  std::size_t size_;
};

struct Row {
  std::vector<Bytes> content;
  std::vector<Buffer> buffers;
  std::vector<Block> blocks;
};

Row random_row(std::size_t sources, std::size_t bytes, bool aligned = false) {
  std::mt19937 random(static_cast<unsigned>(sources * 1000003 + bytes));
  Row row;
  for (std::size_t i = 0; i < sources; ++i) {
    Bytes content(bytes);
    std::ranges::generate(content, [&] { return static_cast<std::uint8_t>(random()); });
    row.content.push_back(content);
    row.buffers.emplace_back(content, aligned ? 0 : i * 7 + 1);
  }
  for (Buffer& buffer : row.buffers) {
    row.blocks.push_back(buffer.block());
  }
  return row;
}

Bytes consecutive(std::size_t count, unsigned first = 0) {
  Bytes exponents(count);
  std::iota(exponents.begin(), exponents.end(), static_cast<std::uint8_t>(first));
  return exponents;
}

// What layouts make of `count` data blocks, and some disorder.
std::vector<Bytes> exponent_orders(std::size_t count) {
  std::vector<Bytes> orders{consecutive(count)};
  Bytes turned = consecutive(count);
  std::rotate(turned.begin(), turned.begin() + static_cast<std::ptrdiff_t>(count / 2), turned.end());
  orders.push_back(turned);
  if (count + 4 <= 255) {
    Bytes holes = consecutive(count, 1);
    for (std::size_t i = count / 2; i < count; ++i) {
      holes[i] = static_cast<std::uint8_t>(holes[i] + 2);
    }
    orders.push_back(holes);
  }
  Bytes any = consecutive(255);
  std::shuffle(any.begin(), any.end(), std::mt19937(static_cast<unsigned>(count)));
  any.resize(count);
  orders.push_back(any);
  return orders;
}

class ParityKernels : public testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& kernels() const { return *GetParam(); }

  void expect_xor(Row& row, std::size_t bytes) {
    const Bytes expected = slow_sum(row.content, Bytes(row.content.size(), 1));
    Buffer p(Bytes(bytes, 0x77), 5);
    kernels().xor_generate(row.blocks, p.block(), bytes);
    ASSERT_EQ(p.content(), expected);
    ASSERT_TRUE(p.intact_around());
    std::vector<Block> with_p = row.blocks;
    with_p.push_back(p.block());
    ASSERT_TRUE(kernels().xor_check(with_p, bytes));
    p[bytes - 1] ^= 0x80;
    ASSERT_FALSE(kernels().xor_check(with_p, bytes));
  }

  void expect_pq(Row& row, const Bytes& exponents, std::size_t bytes) {
    const Bytes expected_p = slow_sum(row.content, Bytes(row.content.size(), 1));
    const Bytes expected_q = slow_sum(row.content, powers(exponents));
    Buffer p(Bytes(bytes, 0x77), 3);
    Buffer q(Bytes(bytes, 0x77), 60);
    kernels().pq_generate(row.blocks, exponents, p.block(), q.block(), bytes);
    ASSERT_EQ(p.content(), expected_p);
    ASSERT_EQ(q.content(), expected_q);
    ASSERT_TRUE(p.intact_around() && q.intact_around());
    ASSERT_TRUE(kernels().pq_check(row.blocks, exponents, p.block(), q.block(), bytes));
    q[bytes - 1] ^= 0x80;
    ASSERT_FALSE(kernels().pq_check(row.blocks, exponents, p.block(), q.block(), bytes));
  }

  void expect_multiply_add(Row& row, const Bytes& coefficients, std::size_t bytes) {
    Buffer sum(Bytes(bytes, 0x77), 9);
    kernels().multiply_add(row.blocks, coefficients, sum.block(), bytes);
    ASSERT_EQ(sum.content(), slow_sum(row.content, coefficients));
    ASSERT_TRUE(sum.intact_around());
  }

  void expect_all(std::size_t sources, std::size_t bytes) {
    SCOPED_TRACE("k " + std::to_string(sources) + " bytes " + std::to_string(bytes));
    Row row = random_row(sources, bytes);
    expect_xor(row, bytes);
    for (const Bytes& exponents : exponent_orders(sources)) {
      SCOPED_TRACE("exponents " + testing::PrintToString(exponents));
      expect_pq(row, exponents, bytes);
      expect_multiply_add(row, powers(exponents), bytes);
    }
  }
};

TEST_P(ParityKernels, EverySizeUpToMoreThanAPage) {
  for (std::size_t bytes = 64; bytes <= 4096 + 128; bytes += 64) {
    for (const std::size_t sources : {2U, 3U, 9U}) {
      expect_all(sources, bytes);
      if (HasFatalFailure()) {
        return;
      }
    }
  }
}

TEST_P(ParityKernels, EveryNumberOfSourcesUpTo33) {
  for (std::size_t sources = 1; sources <= 33; ++sources) {
    for (const std::size_t bytes : {64U, 832U}) {
      expect_all(sources, bytes);
      if (HasFatalFailure()) {
        return;
      }
    }
  }
}

TEST_P(ParityKernels, ManySources) {
  for (const std::size_t sources : {64U, 128U, 200U, 253U, 255U}) {
    expect_all(sources, 704);
  }
}

TEST_P(ParityKernels, AlignedBlocks) {
  for (const std::size_t sources : {4U, 8U, 11U}) {
    Row row = random_row(sources, 4096, true);
    expect_xor(row, 4096);
    expect_pq(row, consecutive(sources), 4096);
    expect_multiply_add(row, consecutive(sources, 100), 4096);
  }
}

TEST_P(ParityKernels, EveryCoefficient) {
  Row row = random_row(2, 320);
  for (unsigned coefficient = 0; coefficient < 256; ++coefficient) {
    expect_multiply_add(row, {static_cast<std::uint8_t>(coefficient), static_cast<std::uint8_t>(255 - coefficient)},
                        320);
  }
}

TEST_P(ParityKernels, EveryExponentAlone) {
  Row row = random_row(1, 64);
  for (unsigned exponent = 0; exponent < 255; ++exponent) {
    expect_pq(row, {static_cast<std::uint8_t>(exponent)}, 64);
  }
}

TEST_P(ParityKernels, SourcesStayAsTheyAre) {
  Row row = random_row(9, 1088);
  expect_xor(row, 1088);
  expect_pq(row, consecutive(9), 1088);
  expect_multiply_add(row, consecutive(9, 40), 1088);
  for (std::size_t i = 0; i < row.buffers.size(); ++i) {
    EXPECT_EQ(row.buffers[i].content(), row.content[i]);
    EXPECT_TRUE(row.buffers[i].intact_around());
  }
}

// One wrong bit anywhere, in data, P or Q.
TEST_P(ParityKernels, ChecksNoticeEveryByte) {
  for (const std::size_t sources : {3U, 8U}) {
    const std::size_t bytes = 704;
    Row row = random_row(sources, bytes);
    const Bytes exponents = consecutive(sources);
    Buffer p(slow_sum(row.content, Bytes(sources, 1)), 11);
    Buffer q(slow_sum(row.content, powers(exponents)), 13);
    std::vector<Block> with_p = row.blocks;
    with_p.push_back(p.block());
    for (std::size_t at = 0; at < bytes; ++at) {
      const auto flip = static_cast<std::uint8_t>(1U << (at % 8));
      for (Buffer* wrong : {&p, &q, &row.buffers[at % sources]}) {
        (*wrong)[at] ^= flip;
        EXPECT_FALSE(kernels().pq_check(row.blocks, exponents, p.block(), q.block(), bytes)) << at;
        EXPECT_EQ(kernels().xor_check(with_p, bytes), wrong == &q) << at;
        (*wrong)[at] ^= flip;
      }
    }
    EXPECT_TRUE(kernels().pq_check(row.blocks, exponents, p.block(), q.block(), bytes));
    EXPECT_TRUE(kernels().xor_check(with_p, bytes));
  }
}

TEST_P(ParityKernels, ByHand) {
  const std::vector<Bytes> content{Bytes(64, 0x01), Bytes(64, 0x02), Bytes(64, 0x80)};
  std::vector<Block> blocks;
  for (const Bytes& block : content) {
    blocks.push_back(reinterpret_cast<const std::byte*>(block.data()));
  }
  Buffer p(Bytes(64), 0);
  Buffer q(Bytes(64), 0);
  kernels().pq_generate(blocks, consecutive(3), p.block(), q.block(), 64);
  EXPECT_EQ(p.content(), Bytes(64, 0x83));
  EXPECT_EQ(q.content(), Bytes(64, 0x01 ^ 0x04 ^ 0x3a));  // 4 * 0x80 = 2 * 0x1d
}

TEST_P(ParityKernels, PassesItsSelfTest) {
  EXPECT_TRUE(passes_self_test(kernels()));
}

INSTANTIATE_TEST_SUITE_P(Supported, ParityKernels,
                         testing::ValuesIn(supported_kernels().begin(), supported_kernels().end()),
                         [](const auto& tested) {
                           std::string name(tested.param->name);
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// ---- the field ----

TEST(GaloisField, MultipliesAsByDefinition) {
  for (unsigned a = 0; a < 256; ++a) {
    for (unsigned b = 0; b < 256; ++b) {
      const auto x = static_cast<std::uint8_t>(a);
      const auto y = static_cast<std::uint8_t>(b);
      ASSERT_EQ(gf_multiply(x, y), slow_multiply(x, y)) << a << " * " << b;
    }
  }
}

TEST(GaloisField, PowersAndInverses) {
  for (unsigned exponent = 0; exponent < 600; ++exponent) {
    ASSERT_EQ(gf_power_of_two(exponent), slow_power_of_two(exponent)) << exponent;
  }
  for (unsigned a = 1; a < 256; ++a) {
    ASSERT_EQ(slow_multiply(static_cast<std::uint8_t>(a), gf_inverse(static_cast<std::uint8_t>(a))), 1) << a;
  }
  EXPECT_EQ(gf_power_of_two(255), 1);
  EXPECT_EQ(gf_inverse(2), 0x8e);
  EXPECT_EQ(gf_inverse(3), 0xf4);
  EXPECT_EQ(gf_inverse(gf_power_of_two(3) ^ 1), 0x9d);
}

// ---- choosing ----

TEST(ChooseKernels, ScalarIsTheLastOfDistinctNames) {
  std::set<std::string_view> names;
  for (const Kernels* kernels : supported_kernels()) {
    EXPECT_TRUE(names.insert(kernels->name).second) << kernels->name;
  }
  ASSERT_FALSE(supported_kernels().empty());
  EXPECT_EQ(supported_kernels().back()->name, "scalar");
}

TEST(ChooseKernels, TheFirstUnlessANameIsGiven) {
  const auto best = choose_kernels("");
  ASSERT_TRUE(best);
  EXPECT_EQ(*best, supported_kernels().front());
  for (const Kernels* kernels : supported_kernels()) {
    const auto chosen = choose_kernels(kernels->name);
    ASSERT_TRUE(chosen) << kernels->name;
    EXPECT_EQ(*chosen, kernels);
  }
}

TEST(ChooseKernels, UnknownNamesAreUsageErrors) {
  for (const std::string_view name : {"avx9000", "Scalar", "scalar ", "avx"}) {
    const auto chosen = choose_kernels(name);
    ASSERT_FALSE(chosen) << name;
    EXPECT_EQ(chosen.error().kind, ErrorKind::usage);
    EXPECT_NE(chosen.error().text.find(name), std::string::npos);
    EXPECT_NE(chosen.error().text.find("scalar"), std::string::npos);
  }
}

// ---- the self-test notices each function that is wrong in one byte, or never complains ----

Kernels scalar() {
  return *supported_kernels().back();
}

TEST(SelfTest, NoticesAWrongXor) {
  Kernels broken = scalar();
  broken.xor_generate = [](std::span<const Block> sources, MutableBlock destination, std::size_t bytes) {
    scalar().xor_generate(sources, destination, bytes);
    destination[bytes - 1] ^= std::byte{1};
  };
  EXPECT_FALSE(passes_self_test(broken));
}

TEST(SelfTest, NoticesAWrongQ) {
  Kernels broken = scalar();
  broken.pq_generate = [](std::span<const Block> data, std::span<const std::uint8_t> exponents, MutableBlock p,
                          MutableBlock q, std::size_t bytes) {
    scalar().pq_generate(data, exponents, p, q, bytes);
    q[bytes / 2] ^= std::byte{0x80};
  };
  EXPECT_FALSE(passes_self_test(broken));
}

TEST(SelfTest, NoticesQThatIgnoresTheExponents) {
  Kernels broken = scalar();
  broken.pq_generate = [](std::span<const Block> data, std::span<const std::uint8_t>, MutableBlock p, MutableBlock q,
                          std::size_t bytes) { scalar().pq_generate(data, consecutive(data.size()), p, q, bytes); };
  EXPECT_FALSE(passes_self_test(broken));
}

TEST(SelfTest, NoticesChecksThatAreAlwaysContent) {
  Kernels broken = scalar();
  broken.xor_check = [](std::span<const Block>, std::size_t) { return true; };
  EXPECT_FALSE(passes_self_test(broken));
  broken = scalar();
  broken.pq_check = [](std::span<const Block>, std::span<const std::uint8_t>, Block, Block, std::size_t) {
    return true;
  };
  EXPECT_FALSE(passes_self_test(broken));
}

TEST(SelfTest, NoticesAWrongProduct) {
  Kernels broken = scalar();
  broken.multiply_add = [](std::span<const Block> sources, std::span<const std::uint8_t>, MutableBlock destination,
                           std::size_t bytes) { scalar().xor_generate(sources, destination, bytes); };
  EXPECT_FALSE(passes_self_test(broken));
}

}  // namespace
}  // namespace mdtool::parity
