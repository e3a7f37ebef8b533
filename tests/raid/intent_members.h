// SPDX-License-Identifier: GPL-2.0-or-later
// Members in memory that carry copies of one bitmap, for tests of live intents: every durable write is recorded, can be
// held up at a gate, or made to fail.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "libraid/array/make_intent.h"
#include "libraid/io/memory.h"
#include "tests/meta/bitmap_member.h"

namespace mdtool::testing {

class RecordingDevice final : public BlockDevice {
 public:
  explicit RecordingDevice(std::vector<std::byte> bytes) : memory_(std::move(bytes)) {}

  struct Write {
    std::uint64_t offset_bytes;
    std::uint64_t length_bytes;
    friend bool operator==(const Write&, const Write&) = default;
  };
  std::vector<Write> take_writes() {
    const std::lock_guard lock(mutex_);
    return std::exchange(writes_, {});
  }
  std::vector<std::byte> bytes() const {
    const std::lock_guard lock(mutex_);
    return memory_.bytes();
  }
  void fail_from_now_on() {
    const std::lock_guard lock(mutex_);
    fails_ = true;
  }
  void close_gate() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  void open_gate() {
    const std::lock_guard lock(mutex_);
    closed_ = false;
    changed_.notify_all();
  }
  void wait_for_arrivals(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrivals_ >= count; });
  }

  std::uint64_t size_bytes() const override { return memory_.size_bytes(); }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override {
    const std::lock_guard lock(mutex_);
    return memory_.read(offset_bytes, out);
  }
  Status write(std::uint64_t, std::span<const std::byte>) override {
    return Error{ErrorKind::io, "a bitmap is written durably"};
  }
  Status write_durable(std::uint64_t offset_bytes, std::span<const std::byte> in) override {
    std::unique_lock lock(mutex_);
    ++arrivals_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !closed_; });
    if (fails_) {
      return Error{ErrorKind::io, "scripted"};
    }
    writes_.push_back({offset_bytes - bitmap_at, in.size()});
    return memory_.write(offset_bytes, in);
  }
  Status flush() override { return Done{}; }

 private:
  MemoryDevice memory_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Write> writes_;
  std::size_t arrivals_ = 0;
  bool closed_ = false;
  bool fails_ = false;
};

using Writes = std::vector<RecordingDevice::Write>;

// Three slots that hold the same bytes; slots from `present` on are missing.
class IntentMembers {
 public:
  explicit IntentMembers(const std::vector<std::byte>& bytes, std::size_t present = 3) {
    std::vector<SlotMember> slots(3);
    for (std::size_t slot = 0; slot < present; ++slot) {
      devices.emplace_back(bytes);
      slots[slot].device = &devices.back();
    }
    members = std::make_unique<LiveMembers>(std::move(slots), 1);
  }
  BitmapCopies copies() {
    std::vector<BitmapTarget> targets;
    for (std::uint32_t slot = 0; slot < devices.size(); ++slot) {
      targets.push_back({slot, &devices[slot], bitmap_at});
    }
    return BitmapCopies(*members, std::move(targets));
  }
  BitmapView view(Sectors component) const {
    const BytesSource source(devices.front().bytes());
    bitmap::Expected expected = expected_bitmap(component.count());
    expected.room_bytes = 8192;
    return view_bitmap({{0, "m0", &source, bitmap_at, expected.room_bytes}}, expected, bitmap::Kind::none);
  }
  Result<std::unique_ptr<Intent>> make(const IntentStart& start) {
    return make_intent(view(start.component), start, copies());
  }

  std::deque<RecordingDevice> devices;
  std::unique_ptr<LiveMembers> members;
};

}  // namespace mdtool::testing
