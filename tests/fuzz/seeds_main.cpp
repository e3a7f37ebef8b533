// SPDX-License-Identifier: GPL-2.0-or-later
// seeds TARGET FOLDER: the target's seeds as files, for libFuzzer.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "tests/fuzz/seeds.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: fuzz_seeds TARGET FOLDER\n";
    return 2;
  }
  const std::filesystem::path folder(argv[2]);
  std::filesystem::create_directories(folder);
  int number = 0;
  for (const mdtool::fuzz::Input& input : mdtool::fuzz::seeds_for(argv[1])) {
    std::ofstream(folder / ("seed-" + std::to_string(number++)), std::ios::binary)
        .write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
  }
  return 0;
}
