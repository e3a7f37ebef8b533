// SPDX-License-Identifier: GPL-2.0-or-later
// The words that content is made of, for everything that writes some. C and C++.
#pragma once

#include <stdint.h>

enum { SECTOR = 512, WORDS = SECTOR / sizeof(uint64_t) };

// The finalizer of MurmurHash3: a bijection, so distinct numbers give distinct words under one seed.
static inline uint64_t scramble(uint64_t x) {
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
  return x ^ (x >> 33);
}

static inline uint64_t word_of(uint64_t seed, uint64_t number) {
  return scramble(scramble(seed + 1) + number);
}
