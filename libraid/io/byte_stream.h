// SPDX-License-Identifier: GPL-2.0-or-later
// Bytes put in a row and taken out again in order: what files of this program's own are made of. Knows no format.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "libmeta/ondisk.h"

namespace mdtool {

class ByteWriter {
 public:
  template <DiskStructure T>
  void put(const T& value) {
    put_bytes(std::as_bytes(std::span(&value, 1)));
  }
  void put_bytes(std::span<const std::byte> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  // Behind its length.
  void put_sized(std::span<const std::byte> bytes) {
    put(le32(static_cast<std::uint32_t>(bytes.size())));
    put_bytes(bytes);
  }
  void put_text(std::string_view text) { put_sized(std::as_bytes(std::span(text))); }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

// Once something does not fit, everything after is empty and ok() is false.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> rest) : rest_(rest) {}

  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }
  template <DiskStructure T>
  T take() {
    const auto value = load<T>(take_bytes(sizeof(T)), 0);
    return value ? *value : T{};
  }
  std::vector<std::byte> take_sized() {
    const auto bytes = take_bytes(take<le32>());
    return {bytes.begin(), bytes.end()};
  }
  std::string take_text() {
    const auto bytes = take_bytes(take<le32>());
    std::string text(bytes.size(), '\0');
    std::transform(bytes.begin(), bytes.end(), text.begin(), [](std::byte b) { return static_cast<char>(b); });
    return text;
  }

 private:
  std::span<const std::byte> take_bytes(std::uint64_t length) {
    if (length > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const auto taken = rest_.first(static_cast<std::size_t>(length));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

  std::span<const std::byte> rest_;
  bool ok_ = true;
};

}  // namespace mdtool
