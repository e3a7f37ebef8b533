// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/in_use.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

FileIdentity disk(unsigned major, unsigned minor) {
  return {.rdev = makedev(major, minor), .block_device = true};
}

TEST(Mountinfo, lines_of_every_shape) {
  const auto mounts = parse_mountinfo(
      "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
      "36 35 98:1 /sub /mnt\\040with\\134blank rw,noatime master:1 propagate_from:2 - ext3 /dev/sdb1 "
      "rw,errors=continue\n"
      "42 27 0:39 / /tmp/m rw - fuse.mdtool mdtool-17:a rw,user_id=0\n");
  ASSERT_EQ(mounts.size(), 3U);
  EXPECT_EQ(mounts[0].major, 254U);
  EXPECT_EQ(mounts[0].minor, 0U);
  EXPECT_EQ(mounts[0].source, "/dev/vda");
  EXPECT_EQ(mounts[1].mount_point, "/mnt with\\blank");
  EXPECT_EQ(mounts[1].type, "ext3");
  EXPECT_EQ(mounts[1].source, "/dev/sdb1");
  EXPECT_EQ(mounts[2].type, "fuse.mdtool");
  EXPECT_EQ(mounts[2].source, "mdtool-17:a");
}

TEST(Mountinfo, nonsense_is_left_out) {
  EXPECT_TRUE(parse_mountinfo("").empty());
  EXPECT_TRUE(parse_mountinfo("\n\n \n").empty());
  EXPECT_TRUE(parse_mountinfo("27 1 254:0 / / rw relatime ext4 /dev/vda rw\n").empty());
  EXPECT_TRUE(parse_mountinfo("27 1 x:0 / / rw - ext4 /dev/vda rw\n").empty());
  EXPECT_TRUE(parse_mountinfo("27 1 4294967296:0 / / rw - ext4 /dev/vda rw\n").empty());
  EXPECT_TRUE(parse_mountinfo("27 1 254:0 / / rw - ext4").empty());
}

TEST(Swaps, heading_is_no_swap) {
  const auto paths = parse_swaps(
      "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
      "/dev/zram0                              partition\t1024\t0\t100\n"
      "/swap\\040file\t\tfile\t\t5\t0\t-2\n");
  EXPECT_EQ(paths, (std::vector<std::string>{"/dev/zram0", "/swap file"}));
}

// A system made of files: the disk 8:0 with a partition 8:1, and the disk 8:16.
class HolderTest : public testing::Test {
 protected:
  void SetUp() override {
    write_file(system_.proc + "/self/mountinfo", std::string());
    write_file(system_.proc + "/swaps", std::string("Filename Type Size Used Priority\n"));
    const std::string disks = system_.sys + "/devices/block";
    write_file(disks + "/sda/dev", std::string("8:0\n"));
    write_file(disks + "/sda/sda1/dev", std::string("8:1\n"));
    write_file(disks + "/sda/sda1/partition", std::string("1\n"));
    write_file(disks + "/sdb/dev", std::string("8:16\n"));
    std::filesystem::create_directories(disks + "/sda/holders");
    std::filesystem::create_directories(disks + "/sda/sda1/holders");
    std::filesystem::create_directories(system_.sys + "/dev/block");
    std::filesystem::create_directory_symlink(disks + "/sda", system_.sys + "/dev/block/8:0");
    std::filesystem::create_directory_symlink(disks + "/sda/sda1", system_.sys + "/dev/block/8:1");
    std::filesystem::create_directory_symlink(disks + "/sdb", system_.sys + "/dev/block/8:16");
  }

  ScratchFolder scratch_;
  SystemPaths system_{scratch_.path("proc"), scratch_.path("sys")};
};

TEST_F(HolderTest, nobody) {
  EXPECT_EQ(holder(disk(8, 0), system_), std::nullopt);
  EXPECT_EQ(holder(disk(8, 1), system_), std::nullopt);
  EXPECT_EQ(holder(disk(7, 7), system_), std::nullopt);
}

TEST_F(HolderTest, a_mount_of_the_device_and_of_its_partition) {
  write_file(system_.proc + "/self/mountinfo", std::string("36 35 8:1 / /srv rw - ext4 /dev/none rw\n"));
  EXPECT_EQ(holder(disk(8, 1), system_), "mounted on /srv");
  EXPECT_EQ(holder(disk(8, 0), system_), "its partition sda1 is mounted on /srv");
  EXPECT_EQ(holder(disk(8, 16), system_), std::nullopt);
}

TEST_F(HolderTest, an_active_array) {
  write_file(system_.sys + "/devices/block/sda/sda1/holders/md127", std::string());
  EXPECT_EQ(holder(disk(8, 1), system_), "held by md127");
  EXPECT_EQ(holder(disk(8, 0), system_), "its partition sda1 is held by md127");
}

TEST_F(HolderTest, swap_and_loop_files_are_known_by_inode_not_by_name) {
  const std::string file = scratch_.path("image"), link = scratch_.path("link");
  write_file(file, std::string("x"));
  ASSERT_EQ(::link(file.c_str(), link.c_str()), 0);
  EXPECT_EQ(holder(*identify(file), system_), std::nullopt);
  write_file(system_.sys + "/block/loop3/loop/backing_file", link + "\n");
  EXPECT_EQ(holder(*identify(file), system_), "backing /dev/loop3");
  write_file(system_.proc + "/swaps", "Filename Type\n" + link + " file 1 0 -2\n");
  EXPECT_EQ(holder(*identify(file), system_), "in use as swap");
}

// Processes made of files: one that only reads, one that has locked another inode, one that has locked this one.
TEST_F(HolderTest, a_lock_names_its_process) {
  const std::string file = scratch_.path("image");
  write_file(file, std::string("x"));
  const FileIdentity identity = *identify(file);
  const auto process = [&](const std::string& number, const std::string& info, const std::string& command) {
    write_file(system_.proc + "/" + number + "/fdinfo/5", "pos:\t0\n" + info);
    write_file(system_.proc + "/" + number + "/cmdline", command);
    std::filesystem::create_directories(system_.proc + "/" + number + "/fd");
    std::filesystem::create_symlink(file, system_.proc + "/" + number + "/fd/5");
  };
  const auto lock = [](std::uint64_t inode) {
    return "lock:\t1: OFDLCK  ADVISORY  WRITE -1 fe:00:" + std::to_string(inode) + " 0 EOF\n";
  };
  process("11", "", "reader");
  process("22", lock(identity.inode + 1), "other");
  EXPECT_EQ(lock_holder(identity, system_), std::nullopt);
  process("33", lock(identity.inode), std::string("mdtool\0assemble\0-w\0", 19));
  EXPECT_EQ(lock_holder(identity, system_), "process 33 (mdtool assemble -w)");
}

TEST(Holder, this_system_can_be_asked) {
  const ScratchFolder scratch;
  write_file(scratch.path("image"), std::string("x"));
  EXPECT_EQ(holder(*identify(scratch.path("image"))), std::nullopt);
  EXPECT_FALSE(mounts().empty());
}

}  // namespace
}  // namespace mdtool
