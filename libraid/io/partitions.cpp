// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/partitions.h"

#include <blkid/blkid.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "libmeta/sectors.h"

namespace mdtool {
namespace {

constexpr int most_partitions = 256;

struct ProbeDeleter {
  void operator()(blkid_probe probe) const { blkid_free_probe(probe); }
};
using Probe = std::unique_ptr<std::remove_pointer_t<blkid_probe>, ProbeDeleter>;

std::optional<Partition> usable(blkid_partition entry, std::uint64_t disk_bytes) {
  const auto start = static_cast<std::uint64_t>(blkid_partition_get_start(entry));
  const auto size = static_cast<std::uint64_t>(blkid_partition_get_size(entry));
  const std::uint64_t disk = disk_bytes / Sectors::bytes_each;
  if (blkid_partition_is_extended(entry) != 0 || start == 0 || start >= disk || size == 0) {
    return std::nullopt;
  }
  const std::uint64_t room = disk_bytes - start * Sectors::bytes_each;
  const std::uint64_t bytes = size > disk ? room : std::min(size * Sectors::bytes_each, room);
  return Partition{start * Sectors::bytes_each, bytes,
                   static_cast<std::uint32_t>(std::max(blkid_partition_get_partno(entry), 0))};
}

}  // namespace

Result<std::vector<Partition>> partitions(const FileDevice& device) {
  const Probe probe(blkid_new_probe());
  if (!probe || blkid_probe_set_device(probe.get(), device.fd(), 0, 0) != 0) {
    return Error{ErrorKind::io, device.path() + ": libblkid cannot look at it"};
  }
  blkid_probe_enable_superblocks(probe.get(), 0);
  blkid_probe_enable_partitions(probe.get(), 1);
  std::vector<Partition> found;
  const blkid_partlist list = blkid_probe_get_partitions(probe.get());
  // Without a table there is no list. A sector that cannot be read has no table either.
  const int count = list == nullptr ? 0 : std::min(blkid_partlist_numof_partitions(list), most_partitions);
  for (int i = 0; i < count; ++i) {
    const blkid_partition entry = blkid_partlist_get_partition(list, i);
    if (const auto partition = entry == nullptr ? std::nullopt : usable(entry, device.size_bytes())) {
      found.push_back(*partition);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace mdtool
