// SPDX-License-Identifier: GPL-2.0-or-later
// Taking back a run of several stages on two members, with the power cut at every write of the run and of the undo.
#include <gtest/gtest.h>

#include <set>

#include "libraid/assemble/metadata_stages.h"
#include "tests/raid/recording_device.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

using test::Event;
using test::Image;
using test::RecordingDevice;

constexpr std::size_t sector = 512;
constexpr std::size_t member_bytes = 16 * sector;
using Images = std::vector<Image>;

// Keeps records in memory, with the place of the log from which on each is durable.
class Recorder final : public UndoSink {
 public:
  explicit Recorder(const std::vector<Event>& log) : log_(&log) {}

  Status append(std::span<const UndoRecord> records) override {
    for (const UndoRecord& record : records) {
      records_.push_back(record);
      records_.back().stage = stages_;
      since_.push_back(log_->size());
    }
    ++stages_;
    return Done{};
  }
  const std::string& path() const override { return path_; }

  UndoContents contents(std::size_t position) const {
    UndoContents then{"test", {{"m0", member_bytes, ""}, {"m1", member_bytes, ""}}, {}, false};
    for (std::size_t i = 0; i < records_.size() && since_[i] <= position; ++i) {
      then.records.push_back(records_[i]);
    }
    return then;
  }

 private:
  const std::vector<Event>* log_;
  std::string path_ = "memory";
  std::vector<UndoRecord> records_;
  std::vector<std::size_t> since_;
  std::uint32_t stages_ = 0;
};

// Two members that are written, and the log of it.
class Machine {
 public:
  explicit Machine(const Images& images) : recorder_(log_) {
    for (std::size_t i = 0; i < images.size(); ++i) {
      devices_.push_back(std::make_unique<RecordingDevice>(images[i], i, log_));
      fences_.push_back(
          std::make_unique<FencedDevice>(*devices_.back(), std::vector<PlannedExtent>{{0, member_bytes, "test"}}));
      members_.push_back({"m" + std::to_string(i), fences_.back().get(), devices_.back().get()});
    }
    stages_.emplace(members_, recorder_);
  }

  const std::vector<Event>& log() const { return log_; }
  const Recorder& recorder() const { return recorder_; }
  Images images() const { return {devices_[0]->bytes(), devices_[1]->bytes()}; }

  void write(const std::vector<MemberPatch>& stage) { ASSERT_TRUE(stages_->write(stage)); }

  // As overlay commit writes data: one record of all of it, no flush in between.
  void write_at_once(const std::vector<MemberPatch>& stage) {
    std::vector<UndoRecord> records;
    for (const MemberPatch& p : stage) {
      const auto before = read_bytes(*devices_[p.member], p.patch.offset_bytes, p.patch.bytes.size());
      records.push_back({static_cast<std::uint32_t>(p.member), p.patch.offset_bytes, *before, p.patch.bytes});
    }
    ASSERT_TRUE(recorder_.append(records));
    for (const MemberPatch& p : stage) {
      ASSERT_TRUE(fences_[p.member]->write(p.patch.offset_bytes, p.patch.bytes));
    }
    for (const auto& fence : fences_) {
      ASSERT_TRUE(fence->flush());
    }
  }

  Result<std::vector<UndoRecord>> plan(const UndoContents& contents) const {
    return undo_plan(contents, std::vector<const Source*>{devices_[0].get(), devices_[1].get()});
  }

  // As the verb does it.
  void undo(const UndoContents& contents) {
    const auto steps = plan(contents);
    ASSERT_TRUE(steps) << steps.error().text;
    std::vector<MemberPatch> stage;
    for (std::size_t i = 0; i < steps->size(); ++i) {
      const UndoRecord& r = steps->at(i);
      stage.push_back({r.member, {r.offset_bytes, r.after}});
      if (i + 1 == steps->size() || steps->at(i + 1).stage != r.stage) {
        write(stage);
        stage.clear();
      }
    }
  }

 private:
  std::vector<Event> log_;
  Recorder recorder_;
  std::vector<std::unique_ptr<RecordingDevice>> devices_;
  std::vector<std::unique_ptr<FencedDevice>> fences_;
  std::vector<WritableMember> members_;
  std::optional<MetadataStages> stages_;
};

// What may be on the members after the first `count` events and a power cut: each sector that was not flushed on its
// own, as many as have it.
std::vector<Images> after_cut(const Images& start, const std::vector<Event>& log, std::size_t count) {
  struct Write {
    std::size_t member, at;
    std::vector<std::byte> bytes;
  };
  Images durable = start;
  std::vector<Write> pending;
  const auto put = [](Images& images, const Write& w) {
    std::copy(w.bytes.begin(), w.bytes.end(), images[w.member].begin() + static_cast<std::ptrdiff_t>(w.at));
  };
  for (std::size_t i = 0; i < count; ++i) {
    const Event& e = log[i];
    if (e.flush) {
      std::erase_if(pending, [&](const Write& w) {
        const bool covered = e.covers({w.member, false, w.at, w.bytes});
        if (covered) {
          put(durable, w);
        }
        return covered;
      });
      continue;
    }
    for (std::size_t at = 0; at < e.bytes.size();) {
      const std::size_t length = std::min(sector - (e.offset + at) % sector, e.bytes.size() - at);
      const auto from = e.bytes.begin() + static_cast<std::ptrdiff_t>(at);
      pending.push_back({e.member, e.offset + at, {from, from + static_cast<std::ptrdiff_t>(length)}});
      at += length;
    }
  }
  EXPECT_LE(pending.size(), 8U);
  std::vector<Images> all;
  for (unsigned landed = 0; landed < 1U << pending.size(); ++landed) {
    all.push_back(durable);
    for (std::size_t i = 0; i < pending.size(); ++i) {
      if ((landed >> i & 1) != 0) {
        put(all.back(), pending[i]);
      }
    }
  }
  return all;
}

class UndoPlan : public testing::Test {
 protected:
  UndoPlan() {
    run_.write(stage({{0, 2, 2}, {1, 2, 2}}, 1));
    snapshots_.push_back(run_.images());
    run_.write_at_once(stage({{0, 6, 3}, {1, 7, 2}}, 2));
    snapshots_.push_back(run_.images());
    // The first sector of each is as it was at the start, as a bit that was set and cleared.
    std::vector<MemberPatch> last = stage({{0, 2, 2}, {1, 2, 2}}, 3);
    for (MemberPatch& p : last) {
      const auto from = start_[p.member].begin() + static_cast<std::ptrdiff_t>(p.patch.offset_bytes);
      std::copy_n(from, sector, p.patch.bytes.begin());
    }
    run_.write(last);
    snapshots_.push_back(run_.images());
    // Less than a sector, on one member alone.
    run_.write({{1, {12 * sector + 100, pattern(30, 4)}}});
    snapshots_.push_back(run_.images());
  }

  struct Piece {
    std::size_t member, first_sector, sectors;
  };
  static std::vector<MemberPatch> stage(const std::vector<Piece>& pieces, std::uint64_t seed) {
    std::vector<MemberPatch> patches;
    for (const Piece& p : pieces) {
      patches.push_back({p.member, {p.first_sector * sector, pattern(p.sectors * sector, seed * 16 + p.member)}});
    }
    return patches;
  }

  // A cut of the run could have left this: all before some stage, its sectors in any state, nothing of what comes
  // after.
  bool is_state_of_the_run(const Images& images) const {
    for (std::size_t stage = 1; stage < snapshots_.size(); ++stage) {
      bool fits = true;
      for (std::size_t m = 0; m < images.size(); ++m) {
        for (std::size_t at = 0; at < member_bytes; at += sector) {
          const auto same = [&](const Images& other) {
            return std::equal(images[m].begin() + static_cast<std::ptrdiff_t>(at),
                              images[m].begin() + static_cast<std::ptrdiff_t>(at + sector),
                              other[m].begin() + static_cast<std::ptrdiff_t>(at));
          };
          fits = fits && (same(snapshots_[stage - 1]) || same(snapshots_[stage]));
        }
      }
      if (fits) {
        return true;
      }
    }
    return false;
  }

  const Images start_ = {pattern(member_bytes, 101), pattern(member_bytes, 102)};
  Machine run_{start_};
  std::vector<Images> snapshots_ = {start_};  // after each stage
};

TEST_F(UndoPlan, takes_a_run_back_that_was_cut_anywhere) {
  std::size_t states = 0;
  for (std::size_t position = 0; position <= run_.log().size(); ++position) {
    for (const Images& cut : after_cut(start_, run_.log(), position)) {
      ASSERT_TRUE(is_state_of_the_run(cut)) << position;
      Machine machine(cut);
      machine.undo(run_.recorder().contents(position));
      ASSERT_EQ(machine.images(), start_) << position;
      EXPECT_TRUE(machine.plan(run_.recorder().contents(position))->empty());
      ++states;
    }
  }
  EXPECT_GT(states, 60U);
}

TEST_F(UndoPlan, goes_back_the_way_the_run_came) {
  const UndoContents contents = run_.recorder().contents(run_.log().size());
  for (const Images& from : snapshots_) {
    Machine machine(from);
    machine.undo(contents);
    for (std::size_t position = 0; position <= machine.log().size(); ++position) {
      for (const Images& cut : after_cut(from, machine.log(), position)) {
        EXPECT_TRUE(is_state_of_the_run(cut)) << position;
      }
    }
  }
}

TEST_F(UndoPlan, of_an_undo_that_was_cut_anywhere_goes_on_or_back) {
  const Images end = snapshots_.back();
  const UndoContents contents = run_.recorder().contents(run_.log().size());
  Machine undo(end);
  undo.undo(contents);
  for (std::size_t position = 0; position <= undo.log().size(); ++position) {
    for (const Images& cut : after_cut(end, undo.log(), position)) {
      Machine again(cut);
      again.undo(contents);
      ASSERT_EQ(again.images(), start_) << position;
      Machine back(cut);
      back.undo(undo.recorder().contents(position));
      ASSERT_EQ(back.images(), end) << position;
    }
  }
}

TEST_F(UndoPlan, what_returned_to_its_first_bytes_on_the_way_is_written_on_the_way_back) {
  const UndoContents contents = run_.recorder().contents(run_.log().size());
  Machine machine(snapshots_.back());
  const auto steps = machine.plan(contents);
  ASSERT_TRUE(steps);
  const auto writes_first_sector = [](const UndoRecord& r) { return r.member == 0 && r.offset_bytes == 2 * sector; };
  EXPECT_EQ(std::count_if(steps->begin(), steps->end(), writes_first_sector), 2);
  const std::vector<UndoRecord> net = net_changes(*steps);
  EXPECT_EQ(std::count_if(net.begin(), net.end(), writes_first_sector), 0);
  Machine directly(snapshots_.back());
  for (const UndoRecord& r : net) {
    directly.write({{r.member, {r.offset_bytes, r.after}}});
  }
  EXPECT_EQ(directly.images(), start_);
}

TEST_F(UndoPlan, members_of_different_moments_are_taken_back_each_on_its_own) {
  const UndoContents contents = run_.recorder().contents(run_.log().size());
  for (const Images& one : snapshots_) {
    for (const Images& other : snapshots_) {
      Machine machine({one[0], other[1]});
      machine.undo(contents);
      ASSERT_EQ(machine.images(), start_);
    }
  }
}

TEST_F(UndoPlan, members_without_a_record_are_left_out) {
  UndoContents contents = run_.recorder().contents(run_.log().size());
  contents.members.insert(contents.members.begin(), {"untouched", 7, ""});
  for (UndoRecord& r : contents.records) {
    ++r.member;
  }
  const UndoContents touched = touched_members(contents);
  ASSERT_EQ(touched.members.size(), 2U);
  EXPECT_EQ(touched.members[0].path, "m0");
  Machine machine(snapshots_.back());
  machine.undo(touched);
  EXPECT_EQ(machine.images(), start_);
  const UndoContents second = only_member(touched, 1);
  ASSERT_EQ(second.members.size(), 1U);
  EXPECT_EQ(second.members[0].path, "m1");
  EXPECT_TRUE(
      std::all_of(second.records.begin(), second.records.end(), [](const UndoRecord& r) { return r.member == 0; }));
}

TEST(UndoStages, come_out_of_the_file_as_they_were_put_in) {
  ScratchFolder scratch;
  const std::string path = scratch.path("file.undo");
  {
    auto file = UndoFile::create(path, "test", {{"m0", member_bytes, ""}});
    ASSERT_TRUE(file);
    const UndoRecord a{0, 0, pattern(8, 1), pattern(8, 2)};
    const UndoRecord b{0, sector, pattern(8, 3), pattern(8, 4)};
    ASSERT_TRUE(file->append(std::vector<UndoRecord>{a, b}));
    ASSERT_TRUE(file->append(std::vector<UndoRecord>{b}));
  }
  const auto contents = read_undo_file(path);
  ASSERT_TRUE(contents);
  ASSERT_EQ(contents->records.size(), 3U);
  EXPECT_EQ(contents->records[0].stage, contents->records[1].stage);
  EXPECT_NE(contents->records[1].stage, contents->records[2].stage);
}

}  // namespace
}  // namespace mdtool
