// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/sha1.h"

#include <bit>
#include <cstdint>
#include <string>

namespace mdtool {

namespace {

constexpr std::size_t block_bytes = 64;
using State = std::array<std::uint32_t, 5>;

// The text, a one bit, zeroes up to 8 bytes before a block's end, and the length in bits.
std::string padded(std::string_view text) {
  std::string message(text);
  message += '\x80';
  message.append((block_bytes - (message.size() + 8) % block_bytes) % block_bytes, '\0');
  const std::uint64_t bits = std::uint64_t{text.size()} * 8;
  for (int shift = 56; shift >= 0; shift -= 8) {
    message += static_cast<char>(bits >> shift);
  }
  return message;
}

std::array<std::uint32_t, 80> schedule(std::string_view block) {
  std::array<std::uint32_t, 80> words{};
  for (std::size_t i = 0; i < block.size(); ++i) {
    words[i / 4] = words[i / 4] << 8 | static_cast<unsigned char>(block[i]);
  }
  for (std::size_t i = 16; i < words.size(); ++i) {
    words[i] = std::rotl(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
  }
  return words;
}

// f(t) + K(t) of the standard.
std::uint32_t mixed(std::size_t round, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  switch (round / 20) {
    case 0:
      return ((b & c) | (~b & d)) + 0x5a827999;
    case 1:
      return (b ^ c ^ d) + 0x6ed9eba1;
    case 2:
      return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    default:
      return (b ^ c ^ d) + 0xca62c1d6;
  }
}

void add_block(State& state, std::string_view block) {
  auto [a, b, c, d, e] = state;
  const std::array<std::uint32_t, 80> words = schedule(block);
  for (std::size_t round = 0; round < words.size(); ++round) {
    const std::uint32_t next = std::rotl(a, 5) + mixed(round, b, c, d) + e + words[round];
    e = d;
    d = c;
    c = std::rotl(b, 30);
    b = a;
    a = next;
  }
  state = {state[0] + a, state[1] + b, state[2] + c, state[3] + d, state[4] + e};
}

}  // namespace

std::array<unsigned char, 20> sha1(std::string_view text) {
  State state{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  const std::string message = padded(text);
  for (std::size_t at = 0; at < message.size(); at += block_bytes) {
    add_block(state, std::string_view(message).substr(at, block_bytes));
  }
  std::array<unsigned char, 20> digest{};
  for (std::size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<unsigned char>(state[i / 4] >> (24 - i % 4 * 8));
  }
  return digest;
}

}  // namespace mdtool
