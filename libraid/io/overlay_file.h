// SPDX-License-Identifier: GPL-2.0-or-later
// The overlay file of an array: made, opened over the members that it belongs to and no others, locked, removed. What
// is in it is overlay_format.h's, how it is written overlay.h's matter. Writes no member.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libmeta/description.h"
#include "libraid/io/overlay.h"

namespace mdtool {

// A member that an overlay is put over.
struct OverlayBase {
  std::string path;
  std::string identity;              // by what people know it again: "40358a20:... 1" (see overlay_base())
  const Source* data = nullptr;      // outlives the overlay; is only read
  const Source* metadata = nullptr;  // the same bytes past the cache
  std::vector<Area> bound;           // what must stay as it is for the overlay to fit; only needed by create()
};

enum class OverlayUse {
  serve,   // refused once a commit has begun
  commit,  // takes members as a commit that was cut leaves them, too
};

class OverlayFile {
 public:
  // A new file of mode 0600; missing folders are made with mode 0700. Refuses a path where anything is.
  static Result<OverlayFile> create(const std::string& path, std::span<const OverlayBase> bases);
  // Takes the file for itself (an exclusive OFD lock). Every base must be a member of it, unchanged, in any order; not
  // every member need be there. Refused otherwise, naming the member and what is different.
  static Result<OverlayFile> open(const std::string& path, std::span<const OverlayBase> bases, OverlayUse use);

  const std::string& path() const { return path_; }
  // Base `base` (index into what create() or open() was given) with the overlay above it. This object outlives it.
  std::unique_ptr<BlockDevice> device(std::size_t base) const;
  // The same base's index into members().
  std::uint32_t member_of(std::size_t base) const { return bases_[base].member; }
  std::size_t base_count() const { return bases_.size(); }
  // Refused unless this is still what open() saw: for whoever opened the member again, for writing.
  Status check_unchanged(std::size_t base, const Source& now) const;

  const std::vector<OverlayMember>& members() const { return store_->members(); }
  std::vector<OverlayBlock> blocks_of(std::uint32_t member) const { return store_->blocks_of(member); }
  const std::optional<OverlayCommit>& commit() const { return store_->commit(); }
  Status begin_commit(OverlayCommit commit) { return store_->begin_commit(std::move(commit)); }
  // Gone for good when it returns.
  Status remove();

 private:
  struct Placed {
    std::uint32_t member;
    const Source* data;
  };
  OverlayFile(std::string path, std::unique_ptr<OverlayStore> store, std::vector<Placed> bases)
      : path_(std::move(path)), store_(std::move(store)), bases_(std::move(bases)) {}

  std::string path_;
  std::unique_ptr<OverlayStore> store_;
  std::vector<Placed> bases_;
};

// Looks at a file without its members and without a lock.
Result<OverlayContents> read_overlay_file(const std::string& path);

// What the members were like, and what a commit that has begun may have made of them.
struct KnownVersions {
  std::span<const OverlayMember> members;
  const std::optional<OverlayCommit>& commit;
};

// For each base its member (by identity, whatever its path is now), or which of them fits none and why.
Result<std::vector<std::uint32_t>> match_overlay(const KnownVersions& known, std::span<const OverlayBase> bases);

}  // namespace mdtool
