// SPDX-License-Identifier: GPL-2.0-or-later
// A file that a plan has written: made beside its place and put there in one step, so that whatever interrupts it
// leaves the old one or the new one, whole. Never a member, nor a device.
#pragma once

#include <span>
#include <string>

#include "cli/output_file.h"

namespace mdtool::cli {

class WholeFile {
 public:
  // What write() would refuse of the place, without touching it: what exists, unless overwriting was asked for or it
  // holds just these bytes.
  static Status check(const std::string& path, std::span<const std::byte> content, OutputFile::Existing existing,
                      const MemberSet& members);
  // Durable beside its place when it returns; gone again unless it is put there.
  static Result<WholeFile> write(const std::string& path, std::span<const std::byte> content,
                                 OutputFile::Existing existing, const MemberSet& members);

  WholeFile(WholeFile&& other) noexcept
      : place_(std::move(other.place_)), beside_(std::exchange(other.beside_, {})), replaces_(other.replaces_) {}
  WholeFile& operator=(WholeFile&&) = delete;
  ~WholeFile();

  // Its name is durable too when it returns.
  Status put_in_place();
  // Removes it. False where it has replaced another, which is lost.
  bool take_back();

 private:
  WholeFile(std::string place, std::string beside, bool replaces)
      : place_(std::move(place)), beside_(std::move(beside)), replaces_(replaces) {}

  std::string place_;
  std::string beside_;  // empty once it is in its place
  bool replaces_;
};

}  // namespace mdtool::cli
