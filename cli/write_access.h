// SPDX-License-Identifier: GPL-2.0-or-later
// Members opened for writing behind their fences, all held until the end, and the undo file in front of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/members.h"
#include "libraid/assemble/metadata_stages.h"
#include "libraid/io/fence.h"
#include "libraid/io/file.h"
#include "libraid/io/slice.h"
#include "libraid/io/undo_file.h"

namespace mdtool::cli {

class WriteAccess {
 public:
  // Opens the file once, however many members are in it. Fails (refused) where it is in use or is no longer what it
  // was.
  Status add(const Origin& origin, const std::string& path, std::vector<PlannedExtent> extents);

  const std::vector<WritableMember>& members() const { return members_; }
  // By what an undo file finds them again.
  std::vector<UndoMember> undo_members() const { return undo_members_; }

 private:
  struct File {
    FileIdentity identity;
    std::unique_ptr<FileDevice> device;
    std::unique_ptr<UncachedSource> past_cache;
  };
  Result<File*> file_of(const Origin& origin);

  std::vector<std::unique_ptr<File>> files_;
  std::vector<std::unique_ptr<FencedDevice>> fences_;
  std::vector<std::unique_ptr<SourceSlice>> past_cache_;
  std::vector<WritableMember> members_;
  std::vector<UndoMember> undo_members_;
};

// `path` as given, or a new name below the state directory of this user.
Result<std::string> undo_path(const std::string& path);

// This process's command line, for people who read an undo file.
std::string command_line();

}  // namespace mdtool::cli
