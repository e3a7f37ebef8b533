// SPDX-License-Identifier: GPL-2.0-or-later
// Member images of a fixture folder, in memory.
#pragma once

#include <gtest/gtest.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace mdtool::test {

using Image = std::vector<std::byte>;

inline Image decompressed(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string packed((std::istreambuf_iterator<char>(file)), {});
  const unsigned long long size = ZSTD_getFrameContentSize(packed.data(), packed.size());
  EXPECT_LT(size, std::uint64_t{1} << 30) << path;
  Image image(static_cast<std::size_t>(size));
  EXPECT_EQ(ZSTD_decompress(image.data(), image.size(), packed.data(), packed.size()), size) << path;
  return image;
}

// m0.img, m1.img, ... of tests/fixtures/NAME.
inline std::vector<Image> load_fixture(const std::string& name) {
  std::vector<Image> images;
  const std::filesystem::path folder = std::filesystem::path(MDTOOL_FIXTURES) / name;
  for (int i = 0; std::filesystem::exists(folder / ("m" + std::to_string(i) + ".img.zst")); ++i) {
    images.push_back(decompressed(folder / ("m" + std::to_string(i) + ".img.zst")));
  }
  EXPECT_FALSE(images.empty()) << folder;
  return images;
}

}  // namespace mdtool::test
