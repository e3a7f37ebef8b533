// SPDX-License-Identifier: GPL-2.0-or-later
// A member that remembers the order of everything that was done to it, in a log that all members share (in
// dm-log-writes' terms), and that can fail by script. What a power cut leaves of it is crash_point's to say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "libraid/io/block_device.h"

namespace mdtool::crash {

constexpr std::size_t sector_bytes = 512;  // the unit of tearing

using Image = std::vector<std::byte>;

enum class EventKind : std::uint8_t {
  write,         // of `sectors` from `sector`: not durable yet
  harden,        // the write before it on this member became durable (FUA)
  flush,         // everything on this member became durable
  flush_failed,  // what was not durable on this member never is: a later flush does not cover it
};

struct Event {
  EventKind kind = EventKind::write;
  std::uint32_t member = 0;
  std::uint64_t sector = 0;
  std::uint64_t sectors = 0;
  std::size_t at = 0;  // of a write's bytes
};

class Log {
 public:
  void clear();
  void write(std::uint32_t member, std::uint64_t offset_bytes, std::span<const std::byte> in);
  void add(EventKind kind, std::uint32_t member) { events_.push_back({kind, member, 0, 0, 0}); }
  void harden(std::uint32_t member, std::uint64_t offset_bytes, std::uint64_t length_bytes);

  const std::vector<Event>& events() const { return events_; }
  const std::byte* sector_of(const Event& e, std::uint64_t i) const { return bytes_.data() + e.at + i * sector_bytes; }

 private:
  std::vector<Event> events_;
  std::vector<std::byte> bytes_;
};

// How an operation fails.
enum class Trouble : std::uint8_t {
  eio,          // once
  enospc,       // this and every later write of the member
  short_write,  // once, with half of the bytes written
  erofs,        // this and every later write of the member, and nothing was written
  enodev,       // this and every later operation of the member
  flush_eio,    // the next flush of the member, once: what was not durable is lost
};
constexpr std::size_t trouble_count = 6;

// Counts the operations of all members and decides which of them fail.
class FaultScript {
 public:
  enum class Operation : std::uint8_t { read, write, flush };

  // The n-th operation from now on (1: the next) that the trouble can befall meets it.
  void arm(Trouble trouble, std::uint64_t n);
  // From now on every operation of this member fails.
  void kill(std::uint32_t member);
  // Where the trouble came about.
  struct Fired {
    std::size_t position;  // of the log
    std::uint32_t member;
  };
  const std::optional<Fired>& fired() const { return fired_; }
  bool is_dead(std::uint32_t member) const { return (dead_ >> member & 1) != 0; }

  struct Verdict {
    int errno_value = 0;  // 0: goes well
    bool half = false;    // of a write: half of it happens
  };
  Verdict meet(std::uint32_t member, Operation, std::size_t position);

 private:
  bool befalls(Operation) const;

  Trouble trouble_ = Trouble::eio;
  std::uint64_t countdown_ = 0;
  std::optional<Fired> fired_;
  std::uint64_t dead_ = 0;        // bit per member
  std::uint64_t unwritable_ = 0;  // bit per member
  int write_errno_ = 0;
};

class SimulatedDevice final : public BlockDevice {
 public:
  // `image` is what reads return; image, log and script outlive the device.
  SimulatedDevice(Image& image, std::uint32_t member, Log& log, FaultScript& faults)
      : image_(&image), member_(member), log_(&log), faults_(&faults) {}

  std::uint64_t size_bytes() const override { return image_->size(); }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) override;
  // Only this write becomes durable.
  Status write_durable(std::uint64_t offset_bytes, std::span<const std::byte> in) override;
  Status flush() override;

 private:
  Image* image_;
  std::uint32_t member_;
  Log* log_;
  FaultScript* faults_;
};

}  // namespace mdtool::crash
