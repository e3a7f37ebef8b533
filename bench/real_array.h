// SPDX-License-Identifier: GPL-2.0-or-later
// An array on images, opened for writing as `assemble --read-write` opens it, with its bitmap, its superblocks and the
// thread that maintains them. Knows no load.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libraid/assemble/open_live.h"
#include "libraid/io/file.h"
#include "libraid/serve/heartbeat.h"

namespace mdtool::bench {

class RealArray {
 public:
  static Result<std::unique_ptr<RealArray>> open(const std::vector<std::string>& images);

  LiveArray& array() const { return *array_; }
  // After the last use of the array.
  Status stop();

 private:
  struct Device {
    std::unique_ptr<FileDevice> file;
    std::unique_ptr<UncachedSource> past_cache;
    std::unique_ptr<FencedDevice> fence;
  };
  Status find(const std::vector<std::string>& images);
  LiveDevices devices_for(const LivePlan&);

  std::vector<Device> devices_;
  std::vector<Candidate> candidates_;
  std::vector<Assembly> arrays_;
  std::unique_ptr<LiveArray> array_;
  std::unique_ptr<Heartbeat> maintenance_;
};

}  // namespace mdtool::bench
