// SPDX-License-Identifier: GPL-2.0-or-later
// An array that is opened for writing, with all that it stands on: members or an overlay above them, fences, a bitmap
// file. Knows nothing of how it is served.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cli/reading.h"
#include "cli/write_access.h"
#include "libraid/assemble/open_live.h"
#include "libraid/io/overlay_file.h"

namespace mdtool::cli {

struct WritingOptions {
  std::optional<std::string> overlay;  // present: the members stay as they are; empty: at the array's usual place
  std::string bitmap;                  // a format that is expected, or the path of a bitmap file; or empty
};

class WritableArray {
 public:
  // Opens nothing for writing.
  static std::variant<std::unique_ptr<WritableArray>, OpenFailure> plan(const ReadingOptions&, const WritingOptions&,
                                                                        const parity::Kernels&);

  const OpenedArray& opened() const { return *opened_; }
  const LivePlan& live_plan() const { return *plan_; }
  // The overlay file, where there is one or is to be one.
  const std::optional<std::string>& overlay() const { return overlay_path_; }
  // Opens members, or the overlay, for writing. Everything stays open as long as this object.
  Result<std::unique_ptr<LiveArray>> open(const parity::Kernels&);

 private:
  WritableArray() = default;
  Status hold_members(const ReadingOptions&, const std::optional<Uuid>&);
  Status plan_on(const ReadingOptions&, const WritingOptions&, const parity::Kernels&, Assembly& array);
  Status find_overlay(const std::string& path, const Assembly& array);
  Result<Assembly> look_through_overlay(const Assembly& array);
  Status find_bitmap_file(const std::string& path, Assembly& array);
  Result<std::vector<OverlayBase>> bases(const Assembly& array) const;
  std::size_t base_of(std::size_t planned) const;
  Result<LiveDevices> open_members();
  Result<LiveDevices> open_overlay();
  Status open_bitmap_file(LiveDevices& devices);

  std::unique_ptr<MemberSet> held_;  // where an overlay is above them
  std::unique_ptr<MemberSet> members_;
  std::optional<std::string> overlay_path_;
  std::optional<OverlayFile> overlay_;
  std::vector<std::unique_ptr<BlockDevice>> above_;  // by base
  std::vector<Candidate> seen_above_;                // by base; where the overlay was there before
  std::unique_ptr<FileDevice> bitmap_look_;
  std::optional<OpenedArray> opened_;
  std::optional<LivePlan> plan_;
  WriteAccess access_;
  std::unique_ptr<FileDevice> bitmap_file_;
  std::vector<std::unique_ptr<FencedDevice>> fences_;
};

}  // namespace mdtool::cli
