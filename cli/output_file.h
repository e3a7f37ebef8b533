// SPDX-License-Identifier: GPL-2.0-or-later
// The file or block device that `copy` writes: made new unless told otherwise, sparse where zeroes are, never a member.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "cli/members.h"
#include "libraid/io/descriptor.h"

namespace mdtool::cli {

class OutputFile {
 public:
  enum class Existing { refuse, overwrite };

  // Refuses what exists, unless overwriting was asked for, and always what holds one of the members. The file has
  // `size_bytes` afterwards, all zero; a device has to be at least that large.
  static Result<OutputFile> create(const std::string& path, std::uint64_t size_bytes, Existing existing,
                                   const MemberSet& members);

  // Whether create() would refuse what is there, without touching it.
  static Status check(const std::string& path, Existing existing, const MemberSet& members);

  // Skips zeroes where the file has a hole already; returns the bytes that were written.
  Result<std::uint64_t> write(std::uint64_t offset_bytes, std::span<const std::byte> bytes);
  // Everything is durable when it returns.
  Status finish();

 private:
  OutputFile(std::string path, Descriptor fd, bool sparse)
      : path_(std::move(path)), fd_(std::move(fd)), sparse_(sparse) {}
  Status write_all(std::uint64_t offset_bytes, std::span<const std::byte> bytes);

  std::string path_;
  Descriptor fd_;
  bool sparse_;
};

}  // namespace mdtool::cli
