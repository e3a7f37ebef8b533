// SPDX-License-Identifier: GPL-2.0-or-later
// Members opened for writing behind their fences, all held until the end, and the undo file in front of them: where it
// goes, and what it needs to find the members again.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/members.h"
#include "libraid/assemble/metadata_stages.h"
#include "libraid/io/fence.h"
#include "libraid/io/file.h"
#include "libraid/io/slice.h"
#include "libraid/io/undo_file.h"
#include "libraid/io/zeroing.h"

namespace mdtool::cli {

class WriteAccess {
 public:
  // Opens the file once, however many members are in it. Fails (refused) where it is in use or is no longer what it
  // was.
  Status add(const Origin& origin, const std::string& path, std::vector<PlannedExtent> extents);
  // From now on this is how all of them are zeroed, each as zero_ability() said of it.
  Status zero_by(ZeroMethod wanted);

  const std::vector<WritableMember>& members() const { return members_; }
  // By what an undo file finds them again.
  std::vector<UndoMember> undo_members() const { return undo_members_; }
  // The files and devices that are open.
  std::vector<FileIdentity> identities() const;

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

// Where a run keeps what it replaces.
struct UndoChoice {
  std::string path;          // empty: nowhere (--undo none)
  LocatedFindings findings;  // what is to be said about that place
};

// --undo of a verb that writes.
class UndoOption {
 public:
  enum class Kept { somewhere, nowhere };

  void add_to(Options& app);
  Kept kept() const;
  // Before anything is asked or opened for writing. Refused where the usual place dies with the power.
  Result<UndoChoice> choose() const;

 private:
  std::string word_;
};

// A new undo file for these members, or what keeps nothing. Refused where the file would be on one of them.
Result<std::unique_ptr<UndoSink>> open_undo(const UndoChoice& choice, const WriteAccess& access);

void remove_undo(const UndoSink& undo);
// Removes the file unless something was put into it: without a record no member was written.
void remove_undo_if_empty(const UndoSink& undo);

// For the document: the path, or null where there is no file.
Json undo_file_json(const UndoSink& undo);

// This process's command line, for people who read an undo file.
std::string command_line();

}  // namespace mdtool::cli
