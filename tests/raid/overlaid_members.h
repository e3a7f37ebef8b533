// SPDX-License-Identifier: GPL-2.0-or-later
// A fixture's members with an overlay over them: looked at below it and through it, and committed.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libraid/assemble/overlay_base.h"
#include "libraid/assemble/overlay_commit.h"
#include "libraid/io/faulty.h"
#include "tests/raid/recording_device.h"
#include "tests/raid/sight.h"

namespace mdtool::test {

struct Trouble {
  std::size_t member;
  Fault fault;
};

// Members with an overlay over them.
class Bench {
 public:
  Bench(const std::vector<Image>& images, std::string path) : path_(std::move(path)) {
    for (std::size_t i = 0; i < images.size(); ++i) {
      devices_.push_back(std::make_unique<RecordingDevice>(images[i], i, log_));
    }
    below_ = std::make_unique<Sight>(sources_of(devices_));
  }

  Status open(OverlayUse use) {
    std::vector<OverlayBase> bases;
    for (const Candidate& c : below_->candidates) {
      TRY(base, overlay_base(c));
      bases.push_back(std::move(base));
    }
    overlay_.reset();
    auto opened =
        std::filesystem::exists(path_) ? OverlayFile::open(path_, bases, use) : OverlayFile::create(path_, bases);
    if (!opened) {
      return opened.error();
    }
    overlay_ = std::make_unique<OverlayFile>(std::move(*opened));
    above_devices_.clear();
    for (std::size_t i = 0; i < bases.size(); ++i) {
      above_devices_.push_back(overlay_->device(i));
    }
    above_ = std::make_unique<Sight>(sources_of(above_devices_));
    return Done{};
  }
  void look_again() { above_ = std::make_unique<Sight>(sources_of(above_devices_)); }
  void close() { overlay_.reset(); }

  Result<OverlayCommitPlan> plan() const {
    if (overlay_->commit()) {
      return resume_overlay_commit(*overlay_);
    }
    std::vector<const Candidate*> bases;
    for (const Candidate& c : below_->candidates) {
      bases.push_back(&c);
    }
    return plan_overlay_commit({*overlay_, bases, below_->array(), above_->array()}, 1700000000);
  }

  Result<OverlayCommitReport> commit(const mdtool::Run& how = {}, const std::optional<Trouble>& trouble = {}) {
    TRY(planned, plan());
    std::vector<std::unique_ptr<FaultyDevice>> faulty;
    std::vector<std::unique_ptr<FencedDevice>> fences;
    std::vector<WritableMember> members;
    std::vector<UndoMember> named;
    for (const OverlayCommitMember& m : planned.members) {
      faulty.push_back(std::make_unique<FaultyDevice>(*devices_[m.base]));
      if (trouble && trouble->member == m.base) {
        faulty.back()->add(trouble->fault);
      }
      fences.push_back(std::make_unique<FencedDevice>(*faulty.back(), m.extents));
      members.push_back({"m" + std::to_string(m.base), fences.back().get(), faulty.back().get()});
      named.push_back({"m" + std::to_string(m.base), devices_[m.base]->size_bytes(), ""});
    }
    std::filesystem::remove(undo_path());
    TRY(undo, UndoFile::create(undo_path(), "test", named));
    return run_overlay_commit(*overlay_, planned, members, undo, how);
  }

  std::string undo_path() const { return path_ + ".undo"; }
  BlockDevice& device(std::size_t member) { return *devices_[member]; }
  OverlayFile& overlay() { return *overlay_; }
  const Sight& below() const { return *below_; }
  const Sight& above() const { return *above_; }
  std::vector<std::unique_ptr<BlockDevice>>& above_devices() { return above_devices_; }
  const std::vector<Event>& log() const { return log_; }
  std::vector<Image> images() const {
    std::vector<Image> out;
    for (const auto& d : devices_) {
      out.push_back(d->bytes());
    }
    return out;
  }

 private:
  std::string path_;
  std::vector<Event> log_;
  std::vector<std::unique_ptr<RecordingDevice>> devices_;
  std::unique_ptr<Sight> below_;
  std::unique_ptr<OverlayFile> overlay_;
  std::vector<std::unique_ptr<BlockDevice>> above_devices_;
  std::unique_ptr<Sight> above_;
};

}  // namespace mdtool::test
