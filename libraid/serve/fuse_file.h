// SPDX-License-Identifier: GPL-2.0-or-later
// The one file that FUSE shows: its attributes, and what its users ask of it, as errno values. Knows the device; of
// sessions and threads only that there are many at once. Private to serve.
#pragma once

#include <fuse_lowlevel.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <ctime>
#include <optional>
#include <span>

#include "libraid/io/sector_access.h"
#include "libraid/serve/fuse.h"
#include "libraid/serve/page_buffers.h"

namespace mdtool::serve {

constexpr std::size_t most_transfer_bytes = 1U << 20;

class FuseFile {
 public:
  // `threads` use it at once.
  FuseFile(const Served& what, unsigned threads);

  // FUSE_INIT: what is wanted of the kernel.
  void init(fuse_conn_info& connection);
  bool initialised() const { return initialised_; }

  bool is_writable() const { return device_.has_value(); }
  struct stat attributes() const;
  // What setattr() would change is refused, or changes nothing.
  enum class Opened { here, elsewhere };
  int judge_change(const struct stat& wanted, int which, Opened opened) const;

  // Errors are errno values; the counts are bytes.
  struct Transferred {
    std::size_t bytes = 0;
    int error = 0;
  };
  Transferred read(std::uint64_t offset_bytes, std::span<std::byte> out) const;
  Transferred write(std::uint64_t offset_bytes, std::span<const std::byte> in);
  int allocate(int mode, std::uint64_t offset_bytes, std::uint64_t length_bytes);
  int flush();

  PageBuffers& buffers() { return buffers_; }
  void count_open() { ++open_; }
  void count_close() { --open_; }
  bool is_open() const { return open_ > 0; }

 private:
  std::uint64_t room(std::uint64_t offset_bytes, std::uint64_t length_bytes) const;

  const Source& source_;
  std::optional<SectorAccess> device_;
  PageBuffers buffers_;
  struct timespec started_ {};
  std::atomic<std::uint64_t> open_ = 0;
  bool initialised_ = false;
};

// The operations of a session whose user data is a FuseFile.
fuse_lowlevel_ops operations();

}  // namespace mdtool::serve
