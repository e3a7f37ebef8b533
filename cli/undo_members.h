// SPDX-License-Identifier: GPL-2.0-or-later
// Where the members of an undo file are now: at their recorded places, else among those that the user names. Who has
// another size, another disk's serial number, or bytes that no version in the file has, is somebody else.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cli/members.h"
#include "libraid/io/slice.h"
#include "libraid/io/undo_file.h"

namespace mdtool::cli {

class UndoMembers {
 public:
  // Every member of `contents` is found, each somewhere else; or refused, naming the one that is not.
  static Result<UndoMembers> find(const UndoContents& contents, std::span<const std::string> places);

  std::size_t count() const { return members_.size(); }
  const std::string& path(std::size_t member) const { return members_[member].path; }
  const Origin& origin(std::size_t member) const { return members_[member].origin; }
  // Past the cache.
  const Source& source(std::size_t member) const { return *members_[member].source; }
  std::vector<const Source*> sources() const;

 private:
  struct Found {
    std::string path;
    Origin origin;
    std::unique_ptr<FileDevice> device;  // null: a candidate of places_
    std::unique_ptr<UncachedSource> uncached;
    std::unique_ptr<SourceSlice> slice;
    const Source* source = nullptr;
  };
  static Result<Found> at_recorded_place(const UndoMember& member);
  Result<Found> among_places(const UndoContents& one, const Error& why_not) const;
  bool is_taken(const Origin& origin) const;

  std::unique_ptr<MemberSet> places_;
  std::vector<Found> members_;
};

}  // namespace mdtool::cli
