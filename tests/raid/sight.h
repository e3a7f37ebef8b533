// SPDX-License-Identifier: GPL-2.0-or-later
// The one array that some devices make, as it is at this moment: its content, and whether its rows are right.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "libraid/assemble/open_array.h"
#include "tests/raid/plain_rows.h"

namespace mdtool::test {

inline const parity::Kernels& kernels() {
  return *parity::supported_kernels().front();
}

// Candidates over devices, and the array they make.
struct Sight {
  std::vector<Candidate> candidates;
  std::vector<Assembly> arrays;

  explicit Sight(const std::vector<const Source*>& sources) {
    for (std::size_t i = 0; i < sources.size(); ++i) {
      auto c = inspect("m" + std::to_string(i), std::to_string(i), *sources[i], *sources[i]);
      EXPECT_TRUE(c);
      candidates.push_back(std::move(*c));
    }
    arrays = assemble(candidates);
    EXPECT_EQ(arrays.size(), 1U);
  }
  Sight(const Sight&) = delete;
  Sight(Sight&&) = delete;

  const Assembly& array() const { return arrays.front(); }
  Layout layout() const { return *workable_layout(array()); }

  std::vector<std::byte> content() const {
    auto open = open_for_reading(array(), {}, kernels());
    EXPECT_TRUE(open) << open.error().text;
    std::vector<std::byte> out(open->array.size_bytes());
    EXPECT_TRUE(open->array.read(0, out));
    return out;
  }
  bool row_right(Sectors sector) const {
    std::vector<const Source*> sources;
    for (std::uint32_t slot = 0; slot < array().slots(); ++slot) {
      sources.push_back(array().in_slot(slot)->candidate->data);
    }
    return test::row_is_right(layout(), sources, array().array().data_offset, sector);
  }
};

template <typename Device>
std::vector<const Source*> sources_of(const std::vector<std::unique_ptr<Device>>& devices) {
  std::vector<const Source*> sources;
  for (const auto& device : devices) {
    sources.push_back(device.get());
  }
  return sources;
}

}  // namespace mdtool::test
