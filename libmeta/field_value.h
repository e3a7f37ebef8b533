// SPDX-License-Identifier: GPL-2.0-or-later
// Two visitors of an on-disk structure's fields: one lists them, one sets the field of a name from text. A structure
// names its fields once, in a function template over its visitor. Knows how values are spelled, no structure.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "libmeta/field_list.h"
#include "libmeta/ondisk.h"
#include "libmeta/result.h"
#include "libmeta/uuid.h"

namespace mdtool {

// Whether all ones have a meaning of their own in a field ("clean", "nothing left to recover").
enum class AllOnes { a_number, a_state };

// Of 1.x: the low 40 bits are seconds, the high 24 microseconds.
constexpr int seconds_bits = 40;
constexpr std::uint64_t seconds_mask = (std::uint64_t{1} << seconds_bits) - 1;

// Decimal or 0x hexadecimal; with AllOnes::a_state also "clean", "max" and "all-ones", which are `most`; with
// Unit::seconds also a time of UTC, "2026-01-31T23:59:59Z". Fails (usage) with the range named.
Result<std::uint64_t> unsigned_value(std::string_view text, std::uint64_t most, Unit unit, AllOnes all_ones);
Result<std::int64_t> signed_value(std::string_view text, std::int64_t least, std::int64_t most);
// No field has this name; those that may have been meant are named.
Error unknown_field(std::string_view name, const Fields& all);
// As many bytes as `bytes` has, two digits each; "0" for all of them 0.
Status set_hex_digits(std::string_view text, std::span<unsigned char> bytes);
// `text`, the rest NUL.
Status set_characters(std::string_view text, std::span<char> characters);

class FieldReader {
 public:
  template <typename T, std::endian Order>
  void number(std::string name, const OnDisk<T, Order>& field, Unit unit = Unit::none, AllOnes = AllOnes::a_number) {
    if constexpr (std::is_signed_v<T>) {
      list_.signed_number(std::move(name), field.value(), unit);
    } else {
      list_.number(std::move(name), field.value(), unit);
    }
  }
  void time(const std::string& name, const le64& field) {
    list_.number(name, field & seconds_mask, Unit::seconds);
    list_.number(name + ".microseconds", field >> seconds_bits);
  }
  void uuid(std::string name, const std::array<unsigned char, 16>& field) {
    list_.text(std::move(name), Uuid{field}.text());
  }
  void characters(std::string name, std::span<const char> field) {
    list_.text(std::move(name), std::string(field.begin(), std::find(field.begin(), field.end(), '\0')));
  }
  // As it lies on disk.
  template <typename T>
  void raw(std::string name, const T& field) {
    list_.text(std::move(name), hex_digits(std::bit_cast<std::array<unsigned char, sizeof(T)>>(field)));
  }
  Fields take() && { return std::move(list_).take(); }

 private:
  FieldList list_;
};

class FieldWriter {
 public:
  FieldWriter(std::string_view name, std::string_view value) : name_(name), value_(value) {}

  template <typename T, std::endian Order>
  void number(std::string_view name, OnDisk<T, Order>& field, Unit unit = Unit::none,
              AllOnes all_ones = AllOnes::a_number) {
    if (!meant(name)) {
      return;
    }
    if constexpr (std::is_signed_v<T>) {
      take(signed_value(value_, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()), field);
    } else {
      take(unsigned_value(value_, std::numeric_limits<T>::max(), unit, all_ones), field);
    }
  }
  void time(const std::string& name, le64& field);
  void uuid(std::string_view name, std::array<unsigned char, 16>& field);
  void characters(std::string_view name, std::span<char> field);
  template <typename T>
  void raw(std::string_view name, T& field) {
    if (meant(name)) {
      auto bytes = std::bit_cast<std::array<unsigned char, sizeof(T)>>(field);
      status_ = set_hex_digits(value_, bytes);
      field = std::bit_cast<T>(bytes);
    }
  }

  bool found() const { return found_; }
  // Fails (usage) if the field cannot hold the value.
  const Status& status() const { return status_; }

 private:
  bool meant(std::string_view name) {
    found_ = found_ || name == name_;
    return name == name_;
  }
  template <typename Number, typename T, std::endian Order>
  void take(Result<Number> number, OnDisk<T, Order>& field) {
    if (number) {
      field = static_cast<T>(*number);
    } else {
      status_ = std::move(number).error();
    }
  }

  std::string_view name_;
  std::string_view value_;
  bool found_ = false;
  Status status_ = Done{};
};

}  // namespace mdtool
