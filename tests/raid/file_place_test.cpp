// SPDX-License-Identifier: GPL-2.0-or-later
// Which places die with the power, what a file stands on, and which disk a device is: on a system made of files.
#include "libraid/io/file_place.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "libraid/io/device_serial.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

FileIdentity disk(unsigned major, unsigned minor) {
  return {.rdev = makedev(major, minor), .block_device = true};
}

class FilePlace : public testing::Test {
 protected:
  void mounted(const std::string& lines) { write_file(system_.proc + "/self/mountinfo", lines); }
  void command_line(const std::string& line) { write_file(system_.proc + "/cmdline", line + "\n"); }
  std::string folder(const std::string& name) {
    std::filesystem::create_directories(scratch_.path(name));
    return scratch_.path(name);
  }
  std::optional<std::string> dies(const std::string& name) { return dies_with_power(scratch_.path(name), system_); }
  std::string root(const std::string& rest) { return "20 1 8:2 / / rw - " + rest + "\n"; }
  std::string at(const std::string& name, const std::string& rest) {
    return "30 20 0:40 / " + folder(name) + " rw - " + rest + "\n";
  }
  // A disk or a partition of one in sysfs, by number; `path` below its devices.
  std::string block(const std::string& number, const std::string& path) {
    const std::string folder = system_.sys + "/devices/" + path;
    write_file(folder + "/dev", number + "\n");
    std::filesystem::create_directories(system_.sys + "/dev/block");
    std::filesystem::create_directory_symlink(folder, system_.sys + "/dev/block/" + number);
    return folder;
  }
  bool stands(const std::string& name, const FileIdentity& on) {
    const auto below = stands_on(scratch_.path(name), system_);
    return std::find(below.begin(), below.end(), on) != below.end();
  }

  ScratchFolder scratch_;
  SystemPaths system_{scratch_.path("proc"), scratch_.path("sys")};
};

TEST_F(FilePlace, a_disk_lasts_and_memory_does_not) {
  mounted(root("ext4 /dev/sda2 rw") + at("run", "tmpfs tmpfs rw,size=1k") + at("ram", "ramfs none rw"));
  EXPECT_EQ(dies("home/mdtool/undo/x.undo"), std::nullopt);
  EXPECT_EQ(dies("run/mdtool/undo/x.undo"), "tmpfs, mounted on " + scratch_.path("run"));
  EXPECT_EQ(dies("ram"), "ramfs, mounted on " + scratch_.path("ram"));
  EXPECT_EQ(dies("running/x"), std::nullopt);
}

TEST_F(FilePlace, the_mount_on_top_counts) {
  mounted(root("tmpfs tmpfs rw") + at("disk", "tmpfs tmpfs rw") + at("disk", "ext4 /dev/sda1 rw"));
  EXPECT_EQ(dies("disk/x"), std::nullopt);
  EXPECT_TRUE(dies("x"));
}

TEST_F(FilePlace, symbolic_links_are_followed) {
  mounted(root("ext4 /dev/sda2 rw") + at("run", "tmpfs tmpfs rw"));
  folder("home");
  std::filesystem::create_directory_symlink(scratch_.path("run"), scratch_.path("home/state"));
  EXPECT_TRUE(dies("home/state/mdtool/x.undo"));
}

TEST_F(FilePlace, the_initial_ram_file_system_dies) {
  mounted(root("rootfs rootfs rw"));
  EXPECT_EQ(dies("x"), "rootfs, mounted on /");
}

TEST_F(FilePlace, an_overlay_is_what_its_upper_folder_is_on) {
  const std::string upper = folder("cow,1/upper");
  std::string mangled = upper;
  mangled.replace(mangled.find(','), 1, "\\054");
  const std::string overlay = "overlay overlay rw,lowerdir=/a:/b,upperdir=" + mangled + ",workdir=/c";
  command_line("BOOT_IMAGE=/live/vmlinuz boot=live quiet");
  mounted(at("cow,1", "tmpfs cow rw") + at("home", overlay));
  EXPECT_EQ(dies("home/x"),
            "an overlay on " + scratch_.path("home") + " above tmpfs, mounted on " + scratch_.path("cow,1"));
  mounted(at("cow,1", "ext4 /dev/sdb1 rw") + at("home", overlay));
  EXPECT_EQ(dies("home/x"), std::nullopt);  // a live system that keeps what is written
}

TEST_F(FilePlace, an_overlay_of_which_nothing_is_seen_dies_only_on_a_live_system) {
  mounted(root("overlay overlay rw,lowerdir=/l,upperdir=/no/such/folder/upper,workdir=/w"));
  command_line("BOOT_IMAGE=/vmlinuz root=/dev/sda2 quiet");
  EXPECT_EQ(dies("x"), std::nullopt);  // a container
  for (const char* live : {"boot=live components", "quiet boot=casper", "rd.live.image root=live:CDLABEL=F"}) {
    command_line(live);
    EXPECT_EQ(dies("x"), "the overlay of a live system") << live;
  }
  command_line("reboot=live2 noboot=live");
  EXPECT_EQ(dies("x"), std::nullopt);
}

TEST_F(FilePlace, overlays_above_each_other_come_to_an_end) {
  const std::string upper = folder("a/upper");
  mounted(at("a", "overlay overlay rw,upperdir=" + upper));
  EXPECT_EQ(dies("a/x"), std::nullopt);
  EXPECT_TRUE(stands_on(scratch_.path("a/x"), system_).empty());
}

TEST_F(FilePlace, without_the_table_the_file_system_itself_is_asked) {
  EXPECT_EQ(dies_with_power("/dev/shm/mdtool", system_).has_value(),
            dies_with_power("/dev/shm").has_value() || !std::filesystem::exists("/dev/shm"));
}

TEST_F(FilePlace, a_partition_stands_on_its_disk) {
  block("8:0", "sda");
  write_file(block("8:2", "sda/sda2") + "/partition", std::string("2\n"));
  block("8:16", "sdb");
  mounted(root("ext4 /dev/nowhere rw"));
  EXPECT_TRUE(stands("x", disk(8, 2)));
  EXPECT_TRUE(stands("x", disk(8, 0)));
  EXPECT_FALSE(stands("x", disk(8, 16)));
}

TEST_F(FilePlace, what_md_and_device_mapper_are_made_of) {
  block("8:16", "sdb");
  write_file(block("8:17", "sdb/sdb1") + "/partition", std::string("1\n"));
  const std::string md = block("9:127", "md127");
  const std::string dm = block("8:2", "dm-0");
  std::filesystem::create_directories(md + "/slaves");
  std::filesystem::create_directories(dm + "/slaves");
  std::filesystem::create_directory_symlink(system_.sys + "/devices/md127", dm + "/slaves/md127");
  std::filesystem::create_directory_symlink(system_.sys + "/devices/sdb/sdb1", md + "/slaves/sdb1");
  mounted(root("ext4 /dev/nowhere rw"));
  EXPECT_TRUE(stands("x", disk(9, 127)));
  EXPECT_TRUE(stands("x", disk(8, 17)));
  EXPECT_TRUE(stands("x", disk(8, 16)));
}

TEST_F(FilePlace, a_loop_device_stands_on_its_file) {
  const std::string image = scratch_.path("images/m0.img");
  write_file(image, std::string("member"));
  write_file(block("8:2", "loop0") + "/loop/backing_file", image + "\n");
  block("8:33", "sdc1");
  mounted(root("ext4 /dev/nowhere rw") + "31 20 8:33 / " + folder("images") + " rw - ext4 /dev/nowhere rw\n");
  EXPECT_TRUE(stands("x", *identify(image)));
  EXPECT_TRUE(stands("x", disk(8, 33)));
}

TEST_F(FilePlace, serial_numbers_of_every_kind_of_disk) {
  EXPECT_EQ(device_serial(disk(8, 0), system_), std::nullopt);
  const std::string scsi = block("8:0", "sda");
  EXPECT_EQ(device_serial(disk(8, 0), system_), std::nullopt);
  write_file(scsi + "/device/wwid", std::string("t10.ATA     WDC WD40    WD-123 \n"));
  EXPECT_EQ(device_serial(disk(8, 0), system_), "t10.ATA     WDC WD40    WD-123");
  write_file(block("8:1", "sda/sda1") + "/partition", std::string("1\n"));
  EXPECT_EQ(device_serial(disk(8, 1), system_), "t10.ATA     WDC WD40    WD-123");
  write_file(block("254:0", "vda") + "/serial", std::string("disk-7"));
  EXPECT_EQ(device_serial(disk(254, 0), system_), "disk-7");
  const std::string nvme = block("259:0", "nvme0n1");
  write_file(nvme + "/wwid", std::string("eui.0025385b\n"));
  write_file(nvme + "/device/serial", std::string("S4EV\n"));
  EXPECT_EQ(device_serial(disk(259, 0), system_), "eui.0025385b");
  write_file(block("253:0", "dm-0") + "/dm/uuid", std::string("LVM-abc\n"));
  EXPECT_EQ(device_serial(disk(253, 0), system_), "LVM-abc");
  write_file(block("254:16", "vdb") + "/serial", std::string("\n"));
  EXPECT_EQ(device_serial(disk(254, 16), system_), std::nullopt);
  write_file(block("254:32", "vdc") + "/serial", std::string(5000, 'x'));
  EXPECT_EQ(device_serial(disk(254, 32), system_)->size(), 256U);
}

TEST_F(FilePlace, files_have_no_serial_number) {
  block("0:0", "nothing");
  EXPECT_EQ(device_serial(*identify(scratch_.path("")), system_), std::nullopt);
}

}  // namespace
}  // namespace mdtool
