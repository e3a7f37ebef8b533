// SPDX-License-Identifier: GPL-2.0-or-later
// The file that is mounted on; removed with its owner if it was made here. Private to serve.
#pragma once

#include <string>
#include <utility>

#include "libmeta/result.h"

namespace mdtool::serve {

class MountPoint {
 public:
  static Result<MountPoint> prepare(const std::string& at);
  MountPoint(MountPoint&& other) noexcept
      : path_(std::move(other.path_)), made_(std::exchange(other.made_, std::string())) {}
  MountPoint& operator=(MountPoint&&) = delete;
  ~MountPoint();

  const std::string& path() const { return path_; }

 private:
  MountPoint(std::string path, std::string made) : path_(std::move(path)), made_(std::move(made)) {}
  std::string path_;
  std::string made_;  // empty: it was there before
};

}  // namespace mdtool::serve
