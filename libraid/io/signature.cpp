// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/signature.h"

#include <blkid/blkid.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>

#include "libraid/io/descriptor.h"

namespace mdtool {

namespace {

// Of one place; libblkid knows some hundred formats.
constexpr std::size_t most_signatures = 16;
// Nearly all that libblkid looks for lies there.
constexpr std::uint64_t bytes_near_an_end = std::uint64_t{2} << 20;

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

Result<std::vector<std::string>> signatures_in(int fd, const std::string& name, std::uint64_t offset_bytes,
                                               std::uint64_t size_bytes) {
  const Probe probe(blkid_new_probe());
  if (!probe || blkid_probe_set_device(probe.get(), fd, static_cast<blkid_loff_t>(offset_bytes),
                                       static_cast<blkid_loff_t>(size_bytes)) != 0) {
    return Error{ErrorKind::io, name + ": libblkid cannot look at it"};
  }
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE);
  blkid_probe_enable_partitions(probe.get(), 1);
  std::vector<std::string> found;
  // Each call goes on behind the last find, in the next chain.
  for (std::size_t i = 0; i < most_signatures && blkid_do_probe(probe.get()) == 0; ++i) {
    if (auto content = name_of(probe.get())) {
      found.push_back(std::move(*content));
    }
  }
  return found;
}

Status copy_range(const Source& source, std::uint64_t first, std::uint64_t end, int to) {
  TRY(bytes, read_bytes(source, first, end - first));
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::pwrite(to, bytes.data() + done, bytes.size() - done, static_cast<off_t>(first + done));
    if (n <= 0) {
      return Error{ErrorKind::io, "a copy in memory cannot be written"};
    }
    done += static_cast<std::size_t>(n);
  }
  return Done{};
}

}  // namespace

Result<std::vector<std::string>> signatures(const FileDevice& device, std::uint64_t offset_bytes,
                                            std::uint64_t size_bytes) {
  return signatures_in(device.fd(), device.path(), offset_bytes, size_bytes);
}

Result<std::vector<std::string>> signatures(const Source& source, const std::string& name) {
  const std::uint64_t size = source.size_bytes();
  const std::uint64_t near = std::min(size, bytes_near_an_end);
  const Descriptor copy(::memfd_create("mdtool-signatures", MFD_CLOEXEC));
  if (copy.get() < 0 || ::ftruncate(copy.get(), static_cast<off_t>(size)) != 0) {
    return Error{ErrorKind::io, name + ": no memory for a copy of both ends"};
  }
  TRY(front, copy_range(source, 0, near, copy.get()).in(name));
  TRY(back, copy_range(source, size - near, size, copy.get()).in(name));
  return signatures_in(copy.get(), name, 0, size);
}

}  // namespace mdtool
