// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/writable_array.h"

#include <sys/stat.h>

#include <chrono>
#include <ctime>

#include "cli/overlay_path.h"
#include "libraid/assemble/overlay_base.h"

namespace mdtool::cli {

namespace {

std::optional<bitmap::Kind> kind_of_word(const std::string& word) {
  if (word.empty() || word == "none") {
    return bitmap::Kind::none;
  }
  if (word == "internal" || word == "classic") {
    return bitmap::Kind::classic;
  }
  return word == "lockless" ? std::optional(bitmap::Kind::lockless) : std::nullopt;
}

bool anything_at(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

Ticks steady_ticks() {
  return std::chrono::duration_cast<Ticks>(std::chrono::steady_clock::now().time_since_epoch());
}

std::uint64_t seconds_since_1970() {
  return static_cast<std::uint64_t>(std::time(nullptr));
}

}  // namespace

std::variant<std::unique_ptr<WritableArray>, OpenFailure> WritableArray::plan(const ReadingOptions& reading,
                                                                              const WritingOptions& writing,
                                                                              const parity::Kernels& kernels) {
  std::unique_ptr<WritableArray> self(new WritableArray);
  const auto uuid = parse_uuid_option(reading.uuid());
  if (!uuid) {
    return open_failure({}, {}, uuid.error());
  }
  if (writing.overlay) {
    if (auto held = self->hold_members(reading, *uuid); !held) {
      return open_failure(*self->held_, {}, std::move(held).error());
    }
  }
  self->members_ = std::make_unique<MemberSet>(MemberSet::open(reading.arguments()));
  auto array = one_array(*self->members_, {kind_of_word(writing.bitmap).value_or(bitmap::Kind::none)}, *uuid);
  if (!array) {
    return open_failure(*self->members_, {}, std::move(array).error());
  }
  if (auto planned = self->plan_on(reading, writing, kernels, *array); !planned) {
    return open_failure(*self->members_, {&*array, 1}, std::move(planned).error());
  }
  self->opened_->members = std::move(self->members_);
  return self;
}

// The members that an overlay is above must not change under it. What was read of them before they were held is read
// again after.
Status WritableArray::hold_members(const ReadingOptions& reading, const std::optional<Uuid>& uuid) {
  held_ = std::make_unique<MemberSet>(MemberSet::open(reading.arguments()));
  TRY(array, one_array(*held_, {}, uuid));
  for (const LiveMember& m : live_members_of(array)) {
    TRY(held, held_->hold(*array.members[m.member].candidate));
  }
  return Done{};
}

Status WritableArray::plan_on(const ReadingOptions& reading, const WritingOptions& writing,
                              const parity::Kernels& kernels, Assembly& array) {
  if (writing.overlay) {
    TRY(path, overlay_path(*writing.overlay, array.array().set_uuid));
    TRY(found, find_overlay(path, array));
  }
  if (overlay_) {
    TRY(above, look_through_overlay(array));
    array = std::move(above);
  }
  if (!kind_of_word(writing.bitmap)) {
    TRY(bitmap, find_bitmap_file(writing.bitmap, array));
  }
  TRY(plan, plan_live(array, reading.forces()));
  TRY(readable, open_for_reading(array, reading.forces(), kernels));
  plan_ = std::move(plan);
  opened_.emplace(OpenedArray{nullptr, array, std::move(readable)});
  return Done{};
}

Result<std::vector<OverlayBase>> WritableArray::bases(const Assembly& array) const {
  std::vector<OverlayBase> bases;
  for (const LiveMember& m : live_members_of(array)) {
    TRY(base, overlay_base(*array.members[m.member].candidate));
    bases.push_back(std::move(base));
  }
  return bases;
}

Status WritableArray::find_overlay(const std::string& path, const Assembly& array) {
  overlay_path_ = path;
  if (!anything_at(path)) {
    return Done{};
  }
  TRY(members, bases(array));
  TRY(file, OverlayFile::open(path, members, OverlayUse::serve));
  overlay_.emplace(std::move(file));
  return Done{};
}

// The array as it was left in the overlay.
Result<Assembly> WritableArray::look_through_overlay(const Assembly& array) {
  const std::vector<LiveMember> members = live_members_of(array);
  for (std::size_t base = 0; base < members.size(); ++base) {
    const Candidate& below = *array.members[members[base].member].candidate;
    above_.push_back(overlay_->device(base));
    TRY(candidate, inspect(below.path, below.identity, *above_.back(), *above_.back()));
    seen_above_.push_back(std::move(candidate));
  }
  std::vector<Assembly> arrays = assemble(seen_above_);
  if (arrays.size() != 1) {
    return Error{ErrorKind::refused, *overlay_path_ + ": the superblocks in this overlay are not of one array"};
  }
  return std::move(arrays.front());
}

Status WritableArray::find_bitmap_file(const std::string& path, Assembly& array) {
  if (overlay_path_) {
    return Error{ErrorKind::refused, path + ": an overlay does not keep a bitmap file as it is; use one or the other"};
  }
  TRY(file, FileDevice::open(path, Access::read_only));
  if (members_->uses(file->identity())) {
    return Error{ErrorKind::refused, path + ": is one of the members"};
  }
  bitmap_look_ = std::move(file);
  return use_bitmap_file(array, path, *bitmap_look_);
}

Result<std::unique_ptr<LiveArray>> WritableArray::open(const parity::Kernels& kernels) {
  TRY(devices, overlay_path_ ? open_overlay() : open_members());
  TRY(bitmap, open_bitmap_file(devices));
  devices.ticks = steady_ticks;
  devices.now_seconds = seconds_since_1970;
  return open_live(opened_->assembly, *plan_, devices, kernels);
}

Result<LiveDevices> WritableArray::open_members() {
  for (const LiveMember& m : plan_->members) {
    const Candidate& candidate = *opened_->assembly.members[m.member].candidate;
    TRY(added, access_.add(opened_->members->origin(candidate), candidate.path, m.extents));
  }
  LiveDevices devices;
  for (const WritableMember& m : access_.members()) {
    devices.members.push_back({m.path, m.device, m.past_cache});
  }
  return devices;
}

std::size_t WritableArray::base_of(std::size_t planned) const {
  if (seen_above_.empty()) {
    return planned;
  }
  const Candidate* candidate = opened_->assembly.members[plan_->members[planned].member].candidate;
  return static_cast<std::size_t>(candidate - seen_above_.data());
}

Result<LiveDevices> WritableArray::open_overlay() {
  if (!overlay_) {
    TRY(members, bases(opened_->assembly));
    TRY(file, OverlayFile::create(*overlay_path_, members));
    overlay_.emplace(std::move(file));
    for (std::size_t base = 0; base < members.size(); ++base) {
      above_.push_back(overlay_->device(base));
    }
  }
  LiveDevices devices;
  for (std::size_t i = 0; i < plan_->members.size(); ++i) {
    BlockDevice& device = *above_[base_of(i)];
    fences_.push_back(std::make_unique<FencedDevice>(device, plan_->members[i].extents));
    devices.members.push_back(
        {opened_->assembly.members[plan_->members[i].member].candidate->path, fences_.back().get(), &device});
  }
  return devices;
}

Status WritableArray::open_bitmap_file(LiveDevices& devices) {
  if (!plan_->bitmap_file) {
    return Done{};
  }
  TRY(file, FileDevice::open(bitmap_look_->path(), Access::read_write));
  if (file->identity() != bitmap_look_->identity()) {
    return Error{ErrorKind::refused, file->path() + ": no longer the file that was examined; nothing was written"};
  }
  bitmap_file_ = std::move(file);
  fences_.push_back(std::make_unique<FencedDevice>(*bitmap_file_, *plan_->bitmap_file));
  devices.bitmap_file = fences_.back().get();
  return Done{};
}

}  // namespace mdtool::cli
