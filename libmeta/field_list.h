// SPDX-License-Identifier: GPL-2.0-or-later
// Gathers the fields of one structure in their order on disk, and spells raw values. Knows no structure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "libmeta/field.h"

namespace mdtool {

class FieldList {
 public:
  void number(std::string name, std::uint64_t value, Unit unit = Unit::none) {
    fields_.push_back({std::move(name), value, unit});
  }
  void signed_number(std::string name, std::int64_t value, Unit unit = Unit::none) {
    fields_.push_back({std::move(name), value, unit});
  }
  void text(std::string name, std::string value) { fields_.push_back({std::move(name), std::move(value), Unit::none}); }
  Fields take() && { return std::move(fields_); }

 private:
  Fields fields_;
};

// "0xa92b4efc": always eight digits.
std::string hexadecimal(std::uint32_t value);
// Two digits per byte, in storage order.
std::string hex_digits(std::span<const unsigned char> bytes);

}  // namespace mdtool
