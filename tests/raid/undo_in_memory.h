// SPDX-License-Identifier: GPL-2.0-or-later
// What a run would have put into its undo file.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "libraid/io/undo_file.h"

namespace mdtool::test {

class UndoInMemory final : public UndoSink {
 public:
  Status append(std::span<const UndoRecord> records) override {
    contents.records.insert(contents.records.end(), records.begin(), records.end());
    return Done{};
  }
  const std::string& path() const override { return path_; }

  UndoContents contents;
  std::vector<std::size_t> devices;  // by member of the contents

 private:
  std::string path_ = "memory";
};

}  // namespace mdtool::test
