// SPDX-License-Identifier: GPL-2.0-or-later
// New arrays on members that were others', and their plans cut anywhere.
#include <gtest/gtest.h>

#include "libmeta/bitmap/header.h"
#include "libraid/edit/create.h"
#include "tests/raid/edited_members.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

using namespace test;
using Bitmap = CreateTask::Bitmap;

constexpr std::size_t member_bytes = (1U << 20) + (256U << 10);

const Uuid set_uuid = *Uuid::parse("00112233:44556677:8899aabb:ccddeeff");
const Uuid old_uuid = *Uuid::parse("01010101:02020202:03030303:04040404");

// The planner of a task on all images of a look.
Planner planner(CreateTask task) {
  return [task](const Look& look) {
    CreateTask here = task;
    here.now_seconds = 1800000000;
    here.forces.old_content = true;
    for (const Candidate& candidate : look.candidates) {
      CreateMember member;
      member.candidate = &candidate;
      member.device_uuid.bytes[0] = static_cast<unsigned char>(here.slots.size() + 1);
      here.slots.push_back(member);
    }
    return plan_create(here);
  };
}

CreateTask raid5(const std::string& metadata, Bitmap bitmap) {
  CreateTask task;
  task.set_uuid = set_uuid;
  task.metadata = metadata;
  task.level = 5;
  task.chunk = Sectors(8);
  task.bitmap = bitmap;
  return task;
}

std::vector<Image> noisy_members() {
  std::vector<Image> images;
  for (std::uint64_t i = 0; i < 3; ++i) {
    images.push_back(pattern(member_bytes, i + 1));
  }
  return images;
}

CreateTask old_array(const std::string& metadata, Bitmap bitmap) {
  CreateTask task = raid5(metadata, bitmap);
  task.set_uuid = old_uuid;
  return task;
}

// Members that have a superblock of every version, of one old array, and noise elsewhere.
std::vector<Image> used_members() {
  const std::vector<Image> noise = noisy_members();
  std::vector<Image> images = noise;
  for (const std::string metadata : {"0.90", "1.0", "1.1", "1.2"}) {
    const std::vector<Image> made = after(noise, planner(old_array(metadata, Bitmap::none)));
    for (std::size_t i = 0; i < images.size(); ++i) {
      for (std::size_t at = 0; at < images[i].size(); ++at) {
        images[i][at] = made[i][at] != noise[i][at] ? made[i][at] : images[i][at];
      }
    }
  }
  return images;
}

std::size_t superblocks_on(const std::vector<Image>& images) {
  std::size_t count = 0;
  for (const Candidate& candidate : look_at(images).candidates) {
    count += candidate.superblocks.size();
  }
  return count;
}

TEST(CreateOnUsedMembers, NoSecondSuperblockIsFoundAfterwards) {
  const std::vector<Image> images = used_members();
  ASSERT_EQ(superblocks_on(images), 12U);
  for (const std::string metadata : {"0.90", "1.0", "1.1", "1.2"}) {
    SCOPED_TRACE(metadata);
    const std::vector<Image> made = after(images, planner(raid5(metadata, Bitmap::internal)));
    const Look look = look_at(made);
    EXPECT_EQ(superblocks_on(made), 3U);
    EXPECT_EQ(look.array().verdict, Verdict::assembles);
    EXPECT_EQ(look.array().array().metadata, metadata);
  }
  const Look look = look_at(images);
  const auto plan = planner(raid5("1.2", Bitmap::none))(look);
  EXPECT_TRUE(mentions(plan->steps, "remove the 0.90 superblock"));
  EXPECT_TRUE(mentions(plan->costs, "no longer a member of array"));
}

TEST(CreateOnUsedMembers, WhatIsZeroedIsNotPatched) {
  const std::vector<Image> images = used_members();
  CreateTask task = raid5("1.2", Bitmap::none);
  task.initial = CreateTask::Initial::zeroed;
  const Look look = look_at(images);
  const auto plan = planner(task)(look);
  ASSERT_TRUE(plan);
  ASSERT_EQ(plan->zeroed.size(), 3U);
  for (const EditStage& stage : plan->stages) {
    for (const EditPatch& patch : stage) {
      const ZeroedRange& range = plan->zeroed[patch.member];
      const bool apart = patch.offset_bytes + patch.after.size() <= range.offset_bytes ||
                         patch.offset_bytes >= range.offset_bytes + range.length_bytes;
      EXPECT_TRUE(apart) << patch.offset_bytes;
    }
  }
  // And with the zeroes first, nothing else is left.
  std::vector<Image> zeroed = written(images, records_of(*plan, look));
  for (std::size_t i = 0; i < zeroed.size(); ++i) {
    const auto begin = zeroed[i].begin() + static_cast<std::ptrdiff_t>(plan->zeroed[i].offset_bytes);
    std::fill_n(begin, plan->zeroed[i].length_bytes, std::byte{0});
  }
  EXPECT_EQ(superblocks_on(zeroed), 3U);
}

TEST(CreateCut, LeadsOnAndBack) {
  const std::vector<Image> images = used_members();
  expect_safe(images, planner(raid5("1.2", Bitmap::internal)));
  expect_safe(images, planner(raid5("1.0", Bitmap::none)));
}

// No superblock of either array without its own bitmap.
TEST(CreateCut, NoSuperblockWithAWrongBitmap) {
  const std::vector<Image> images = after(noisy_members(), planner(old_array("1.2", Bitmap::internal)));
  const Look look = look_at(images);
  const auto plan = planner(raid5("1.2", Bitmap::lockless))(look);
  ASSERT_TRUE(plan);
  const std::vector<UndoRecord> records = records_of(*plan, look);
  std::size_t seen = 0;
  for (std::size_t done = 0; done <= records.size(); ++done) {
    SCOPED_TRACE(done);
    const Look cut = look_at(written(images, std::span(records).first(done)));
    for (const Candidate& candidate : cut.candidates) {
      for (const FoundSuperblock& found : candidate.superblocks) {
        const auto area = read_bytes(*candidate.metadata, *found.description.bitmap_offset_bytes, 1024);
        ASSERT_TRUE(area);
        const auto header = load<bitmap::Header>(*area, 0);
        EXPECT_EQ(Uuid{header->uuid}, found.description.set_uuid);
        EXPECT_EQ(header->version.value(), found.description.set_uuid == old_uuid ? 4U : 6U);
        ++seen;
      }
    }
  }
  EXPECT_GT(seen, 6U);
}

}  // namespace
}  // namespace mdtool
