// SPDX-License-Identifier: GPL-2.0-or-later
// Arrays with members that are being rebuilt, as tests of recover tell them, and the machine that they are on.
#pragma once

#include <gtest/gtest.h>

#include <set>

#include "libraid/assemble/recovery.h"
#include "libraid/io/faulty.h"
#include "tests/raid/loaded_array.h"
#include "tests/raid/recording_device.h"
#include "tests/raid/small_array.h"

namespace mdtool::test {

inline const parity::Kernels& kernels() {
  return *parity::supported_kernels().front();
}

class KeptUndo final : public UndoSink {
 public:
  Status append(std::span<const UndoRecord> records) override {
    records_.insert(records_.end(), records.begin(), records.end());
    return Done{};
  }
  const std::string& path() const override { return path_; }
  const std::vector<UndoRecord>& records() const { return records_; }

 private:
  std::string path_ = "undo";
  std::vector<UndoRecord> records_;
};

// The members of one array, as a run of the program finds them.
class RebuildMachine {
 public:
  explicit RebuildMachine(const std::vector<Image>& images) {
    for (std::size_t i = 0; i < images.size(); ++i) {
      devices_.push_back(std::make_unique<RecordingDevice>(images[i], i, log_));
    }
    look();
  }

  void look() {
    candidates_.clear();
    for (std::size_t i = 0; i < devices_.size(); ++i) {
      auto c = inspect("m" + std::to_string(i), std::to_string(i), *devices_[i], *devices_[i]);
      ASSERT_TRUE(c);
      candidates_.push_back(std::move(*c));
    }
    arrays_ = assemble(candidates_);
    ASSERT_EQ(arrays_.size(), 1U);
  }

  const Assembly& array() const { return arrays_.front(); }
  const std::vector<Event>& log() const { return log_; }
  const KeptUndo& undo() const { return undo_; }
  static std::size_t image_of(const Member& m) { return static_cast<std::size_t>(std::stoi(m.candidate->identity)); }

  std::vector<Image> images() const {
    std::vector<Image> out;
    for (const auto& d : devices_) {
      out.push_back(d->bytes());
    }
    return out;
  }

  struct Trouble {
    std::size_t member;
    Fault fault;
  };

  Result<RecoveryReport> run(const Forces& forces = {}, const mdtool::Run& how = {},
                             const std::vector<Trouble>& troubles = {}) {
    TRY(plan, plan_recovery(array(), forces));
    if (plan.nothing_to_do()) {
      return RecoveryReport{};
    }
    std::vector<std::unique_ptr<FaultyDevice>> faulty;
    std::vector<std::unique_ptr<FencedDevice>> fences;
    std::vector<WritableMember> members;
    for (const PlannedMember& m : plan.metadata.members) {
      const std::size_t index = image_of(array().members[m.member]);
      faulty.push_back(std::make_unique<FaultyDevice>(*devices_[index]));
      for (const Trouble& trouble : troubles) {
        if (trouble.member == index) {
          faulty.back()->add(trouble.fault);
        }
      }
      fences.push_back(std::make_unique<FencedDevice>(*faulty.back(), m.extents));
      members.push_back({"m" + std::to_string(index), fences.back().get(), faulty.back().get()});
    }
    MetadataStages stages(members, undo_);
    return run_recovery(array(), plan, stages, kernels(), {1700000001}, how);
  }

  Result<std::vector<std::byte>> content() const {
    TRY(open, open_for_reading(array(), {}, kernels()));
    std::vector<std::byte> out(open.array.size_bytes());
    TRY(read, open.array.read(0, out));
    return out;
  }

 private:
  std::vector<Event> log_;
  std::vector<std::unique_ptr<RecordingDevice>> devices_;
  std::vector<Candidate> candidates_;
  std::vector<Assembly> arrays_;
  KeptUndo undo_;
};

constexpr std::uint8_t unwritten = 0, clean = 1, dirty = 2, need_sync = 3, syncing = 4, clean_unwritten = 7;

// A small array of which members were away, or are half rebuilt.
struct Story {
  SmallArray array;
  std::vector<std::uint32_t> recovering{1};
  bool by_bitmap = true;
  Sectors mark = {};                        // recovery_offset of those that no bitmap guides
  std::vector<std::uint32_t> missing = {};  // nobody there
  Sectors resync_offset = Sectors::max();
};

inline std::vector<std::uint8_t> states_of(const SmallArray& array) {
  const bool lockless = array.bitmap == bitmap::Kind::lockless;
  std::vector<std::uint8_t> states(SmallArray::bitmap_chunks, lockless ? clean : 0);
  // Written meanwhile; the last was then discarded in a part, and its rest is data all the same.
  states[2] = lockless ? dirty : 1;
  states[3] = lockless ? need_sync : 1;
  states[9] = lockless ? syncing : 1;
  states[12] = lockless ? unwritten : 1;
  states[15] = lockless ? clean_unwritten : 1;
  return states;
}

struct Told {
  std::vector<Image> before;               // by slot, without the missing ones
  std::vector<Image> right;                // the members' data areas as they ought to be, the same
  std::vector<std::byte> content;          // of the array
  std::set<std::uint64_t> missed_sectors;  // component sectors in chunks that the bitmap names
  std::vector<std::size_t> recovering;     // indices of images
};

inline Told tell(const Story& story) {
  Told told;
  const SmallArray& array = story.array;
  const std::vector<std::byte> old_content = random_content(array, 1);
  const std::vector<std::byte> other = random_content(array, 2);
  told.content = old_content;
  const std::vector<std::uint8_t> states = states_of(array);
  const Layout layout = array.layout();
  for (Sectors at; at < layout.array_size(); at += Sectors(1)) {
    const Sectors row = layout.data(at).sector;
    const std::uint8_t quiet = array.bitmap == bitmap::Kind::lockless ? clean : 0;
    if (states[row / SmallArray::bitmap_chunk] != quiet) {
      told.missed_sectors.insert(row.count());
      // Not all of a chunk was written.
      if (row.count() % 3 != 0) {
        std::copy_n(other.begin() + static_cast<std::ptrdiff_t>(at.bytes()), 512,
                    told.content.begin() + static_cast<std::ptrdiff_t>(at.bytes()));
      }
    }
  }
  const std::vector<Image> old_images = with_content(array, old_content);
  const std::vector<Image> new_images = with_content(array, told.content);
  for (std::uint32_t slot = 0; slot < array.slots; ++slot) {
    const auto is_in = [&](const std::vector<std::uint32_t>& list) {
      return std::find(list.begin(), list.end(), slot) != list.end();
    };
    if (is_in(story.missing)) {
      continue;
    }
    Image image = new_images[slot];
    SmallMember member;
    member.resync_offset = story.resync_offset;
    if (is_in(story.recovering)) {
      told.recovering.push_back(told.before.size());
      member.recovery_features = md1::feature_recovery_offset | (story.by_bitmap ? md1::feature_recovery_bitmap : 0);
      member.recovery_offset = story.by_bitmap ? Sectors() : story.mark;
      if (story.by_bitmap) {
        image = old_images[slot];
      } else {
        const auto from = static_cast<std::ptrdiff_t>((SmallArray::data_offset + story.mark).bytes());
        std::fill(image.begin() + from, image.end(), std::byte{0x77});
      }
    }
    put_superblock(array, image, slot, member, story.missing);
    if (array.bitmap != bitmap::Kind::none) {
      put_bitmap(array, image, states, 20, 7);
    }
    told.before.push_back(std::move(image));
    told.right.push_back(new_images[slot]);
  }
  return told;
}

inline bool data_is_right(const std::vector<Image>& images, const Told& told, std::size_t member) {
  const auto from = static_cast<std::ptrdiff_t>(SmallArray::data_offset.bytes());
  return std::equal(images[member].begin() + from, images[member].end(), told.right[member].begin() + from);
}

inline void expect_all_in_sync(const RebuildMachine& machine, const Told& told) {
  for (std::size_t i = 0; i < told.before.size(); ++i) {
    EXPECT_TRUE(data_is_right(machine.images(), told, i)) << "member " << i;
  }
  std::set<std::uint64_t> events;
  for (std::uint32_t slot = 0; slot < machine.array().slots(); ++slot) {
    if (const Member* m = machine.array().in_slot(slot)) {
      EXPECT_EQ(m->state, MemberState::in_sync) << "slot " << slot;
      EXPECT_FALSE(m->description().recovery);
      EXPECT_FALSE(m->description().recovery_by_bitmap);
      events.insert(m->description().events);
    }
  }
  EXPECT_EQ(events.size(), 1U);
}

// Nobody is owed anything: no bit is set, and no member that left can come back by bitmap.
inline void expect_settled_bitmap(const Assembly& a) {
  EXPECT_TRUE(a.complete);
  EXPECT_EQ(a.verdict, Verdict::assembles);
  if (a.bitmap.classic) {
    EXPECT_EQ(a.bitmap.classic->set_count(), 0U);
    EXPECT_EQ(a.bitmap.classic->header().events, a.array().events);
    EXPECT_EQ(a.bitmap.classic->header().events_cleared, a.array().events);
  }
  if (a.bitmap.lockless) {
    const auto counts = a.bitmap.lockless->counts();
    EXPECT_EQ(counts.by_state[clean] + counts.by_state[unwritten], a.bitmap.lockless->chunks());
    EXPECT_EQ(a.bitmap.lockless->header().events, a.array().events);
  }
  EXPECT_TRUE(std::none_of(a.bitmap.findings.begin(), a.bitmap.findings.end(),
                           [](const Finding& f) { return f.id == "bitmap-copies-differ"; }));
}

}  // namespace mdtool::test
