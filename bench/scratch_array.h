// SPDX-License-Identifier: GPL-2.0-or-later
// An array over scratch files, with nothing to be said in bitmaps and superblocks: the cost of the array object alone.
// Knows no load and takes no time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libraid/array/live_array.h"
#include "libraid/io/file.h"

namespace mdtool::bench {

// Says why, and ends the program: a benchmark has nobody to report to.
void require(const Status& status);
template <typename T>
T require(Result<T> result) {
  if (!result) {
    require(Status(result.error()));
  }
  return std::move(*result);
}

// Files of a folder, filled and in the page cache, gone again with this object.
class ScratchFiles {
 public:
  ScratchFiles(const std::string& folder, std::uint32_t count, std::uint64_t bytes_each);
  ScratchFiles(const ScratchFiles&) = delete;
  ScratchFiles& operator=(const ScratchFiles&) = delete;
  ~ScratchFiles();

  std::uint32_t count() const { return static_cast<std::uint32_t>(devices_.size()); }
  FileDevice& operator[](std::uint32_t index) const { return *devices_[index]; }

 private:
  std::vector<std::unique_ptr<FileDevice>> devices_;
};

// The files outlive the array.
std::unique_ptr<LiveArray> scratch_array(const Layout&, const ScratchFiles&, std::optional<std::uint32_t> missing);

}  // namespace mdtool::bench
