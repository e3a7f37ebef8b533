// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/signature.h"

#include <blkid/blkid.h>

#include <memory>
#include <optional>
#include <string_view>

namespace mdtool {

namespace {

// Of one place; libblkid knows some hundred formats.
constexpr std::size_t most_signatures = 16;

struct ProbeDeleter {
  void operator()(blkid_probe probe) const { blkid_free_probe(probe); }
};
using Probe = std::unique_ptr<std::remove_pointer_t<blkid_probe>, ProbeDeleter>;

std::optional<std::string> value_of(blkid_probe probe, const char* name) {
  const char* value = nullptr;
  return blkid_probe_lookup_value(probe, name, &value, nullptr) == 0 && value != nullptr
             ? std::optional<std::string>(value)
             : std::nullopt;
}

std::optional<std::string> name_of(blkid_probe probe) {
  if (const auto table = value_of(probe, "PTTYPE")) {
    return *table + " (partition table)";
  }
  const auto type = value_of(probe, "TYPE");
  if (!type || *type == "linux_raid_member") {
    return std::nullopt;
  }
  return *type + " (" + value_of(probe, "USAGE").value_or("other") + ")";
}

}  // namespace

Result<std::vector<std::string>> signatures(const FileDevice& device, std::uint64_t offset_bytes,
                                            std::uint64_t size_bytes) {
  const Probe probe(blkid_new_probe());
  if (!probe || blkid_probe_set_device(probe.get(), device.fd(), static_cast<blkid_loff_t>(offset_bytes),
                                       static_cast<blkid_loff_t>(size_bytes)) != 0) {
    return Error{ErrorKind::io, device.path() + ": libblkid cannot look at it"};
  }
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE);
  blkid_probe_enable_partitions(probe.get(), 1);
  std::vector<std::string> found;
  // Each call goes on behind the last find, in the next chain.
  for (std::size_t i = 0; i < most_signatures && blkid_do_probe(probe.get()) == 0; ++i) {
    if (auto name = name_of(probe.get())) {
      found.push_back(std::move(*name));
    }
  }
  return found;
}

}  // namespace mdtool
