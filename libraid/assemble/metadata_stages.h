// SPDX-License-Identifier: GPL-2.0-or-later
// Metadata on its way to the members, a stage at a time: the undo record first, then one member after the other, each
// written, flushed, read back past the cache and compared. Knows bytes, not what they mean.
#pragma once

#include <span>
#include <vector>

#include "libmeta/format.h"
#include "libraid/io/fence.h"
#include "libraid/io/undo_file.h"

namespace mdtool {

// A member that was opened for writing.
struct WritableMember {
  std::string path;
  FencedDevice* device = nullptr;
  const Source* past_cache = nullptr;
};

struct MemberPatch {
  std::size_t member = 0;  // index into the writable members
  Patch patch;
};

class MetadataStages {
 public:
  MetadataStages(std::vector<WritableMember> members, UndoSink& undo) : members_(std::move(members)), undo_(&undo) {}

  const std::vector<WritableMember>& members() const { return members_; }
  // In the order given. Sectors that are on the member already are not written again.
  Status write(std::span<const MemberPatch> stage);
  // Whether what is replaced from now on goes into the undo file: not where going back would promise what is gone.
  enum class Replaced { kept, given_up };
  void let_replaced_be(Replaced what) { replaced_ = what; }

 private:
  Result<std::vector<UndoRecord>> changes(std::span<const MemberPatch> stage) const;

  std::vector<WritableMember> members_;
  UndoSink* undo_;
  std::uint32_t stages_ = 0;  // written so far
  Replaced replaced_ = Replaced::kept;
};

}  // namespace mdtool
