// SPDX-License-Identifier: GPL-2.0-or-later
// AVX2, and the same with GFNI for processors that have it without AVX-512. Two vectors are one cache line; the sums
// stay in the sixteen registers.
#if defined(__x86_64__)
#include <immintrin.h>

#include "libraid/parity/horner.h"
#include "libraid/parity/kernel_tables.h"

namespace mdtool::parity {
namespace {

using Vector = __m256i;
constexpr std::size_t vector_bytes = sizeof(Vector);
constexpr std::size_t per_line = 2;  // the shortest block is one cache line

template <std::size_t vectors>
struct Sum {
  Vector v[vectors];
};

template <std::size_t vectors>
struct PqSum {
  Sum<vectors> p;
  Sum<vectors> q;
};

[[gnu::target("avx2"), gnu::always_inline]] inline Vector load(Block block) {
  Vector v = _mm256_loadu_si256(reinterpret_cast<const Vector*>(block));
  // Keeps g++ 12 from loading twice where the value is used twice.
  asm("" : "+x"(v));
  return v;
}

template <std::size_t vectors>
[[gnu::target("avx2"), gnu::always_inline]] inline Sum<vectors> zero() {
  Sum<vectors> sum;
  for (std::size_t i = 0; i < vectors; ++i) {
    sum.v[i] = _mm256_setzero_si256();
  }
  return sum;
}

template <std::size_t vectors>
[[gnu::target("avx2"), gnu::always_inline]] inline void store(MutableBlock block, const Sum<vectors>& sum) {
  for (std::size_t i = 0; i < vectors; ++i) {
    _mm256_storeu_si256(reinterpret_cast<Vector*>(block + i * vector_bytes), sum.v[i]);
  }
}

// `seen`, and the bits in which the sum differs from what is stored.
template <std::size_t vectors>
[[gnu::target("avx2"), gnu::always_inline]] inline Vector differing(Vector seen, Block stored,
                                                                    const Sum<vectors>& sum) {
  for (std::size_t i = 0; i < vectors; ++i) {
    seen = _mm256_or_si256(seen, _mm256_xor_si256(sum.v[i], load(stored + i * vector_bytes)));
  }
  return seen;
}

// The part of a block that a loop of so many vectors covers; the rest goes line by line.
constexpr std::size_t whole(std::size_t bytes, std::size_t vectors) {
  return bytes - bytes % (vectors * vector_bytes);
}

struct Range {
  std::size_t begin;
  std::size_t end;
};

// ---- XOR ----

template <std::size_t vectors>
[[gnu::target("avx2"), gnu::always_inline]] inline Sum<vectors> xor_vectors(std::span<const Block> sources,
                                                                            std::size_t at) {
  Sum<vectors> sum = zero<vectors>();
  for (const Block source : sources) {
    for (std::size_t i = 0; i < vectors; ++i) {
      sum.v[i] = _mm256_xor_si256(sum.v[i], load(source + at + i * vector_bytes));
    }
  }
  return sum;
}

template <std::size_t vectors>
[[gnu::target("avx2")]] void xor_generate_range(std::span<const Block> sources, MutableBlock destination, Range range) {
  for (std::size_t at = range.begin; at < range.end; at += vectors * vector_bytes) {
    store(destination + at, xor_vectors<vectors>(sources, at));
  }
}

void xor_generate(std::span<const Block> sources, MutableBlock destination, std::size_t bytes) {
  const std::size_t end = whole(bytes, 8);
  xor_generate_range<8>(sources, destination, {0, end});
  xor_generate_range<per_line>(sources, destination, {end, bytes});
}

template <std::size_t vectors>
[[gnu::target("avx2")]] bool xor_check_range(std::span<const Block> sources, Range range) {
  Vector seen = _mm256_setzero_si256();
  for (std::size_t at = range.begin; at < range.end; at += vectors * vector_bytes) {
    const Sum<vectors> sum = xor_vectors<vectors>(sources, at);
    for (std::size_t i = 0; i < vectors; ++i) {
      seen = _mm256_or_si256(seen, sum.v[i]);
    }
  }
  return _mm256_testz_si256(seen, seen) != 0;
}

bool xor_check(std::span<const Block> sources, std::size_t bytes) {
  const std::size_t end = whole(bytes, 8);
  return xor_check_range<8>(sources, {0, end}) && xor_check_range<per_line>(sources, {end, bytes});
}

// ---- P and Q by doubling ----

[[gnu::target("avx2"), gnu::always_inline]] inline Vector doubled(Vector v) {
  const Vector leaving = _mm256_cmpgt_epi8(_mm256_setzero_si256(), v);
  const Vector fold = _mm256_and_si256(leaving, _mm256_set1_epi8(reduction));
  return _mm256_xor_si256(_mm256_add_epi8(v, v), fold);
}

template <std::size_t vectors>
[[gnu::target("avx2"), gnu::always_inline]] inline void double_times(Sum<vectors>& sum, unsigned times) {
  for (; times != 0; --times) {
    for (std::size_t i = 0; i < vectors; ++i) {
      sum.v[i] = doubled(sum.v[i]);
    }
  }
}

template <std::size_t vectors>
[[gnu::target("avx2"), gnu::always_inline]] inline PqSum<vectors> pq_vectors(const Horner& terms, std::size_t at) {
  PqSum<vectors> sum;
  for (std::size_t i = 0; i < vectors; ++i) {
    sum.p.v[i] = sum.q.v[i] = load(terms.source(0) + at + i * vector_bytes);
  }
  for (std::size_t s = 1; s < terms.size(); ++s) {
    double_times(sum.q, terms.extra_doublings(s));
    for (std::size_t i = 0; i < vectors; ++i) {
      const Vector data = load(terms.source(s) + at + i * vector_bytes);
      sum.p.v[i] = _mm256_xor_si256(sum.p.v[i], data);
      sum.q.v[i] = _mm256_xor_si256(doubled(sum.q.v[i]), data);
    }
  }
  double_times(sum.q, terms.last_doublings());
  return sum;
}

template <std::size_t vectors>
[[gnu::target("avx2")]] void pq_generate_range(const Horner& terms, MutableBlock p, MutableBlock q, Range range) {
  for (std::size_t at = range.begin; at < range.end; at += vectors * vector_bytes) {
    const PqSum<vectors> sum = pq_vectors<vectors>(terms, at);
    store(p + at, sum.p);
    store(q + at, sum.q);
  }
}

void pq_generate(std::span<const Block> data, std::span<const std::uint8_t> exponents, MutableBlock p, MutableBlock q,
                 std::size_t bytes) {
  const Horner terms(data, exponents);
  const std::size_t end = whole(bytes, 4);
  pq_generate_range<4>(terms, p, q, {0, end});
  pq_generate_range<per_line>(terms, p, q, {end, bytes});
}

template <std::size_t vectors>
[[gnu::target("avx2")]] bool pq_check_range(const Horner& terms, Block p, Block q, Range range) {
  Vector seen = _mm256_setzero_si256();
  for (std::size_t at = range.begin; at < range.end; at += vectors * vector_bytes) {
    const PqSum<vectors> sum = pq_vectors<vectors>(terms, at);
    seen = differing(differing(seen, p + at, sum.p), q + at, sum.q);
  }
  return _mm256_testz_si256(seen, seen) != 0;
}

bool pq_check(std::span<const Block> data, std::span<const std::uint8_t> exponents, Block p, Block q,
              std::size_t bytes) {
  const Horner terms(data, exponents);
  const std::size_t end = whole(bytes, 4);
  return pq_check_range<4>(terms, p, q, {0, end}) && pq_check_range<per_line>(terms, p, q, {end, bytes});
}

// ---- independent coefficients by looking up half bytes ----

[[gnu::target("avx2"), gnu::always_inline]] inline Vector load_table(const std::array<std::uint8_t, 16>& table) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table.data())));
}

template <std::size_t vectors>
[[gnu::target("avx2"), gnu::always_inline]] inline Sum<vectors> multiply_add_vectors(
    std::span<const Block> sources, std::span<const std::uint8_t> coefficients, std::size_t at) {
  const Vector low_bits = _mm256_set1_epi8(0x0f);
  Sum<vectors> sum = zero<vectors>();
  for (std::size_t s = 0; s < sources.size(); ++s) {
    const Vector low_table = load_table(nibbles[coefficients[s]].low);
    const Vector high_table = load_table(nibbles[coefficients[s]].high);
    for (std::size_t i = 0; i < vectors; ++i) {
      const Vector data = load(sources[s] + at + i * vector_bytes);
      const Vector low = _mm256_and_si256(data, low_bits);
      const Vector high = _mm256_and_si256(_mm256_srli_epi64(data, 4), low_bits);
      const Vector product =
          _mm256_xor_si256(_mm256_shuffle_epi8(low_table, low), _mm256_shuffle_epi8(high_table, high));
      sum.v[i] = _mm256_xor_si256(sum.v[i], product);
    }
  }
  return sum;
}

template <std::size_t vectors>
[[gnu::target("avx2")]] void multiply_add_range(std::span<const Block> sources,
                                                std::span<const std::uint8_t> coefficients, MutableBlock destination,
                                                Range range) {
  for (std::size_t at = range.begin; at < range.end; at += vectors * vector_bytes) {
    store(destination + at, multiply_add_vectors<vectors>(sources, coefficients, at));
  }
}

void multiply_add(std::span<const Block> sources, std::span<const std::uint8_t> coefficients, MutableBlock destination,
                  std::size_t bytes) {
  const std::size_t end = whole(bytes, 4);
  multiply_add_range<4>(sources, coefficients, destination, {0, end});
  multiply_add_range<per_line>(sources, coefficients, destination, {end, bytes});
}

// ---- GFNI: any coefficient costs one instruction, so that no order of the exponents is better than another ----

[[gnu::target("avx2,gfni"), gnu::always_inline]] inline Vector matrix_of(std::uint8_t coefficient) {
  return _mm256_set1_epi64x(static_cast<long long>(affine_matrices[coefficient]));
}

[[gnu::target("avx2,gfni"), gnu::always_inline]] inline Vector times(Vector v, Vector matrix) {
  return _mm256_gf2p8affine_epi64_epi8(v, matrix, 0);
}

template <std::size_t vectors>
[[gnu::target("avx2,gfni"), gnu::always_inline]] inline PqSum<vectors> gfni_pq_vectors(
    std::span<const Block> data, std::span<const std::uint8_t> exponents, std::size_t at) {
  PqSum<vectors> sum{zero<vectors>(), zero<vectors>()};
  for (std::size_t s = 0; s < data.size(); ++s) {
    const Vector matrix = matrix_of(logarithms.power[exponents[s]]);
    for (std::size_t i = 0; i < vectors; ++i) {
      const Vector v = load(data[s] + at + i * vector_bytes);
      sum.p.v[i] = _mm256_xor_si256(sum.p.v[i], v);
      sum.q.v[i] = _mm256_xor_si256(sum.q.v[i], times(v, matrix));
    }
  }
  return sum;
}

template <std::size_t vectors>
[[gnu::target("avx2,gfni")]] void gfni_pq_generate_range(std::span<const Block> data,
                                                         std::span<const std::uint8_t> exponents, MutableBlock p,
                                                         MutableBlock q, Range range) {
  for (std::size_t at = range.begin; at < range.end; at += vectors * vector_bytes) {
    const PqSum<vectors> sum = gfni_pq_vectors<vectors>(data, exponents, at);
    store(p + at, sum.p);
    store(q + at, sum.q);
  }
}

void gfni_pq_generate(std::span<const Block> data, std::span<const std::uint8_t> exponents, MutableBlock p,
                      MutableBlock q, std::size_t bytes) {
  const std::size_t end = whole(bytes, 4);
  gfni_pq_generate_range<4>(data, exponents, p, q, {0, end});
  gfni_pq_generate_range<per_line>(data, exponents, p, q, {end, bytes});
}

template <std::size_t vectors>
[[gnu::target("avx2,gfni")]] bool gfni_pq_check_range(std::span<const Block> data,
                                                      std::span<const std::uint8_t> exponents, Block p, Block q,
                                                      Range range) {
  Vector seen = _mm256_setzero_si256();
  for (std::size_t at = range.begin; at < range.end; at += vectors * vector_bytes) {
    const PqSum<vectors> sum = gfni_pq_vectors<vectors>(data, exponents, at);
    seen = differing(differing(seen, p + at, sum.p), q + at, sum.q);
  }
  return _mm256_testz_si256(seen, seen) != 0;
}

bool gfni_pq_check(std::span<const Block> data, std::span<const std::uint8_t> exponents, Block p, Block q,
                   std::size_t bytes) {
  const std::size_t end = whole(bytes, 4);
  return gfni_pq_check_range<4>(data, exponents, p, q, {0, end}) &&
         gfni_pq_check_range<per_line>(data, exponents, p, q, {end, bytes});
}

template <std::size_t vectors>
[[gnu::target("avx2,gfni"), gnu::always_inline]] inline Sum<vectors> gfni_multiply_add_vectors(
    std::span<const Block> sources, std::span<const std::uint8_t> coefficients, std::size_t at) {
  Sum<vectors> sum = zero<vectors>();
  for (std::size_t s = 0; s < sources.size(); ++s) {
    const Vector matrix = matrix_of(coefficients[s]);
    for (std::size_t i = 0; i < vectors; ++i) {
      sum.v[i] = _mm256_xor_si256(sum.v[i], times(load(sources[s] + at + i * vector_bytes), matrix));
    }
  }
  return sum;
}

template <std::size_t vectors>
[[gnu::target("avx2,gfni")]] void gfni_multiply_add_range(std::span<const Block> sources,
                                                          std::span<const std::uint8_t> coefficients,
                                                          MutableBlock destination, Range range) {
  for (std::size_t at = range.begin; at < range.end; at += vectors * vector_bytes) {
    store(destination + at, gfni_multiply_add_vectors<vectors>(sources, coefficients, at));
  }
}

void gfni_multiply_add(std::span<const Block> sources, std::span<const std::uint8_t> coefficients,
                       MutableBlock destination, std::size_t bytes) {
  const std::size_t end = whole(bytes, 8);
  gfni_multiply_add_range<8>(sources, coefficients, destination, {0, end});
  gfni_multiply_add_range<per_line>(sources, coefficients, destination, {end, bytes});
}

}  // namespace

constexpr Kernels avx2_kernels{"avx2", xor_generate, pq_generate, xor_check, pq_check, multiply_add};
constexpr Kernels avx2_gfni_kernels{"avx2-gfni", xor_generate,  gfni_pq_generate,
                                    xor_check,   gfni_pq_check, gfni_multiply_add};

}  // namespace mdtool::parity
#endif
