// SPDX-License-Identifier: GPL-2.0-or-later
// The superblocks of a running array, whatever their format: on its members, and on the spares that wait beside them.
// Knows where they are and how they are worded; when they are written is the array's matter.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "libmeta/format.h"
#include "libraid/array/superblocks.h"

namespace mdtool {

struct SuperblockPlace {
  std::optional<std::uint32_t> slot;  // none: a spare
  BlockDevice* device = nullptr;
  std::unique_ptr<Metadata> superblock;  // as it is on the device
  SuperblockChange::Recovery recovery = SuperblockChange::Recovery::keep;
};

// Who was there when the superblocks were last written, and is not now.
struct LeftBehind {
  std::vector<std::uint32_t> missing_slots;
  std::vector<std::uint32_t> departed;  // dev_numbers of replacements
  bool any() const { return !missing_slots.empty() || !departed.empty(); }
};

class LiveSuperblocks final : public Superblocks {
 public:
  // `events`: the highest there is. `now_seconds`: since 1970, for the update time.
  LiveSuperblocks(LiveMembers& members, std::vector<SuperblockPlace> places, std::uint64_t events, LeftBehind left,
                  std::function<std::uint64_t()> now_seconds)
      : members_(&members),
        places_(std::move(places)),
        events_(events),
        left_(std::move(left)),
        now_seconds_(std::move(now_seconds)) {}

  // One more where members are left behind: the first write then raises the events by two, in two rounds of one. A cut
  // between two members' updates leaves them one event apart, which every reader accepts; after both, who is not there
  // is too far behind to be taken back.
  std::uint64_t events() const override { return events_ + (left_.any() ? 1 : 0); }
  // One caller at a time.
  Status write(const ArrayState& state) override;

 private:
  void catch_up(const ArrayState& state);
  void raise_to(std::uint64_t events, const ArrayState& state);
  Status write_round(const ArrayState& state);
  bool write_one(SuperblockPlace& place, const ArrayState& state);
  SuperblockChange change_for(const ArrayState& state) const;
  bool working(const SuperblockPlace& place) const;

  LiveMembers* members_;
  std::vector<SuperblockPlace> places_;
  std::uint64_t events_;
  LeftBehind left_;
  std::function<std::uint64_t()> now_seconds_;
  bool written_ = false;
};

}  // namespace mdtool
