// SPDX-License-Identifier: GPL-2.0-or-later
// Sectors: a count or a position in units of 512 bytes, whatever a device's logical block is. md's own unit.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace mdtool {

class Sectors {
 public:
  static constexpr std::uint64_t bytes_each = 512;

  constexpr Sectors() = default;
  constexpr explicit Sectors(std::uint64_t count) : count_(count) {}
  static constexpr Sectors from_bytes(std::uint64_t bytes) { return Sectors(bytes / bytes_each); }
  // All ones: "clean", "in sync", "no limit" (MaxSector in the kernel).
  static constexpr Sectors max() { return Sectors(std::numeric_limits<std::uint64_t>::max()); }

  constexpr std::uint64_t count() const { return count_; }
  constexpr std::uint64_t bytes() const { return count_ * bytes_each; }
  constexpr bool is_zero() const { return count_ == 0; }
  constexpr bool is_max() const { return *this == max(); }

  friend constexpr auto operator<=>(Sectors, Sectors) = default;
  friend constexpr Sectors operator+(Sectors a, Sectors b) { return Sectors(a.count_ + b.count_); }
  friend constexpr Sectors operator-(Sectors a, Sectors b) { return Sectors(a.count_ - b.count_); }
  friend constexpr Sectors operator*(Sectors a, std::uint64_t n) { return Sectors(a.count_ * n); }
  friend constexpr Sectors operator/(Sectors a, std::uint64_t n) { return Sectors(a.count_ / n); }
  friend constexpr std::uint64_t operator/(Sectors a, Sectors b) { return a.count_ / b.count_; }
  friend constexpr Sectors operator%(Sectors a, Sectors b) { return Sectors(a.count_ % b.count_); }
  constexpr Sectors& operator+=(Sectors b) {
    count_ += b.count_;
    return *this;
  }

 private:
  std::uint64_t count_ = 0;
};

}  // namespace mdtool
