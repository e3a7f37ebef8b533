// SPDX-License-Identifier: GPL-2.0-or-later
// AVX-512 with byte operations (Skylake-X on), and the same with GFNI (Ice Lake, Zen 4 on). One vector is one cache
// line; several lines of each source at a time keep the sums in registers.
#if defined(__x86_64__)
#include <immintrin.h>

#include "libraid/parity/horner.h"
#include "libraid/parity/kernel_tables.h"

namespace mdtool::parity {
namespace {

using Vector = __m512i;
constexpr std::size_t vector_bytes = sizeof(Vector);

// More lines per source pay once there are many sources.
constexpr std::size_t many_sources = 8;

template <std::size_t lines>
struct Sum {
  Vector v[lines];
};

template <std::size_t lines>
struct PqSum {
  Sum<lines> p;
  Sum<lines> q;
};

constexpr int sum_of_three = 0x96;   // a ^ b ^ c, for ternarylogic
constexpr int or_difference = 0xf6;  // a | (b ^ c)

[[gnu::target("avx512f,avx512bw"), gnu::always_inline]] inline Vector load(Block block) {
  Vector v = _mm512_loadu_si512(block);
  // Keeps g++ 12 from loading twice where the value is used twice.
  asm("" : "+v"(v));
  return v;
}

[[gnu::target("avx512f,avx512bw"), gnu::always_inline]] inline Vector sum3(Vector a, Vector b, Vector c) {
  return _mm512_ternarylogic_epi64(a, b, c, sum_of_three);
}

[[gnu::target("avx512f,avx512bw"), gnu::always_inline]] inline bool is_zero(Vector v) {
  return _mm512_test_epi64_mask(v, v) == 0;
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw"), gnu::always_inline]] inline Sum<lines> zero() {
  Sum<lines> sum;
  for (std::size_t i = 0; i < lines; ++i) {
    sum.v[i] = _mm512_setzero_si512();
  }
  return sum;
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw"), gnu::always_inline]] inline void store(MutableBlock block, const Sum<lines>& sum) {
  for (std::size_t i = 0; i < lines; ++i) {
    _mm512_storeu_si512(block + i * vector_bytes, sum.v[i]);
  }
}

// `seen`, and the bits in which the sum differs from what is stored.
template <std::size_t lines>
[[gnu::target("avx512f,avx512bw"), gnu::always_inline]] inline Vector differing(Vector seen, Block stored,
                                                                                const Sum<lines>& sum) {
  for (std::size_t i = 0; i < lines; ++i) {
    seen = _mm512_ternarylogic_epi64(seen, sum.v[i], load(stored + i * vector_bytes), or_difference);
  }
  return seen;
}

// The part of a block that a loop of so many lines covers; the rest goes line by line.
constexpr std::size_t whole(std::size_t bytes, std::size_t lines) {
  return bytes - bytes % (lines * vector_bytes);
}

struct Range {
  std::size_t begin;
  std::size_t end;
};

// ---- XOR ----

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw"), gnu::always_inline]] inline Sum<lines> xor_lines(std::span<const Block> sources,
                                                                                    std::size_t at) {
  Sum<lines> sum = zero<lines>();
  std::size_t s = 0;
  for (; s + 1 < sources.size(); s += 2) {
    const Block a = sources[s] + at;
    const Block b = sources[s + 1] + at;
    for (std::size_t i = 0; i < lines; ++i) {
      sum.v[i] = sum3(sum.v[i], load(a + i * vector_bytes), load(b + i * vector_bytes));
    }
  }
  if (s < sources.size()) {
    for (std::size_t i = 0; i < lines; ++i) {
      sum.v[i] = _mm512_xor_si512(sum.v[i], load(sources[s] + at + i * vector_bytes));
    }
  }
  return sum;
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw")]] void xor_generate_range(std::span<const Block> sources, MutableBlock destination,
                                                            Range range) {
  for (std::size_t at = range.begin; at < range.end; at += lines * vector_bytes) {
    store(destination + at, xor_lines<lines>(sources, at));
  }
}

void xor_generate(std::span<const Block> sources, MutableBlock destination, std::size_t bytes) {
  const std::size_t end = whole(bytes, 8);
  xor_generate_range<8>(sources, destination, {0, end});
  xor_generate_range<1>(sources, destination, {end, bytes});
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw")]] bool xor_check_range(std::span<const Block> sources, Range range) {
  Vector seen = _mm512_setzero_si512();
  for (std::size_t at = range.begin; at < range.end; at += lines * vector_bytes) {
    const Sum<lines> sum = xor_lines<lines>(sources, at);
    for (std::size_t i = 0; i < lines; ++i) {
      seen = _mm512_or_si512(seen, sum.v[i]);
    }
  }
  return is_zero(seen);
}

bool xor_check(std::span<const Block> sources, std::size_t bytes) {
  const std::size_t end = whole(bytes, 8);
  return xor_check_range<8>(sources, {0, end}) && xor_check_range<1>(sources, {end, bytes});
}

// ---- P and Q by doubling ----

[[gnu::target("avx512f,avx512bw"), gnu::always_inline]] inline Vector doubled_plus(Vector v, Vector addend) {
  const __mmask64 leaving = _mm512_movepi8_mask(v);
  const Vector fold = _mm512_maskz_set1_epi8(leaving, reduction);
  return sum3(_mm512_add_epi8(v, v), fold, addend);
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw"), gnu::always_inline]] inline void double_times(Sum<lines>& sum, unsigned times) {
  for (; times != 0; --times) {
    for (std::size_t i = 0; i < lines; ++i) {
      sum.v[i] = doubled_plus(sum.v[i], _mm512_setzero_si512());
    }
  }
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw"), gnu::always_inline]] inline PqSum<lines> pq_lines(const Horner& terms,
                                                                                     std::size_t at) {
  PqSum<lines> sum;
  for (std::size_t i = 0; i < lines; ++i) {
    sum.p.v[i] = sum.q.v[i] = load(terms.source(0) + at + i * vector_bytes);
  }
  for (std::size_t s = 1; s < terms.size(); ++s) {
    double_times(sum.q, terms.extra_doublings(s));
    for (std::size_t i = 0; i < lines; ++i) {
      const Vector data = load(terms.source(s) + at + i * vector_bytes);
      sum.p.v[i] = _mm512_xor_si512(sum.p.v[i], data);
      sum.q.v[i] = doubled_plus(sum.q.v[i], data);
    }
  }
  double_times(sum.q, terms.last_doublings());
  return sum;
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw")]] void pq_generate_range(const Horner& terms, MutableBlock p, MutableBlock q,
                                                           Range range) {
  for (std::size_t at = range.begin; at < range.end; at += lines * vector_bytes) {
    const PqSum<lines> sum = pq_lines<lines>(terms, at);
    store(p + at, sum.p);
    store(q + at, sum.q);
  }
}

void pq_generate(std::span<const Block> data, std::span<const std::uint8_t> exponents, MutableBlock p, MutableBlock q,
                 std::size_t bytes) {
  const Horner terms(data, exponents);
  const std::size_t end = whole(bytes, 4);
  pq_generate_range<4>(terms, p, q, {0, end});
  pq_generate_range<1>(terms, p, q, {end, bytes});
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw")]] bool pq_check_range(const Horner& terms, Block p, Block q, Range range) {
  Vector seen = _mm512_setzero_si512();
  for (std::size_t at = range.begin; at < range.end; at += lines * vector_bytes) {
    const PqSum<lines> sum = pq_lines<lines>(terms, at);
    seen = differing(differing(seen, p + at, sum.p), q + at, sum.q);
  }
  return is_zero(seen);
}

bool pq_check(std::span<const Block> data, std::span<const std::uint8_t> exponents, Block p, Block q,
              std::size_t bytes) {
  const Horner terms(data, exponents);
  const std::size_t end = whole(bytes, 4);
  return pq_check_range<4>(terms, p, q, {0, end}) && pq_check_range<1>(terms, p, q, {end, bytes});
}

// ---- independent coefficients by looking up half bytes ----

// The forms without a mask read an undefined vector in g++ 12's headers, and it warns.
constexpr __mmask16 all_16 = 0xffff;
constexpr __mmask8 all_8 = 0xff;

[[gnu::target("avx512f,avx512bw"), gnu::always_inline]] inline Vector load_table(
    const std::array<std::uint8_t, 16>& table) {
  return _mm512_maskz_broadcast_i32x4(all_16, _mm_loadu_si128(reinterpret_cast<const __m128i*>(table.data())));
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw"), gnu::always_inline]] inline Sum<lines> multiply_add_lines(
    std::span<const Block> sources, std::span<const std::uint8_t> coefficients, std::size_t at) {
  const Vector low_bits = _mm512_set1_epi8(0x0f);
  Sum<lines> sum = zero<lines>();
  for (std::size_t s = 0; s < sources.size(); ++s) {
    const Vector low_table = load_table(nibbles[coefficients[s]].low);
    const Vector high_table = load_table(nibbles[coefficients[s]].high);
    for (std::size_t i = 0; i < lines; ++i) {
      const Vector data = load(sources[s] + at + i * vector_bytes);
      const Vector low = _mm512_and_si512(data, low_bits);
      const Vector high = _mm512_and_si512(_mm512_maskz_srli_epi64(all_8, data, 4), low_bits);
      sum.v[i] = sum3(sum.v[i], _mm512_shuffle_epi8(low_table, low), _mm512_shuffle_epi8(high_table, high));
    }
  }
  return sum;
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw")]] void multiply_add_range(std::span<const Block> sources,
                                                            std::span<const std::uint8_t> coefficients,
                                                            MutableBlock destination, Range range) {
  for (std::size_t at = range.begin; at < range.end; at += lines * vector_bytes) {
    store(destination + at, multiply_add_lines<lines>(sources, coefficients, at));
  }
}

void multiply_add(std::span<const Block> sources, std::span<const std::uint8_t> coefficients, MutableBlock destination,
                  std::size_t bytes) {
  const std::size_t end = whole(bytes, 4);
  multiply_add_range<4>(sources, coefficients, destination, {0, end});
  multiply_add_range<1>(sources, coefficients, destination, {end, bytes});
}

// ---- GFNI: any coefficient costs one instruction, so that no order of the exponents is better than another ----

[[gnu::target("avx512f,avx512bw,gfni"), gnu::always_inline]] inline Vector matrix_of(std::uint8_t coefficient) {
  Vector matrix = _mm512_set1_epi64(static_cast<long long>(affine_matrices[coefficient]));
  // clang 14 was seen to fold the broadcast into the instruction and to multiply by something else then.
  asm("" : "+v"(matrix));
  return matrix;
}

[[gnu::target("avx512f,avx512bw,gfni"), gnu::always_inline]] inline Vector times(Vector v, Vector matrix) {
  return _mm512_gf2p8affine_epi64_epi8(v, matrix, 0);
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw,gfni"), gnu::always_inline]] inline PqSum<lines> gfni_pq_lines(
    std::span<const Block> data, std::span<const std::uint8_t> exponents, std::size_t at) {
  PqSum<lines> sum{zero<lines>(), zero<lines>()};
  std::size_t s = 0;
  for (; s + 1 < data.size(); s += 2) {
    const Vector matrix_a = matrix_of(logarithms.power[exponents[s]]);
    const Vector matrix_b = matrix_of(logarithms.power[exponents[s + 1]]);
    for (std::size_t i = 0; i < lines; ++i) {
      const Vector a = load(data[s] + at + i * vector_bytes);
      const Vector b = load(data[s + 1] + at + i * vector_bytes);
      sum.p.v[i] = sum3(sum.p.v[i], a, b);
      sum.q.v[i] = sum3(sum.q.v[i], times(a, matrix_a), times(b, matrix_b));
    }
  }
  if (s < data.size()) {
    const Vector matrix = matrix_of(logarithms.power[exponents[s]]);
    for (std::size_t i = 0; i < lines; ++i) {
      const Vector a = load(data[s] + at + i * vector_bytes);
      sum.p.v[i] = _mm512_xor_si512(sum.p.v[i], a);
      sum.q.v[i] = _mm512_xor_si512(sum.q.v[i], times(a, matrix));
    }
  }
  return sum;
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw,gfni")]] void gfni_pq_generate_range(std::span<const Block> data,
                                                                     std::span<const std::uint8_t> exponents,
                                                                     MutableBlock p, MutableBlock q, Range range) {
  for (std::size_t at = range.begin; at < range.end; at += lines * vector_bytes) {
    const PqSum<lines> sum = gfni_pq_lines<lines>(data, exponents, at);
    store(p + at, sum.p);
    store(q + at, sum.q);
  }
}

void gfni_pq_generate(std::span<const Block> data, std::span<const std::uint8_t> exponents, MutableBlock p,
                      MutableBlock q, std::size_t bytes) {
  const bool many = data.size() >= many_sources;
  const std::size_t end = whole(bytes, many ? 8 : 4);
  if (many) {
    gfni_pq_generate_range<8>(data, exponents, p, q, {0, end});
  } else {
    gfni_pq_generate_range<4>(data, exponents, p, q, {0, end});
  }
  gfni_pq_generate_range<1>(data, exponents, p, q, {end, bytes});
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw,gfni")]] bool gfni_pq_check_range(std::span<const Block> data,
                                                                  std::span<const std::uint8_t> exponents, Block p,
                                                                  Block q, Range range) {
  Vector seen = _mm512_setzero_si512();
  for (std::size_t at = range.begin; at < range.end; at += lines * vector_bytes) {
    const PqSum<lines> sum = gfni_pq_lines<lines>(data, exponents, at);
    seen = differing(differing(seen, p + at, sum.p), q + at, sum.q);
  }
  return is_zero(seen);
}

bool gfni_pq_check(std::span<const Block> data, std::span<const std::uint8_t> exponents, Block p, Block q,
                   std::size_t bytes) {
  const bool many = data.size() >= many_sources;
  const std::size_t end = whole(bytes, many ? 8 : 4);
  const bool agrees = many ? gfni_pq_check_range<8>(data, exponents, p, q, {0, end})
                           : gfni_pq_check_range<4>(data, exponents, p, q, {0, end});
  return agrees && gfni_pq_check_range<1>(data, exponents, p, q, {end, bytes});
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw,gfni"), gnu::always_inline]] inline Sum<lines> gfni_multiply_add_lines(
    std::span<const Block> sources, std::span<const std::uint8_t> coefficients, std::size_t at) {
  Sum<lines> sum = zero<lines>();
  std::size_t s = 0;
  for (; s + 1 < sources.size(); s += 2) {
    const Vector matrix_a = matrix_of(coefficients[s]);
    const Vector matrix_b = matrix_of(coefficients[s + 1]);
    for (std::size_t i = 0; i < lines; ++i) {
      const Vector a = load(sources[s] + at + i * vector_bytes);
      const Vector b = load(sources[s + 1] + at + i * vector_bytes);
      sum.v[i] = sum3(sum.v[i], times(a, matrix_a), times(b, matrix_b));
    }
  }
  if (s < sources.size()) {
    const Vector matrix = matrix_of(coefficients[s]);
    for (std::size_t i = 0; i < lines; ++i) {
      sum.v[i] = _mm512_xor_si512(sum.v[i], times(load(sources[s] + at + i * vector_bytes), matrix));
    }
  }
  return sum;
}

template <std::size_t lines>
[[gnu::target("avx512f,avx512bw,gfni")]] void gfni_multiply_add_range(std::span<const Block> sources,
                                                                      std::span<const std::uint8_t> coefficients,
                                                                      MutableBlock destination, Range range) {
  for (std::size_t at = range.begin; at < range.end; at += lines * vector_bytes) {
    store(destination + at, gfni_multiply_add_lines<lines>(sources, coefficients, at));
  }
}

void gfni_multiply_add(std::span<const Block> sources, std::span<const std::uint8_t> coefficients,
                       MutableBlock destination, std::size_t bytes) {
  const std::size_t end = whole(bytes, 8);
  gfni_multiply_add_range<8>(sources, coefficients, destination, {0, end});
  gfni_multiply_add_range<1>(sources, coefficients, destination, {end, bytes});
}

}  // namespace

constexpr Kernels avx512_kernels{"avx512", xor_generate, pq_generate, xor_check, pq_check, multiply_add};
constexpr Kernels avx512_gfni_kernels{"avx512-gfni", xor_generate,  gfni_pq_generate,
                                      xor_check,     gfni_pq_check, gfni_multiply_add};

}  // namespace mdtool::parity
#endif
