// SPDX-License-Identifier: GPL-2.0-or-later
// A fixture's members in memory, edited by tests, and what the program makes of some of them.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "libmeta/ondisk.h"
#include "libraid/assemble/assembly.h"
#include "libraid/io/memory.h"
#include "tests/raid/fixture.h"

namespace mdtool::test {

// Candidates point at devices and assemblies at candidates: all in one piece.
struct Look {
  std::vector<std::unique_ptr<MemoryDevice>> devices;
  std::vector<Candidate> candidates;
  std::vector<Assembly> arrays;

  const Assembly& array() const {
    EXPECT_EQ(arrays.size(), 1U);
    return arrays.front();
  }
};

inline Look look_at(const std::vector<Image>& images, const std::vector<std::size_t>& picked) {
  Look look;
  for (std::size_t i : picked) {
    look.devices.push_back(std::make_unique<MemoryDevice>(images[i]));
    auto candidate = inspect("m" + std::to_string(i), std::to_string(look.devices.size()), *look.devices.back(),
                             *look.devices.back());
    EXPECT_TRUE(candidate);
    look.candidates.push_back(std::move(*candidate));
  }
  look.arrays = assemble(look.candidates);
  return look;
}

inline std::vector<std::size_t> all_but(std::size_t count, const std::vector<std::size_t>& missing) {
  std::vector<std::size_t> picked;
  for (std::size_t i = 0; i < count; ++i) {
    if (std::find(missing.begin(), missing.end(), i) == missing.end()) {
      picked.push_back(i);
    }
  }
  return picked;
}

inline Look look_at(const std::vector<Image>& images) {
  return look_at(images, all_but(images.size(), {}));
}

inline Look look_without(const std::vector<Image>& images, const std::vector<std::size_t>& missing) {
  return look_at(images, all_but(images.size(), missing));
}

// A field of the 1.2 superblock, by its byte offset there; the checksum is right afterwards.
template <DiskStructure T>
void set_field(Image& image, std::size_t field, T value) {
  constexpr std::size_t superblock_1_2 = 4096;
  ASSERT_TRUE(store(std::span(image), superblock_1_2 + field, value));
  const MemoryDevice device(image);
  for (const Format* format : all_formats()) {
    if (format->name() == "1.2") {
      const auto metadata = format->read(device, superblock_1_2);
      ASSERT_TRUE(metadata);
      const std::vector<std::byte> bytes = (*metadata)->changed({})->encode();
      std::copy(bytes.begin(), bytes.end(), image.begin() + superblock_1_2);
    }
  }
}

inline bool mentions(const std::vector<std::string>& lines, std::string_view words) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& line) { return line.find(words) != std::string::npos; });
}

inline const Finding* finding(const Findings& findings, std::string_view id) {
  const auto found = std::find_if(findings.begin(), findings.end(), [&](const Finding& f) { return f.id == id; });
  return found == findings.end() ? nullptr : &*found;
}

}  // namespace mdtool::test
