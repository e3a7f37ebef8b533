// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/zeroing.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>

#include "libraid/io/system_tables.h"

namespace mdtool {

namespace {

// Fixed numbers of the kernel's that linux/magic.h does not have.
constexpr std::uint64_t xfs_magic = 0x58465342;       // XFS_SB_MAGIC in fs/xfs/libxfs/xfs_format.h
constexpr std::uint64_t bcachefs_magic = 0xca451a4e;  // BCACHEFS_STATFS_MAGIC
constexpr std::uint64_t zfs_magic = 0x2fc12fc1;       // ZFS_SUPER_MAGIC in OpenZFS

struct FileSystem {
  std::uint64_t magic;
  const char* name;
  enum class Ranges { holes, holes_and_zeroes } ranges;
};

// What their fallocate() takes. An overlay's file is one of the file system below it.
constexpr std::array file_systems = {
    FileSystem{EXT4_SUPER_MAGIC, "ext4", FileSystem::Ranges::holes_and_zeroes},
    FileSystem{xfs_magic, "XFS", FileSystem::Ranges::holes_and_zeroes},
    FileSystem{BTRFS_SUPER_MAGIC, "Btrfs", FileSystem::Ranges::holes_and_zeroes},
    FileSystem{F2FS_SUPER_MAGIC, "F2FS", FileSystem::Ranges::holes_and_zeroes},
    FileSystem{bcachefs_magic, "bcachefs", FileSystem::Ranges::holes_and_zeroes},
    FileSystem{OVERLAYFS_SUPER_MAGIC, "overlayfs", FileSystem::Ranges::holes_and_zeroes},
    FileSystem{TMPFS_MAGIC, "tmpfs", FileSystem::Ranges::holes},
    FileSystem{zfs_magic, "ZFS", FileSystem::Ranges::holes},
};

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

std::optional<std::uint64_t> queue_limit(const FileIdentity& device, const char* attribute, const SystemPaths& system) {
  const std::filesystem::path folder = sysfs_folder(device, system);
  std::error_code error;
  // A partition has its disk's queue, one folder up.
  const bool partition = std::filesystem::exists(folder / "partition", error);
  const std::string text = first_line((partition ? folder / ".." : folder) / "queue" / attribute);
  std::uint64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failed == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

// An attribute with what follows from it.
std::string said(const char* attribute, const std::optional<std::uint64_t>& limit, const char* none, const char* some) {
  const std::string name = std::string("queue/") + attribute;
  if (!limit) {
    return "this kernel has no " + name + ": nobody knows how fast";
  }
  return name + " is " + std::to_string(*limit) + ": " + (*limit == 0 ? none : some);
}

ZeroAbility by_writing() {
  return {ZeroMethod::write, false, "every zero is written"};
}

}  // namespace

Result<ZeroAbility> zero_ability_of_device(const FileIdentity& device, ZeroMethod wanted, const SystemPaths& system) {
  constexpr const char* zeroes_attribute = "write_zeroes_max_bytes";
  constexpr const char* unmap_attribute = "write_zeroes_unmap_max_bytes";  // since 6.17
  const auto zeroes = queue_limit(device, zeroes_attribute, system);
  const auto unmap = queue_limit(device, unmap_attribute, system);
  if (wanted == ZeroMethod::write) {
    return by_writing();
  }
  const bool zeroes_itself = zeroes.value_or(0) != 0;
  if (wanted == ZeroMethod::unmap && !zeroes_itself) {
    return refused("it does not unmap with a promise of zeroes (" +
                   said(zeroes_attribute, zeroes, "the device does not zero by itself", "") + ")");
  }
  const bool unmaps = zeroes_itself && unmap.value_or(0) != 0;
  if (wanted == ZeroMethod::unmap || (wanted == ZeroMethod::automatic && unmaps)) {
    return ZeroAbility{
        ZeroMethod::unmap, unmaps,
        said(unmap_attribute, unmap, "the device may write every zero", "the device unmaps and promises zeroes")};
  }
  return ZeroAbility{ZeroMethod::zeroout, zeroes_itself,
                     said(zeroes_attribute, zeroes, "the kernel writes every zero", "the device zeroes by itself")};
}

Result<ZeroAbility> zero_ability_of_file(std::uint64_t file_system, ZeroMethod wanted) {
  const auto* known = std::find_if(file_systems.begin(), file_systems.end(),
                                   [&](const FileSystem& f) { return f.magic == file_system; });
  const bool holes = known != file_systems.end();
  if (wanted == ZeroMethod::write) {
    return by_writing();
  }
  if (wanted == ZeroMethod::automatic && !holes) {
    return ZeroAbility{ZeroMethod::write, false,
                       "its file system is not known for holes: every zero may have to be written"};
  }
  if (wanted == ZeroMethod::zeroout) {
    if (!holes || known->ranges != FileSystem::Ranges::holes_and_zeroes) {
      return refused("its file system is not known to zero a range of a file (FALLOC_FL_ZERO_RANGE)");
    }
    return ZeroAbility{ZeroMethod::zeroout, true, std::string("a file: ") + known->name + " zeroes ranges at once"};
  }
  if (!holes) {
    return refused("its file system is not known to make holes in a file (FALLOC_FL_PUNCH_HOLE)");
  }
  return ZeroAbility{ZeroMethod::unmap, true, std::string("a file: ") + known->name + " makes holes at once"};
}

Result<ZeroAbility> zero_ability(const FileDevice& device, ZeroMethod wanted, const SystemPaths& system) {
  if (device.identity().block_device) {
    return zero_ability_of_device(device.identity(), wanted, system);
  }
  struct statfs status {};
  if (::fstatfs(device.fd(), &status) != 0) {
    return io_error(device.path() + ": looking for its file system", errno);
  }
  return zero_ability_of_file(static_cast<std::uint64_t>(status.f_type), wanted);
}

Status zero_by(FileDevice& device, ZeroMethod wanted, const SystemPaths& system) {
  TRY(ability, zero_ability(device, wanted, system).in(device.path()));
  if (wanted != ZeroMethod::automatic) {
    device.zero_by(wanted, FileDevice::IfRefused::fail);
    return Done{};
  }
  // A file system that is not known for holes may still make them.
  const bool try_holes = ability.method == ZeroMethod::write;
  device.zero_by(try_holes ? ZeroMethod::automatic : ability.method, FileDevice::IfRefused::dearer_method);
  return Done{};
}

}  // namespace mdtool
