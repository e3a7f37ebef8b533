// SPDX-License-Identifier: GPL-2.0-or-later
// The undo file: what metadata was before a run of mdtool and what it became, stage by stage, durable before a member
// is written. Knows bytes and their places; not what they mean, and it writes no member.
//
// The file is a valid zstd stream: before each checksummed frame a skippable frame says how long it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libmeta/source.h"
#include "libraid/io/descriptor.h"

namespace mdtool {

struct UndoMember {
  std::string path;
  std::uint64_t size_bytes = 0;
  std::string identity;  // the caller's: by what it knows this member again
};

// How mdtool's own verbs write it: "1048576 serial=naa.5000c500a1b2c3d4".
struct UndoIdentity {
  std::uint64_t offset_bytes = 0;     // where the member starts in the file or device
  std::optional<std::string> serial;  // of the disk, where it is known

  std::string text() const;
  static std::optional<UndoIdentity> parse(std::string_view text);
};

struct UndoRecord {
  std::uint32_t member = 0;
  std::uint64_t offset_bytes = 0;
  std::vector<std::byte> before, after;  // of one length
  // Records of one stage came in one append(): a crash may have left any of their sectors written and any not.
  std::uint32_t stage = 0;

  friend bool operator==(const UndoRecord&, const UndoRecord&) = default;
};

struct UndoContents {
  std::string command_line;
  std::vector<UndoMember> members;
  std::vector<UndoRecord> records;  // in the order in which they were appended
  bool tail_dropped = false;        // the last frame was torn: its append() never returned
};

// The same without members that no record is of, or of one member alone.
UndoContents touched_members(const UndoContents& contents);
UndoContents only_member(const UndoContents& contents, std::uint32_t member);

// Takes what is to be undone, before it is done.
class UndoSink {
 public:
  virtual ~UndoSink() = default;
  // Durable when it returns. Call it before the stage is written to any member. After a failure every later call fails.
  virtual Status append(std::span<const UndoRecord> records) = 0;
  virtual const std::string& path() const = 0;
};

// Keeps nothing.
class NoUndo final : public UndoSink {
 public:
  Status append(std::span<const UndoRecord>) override { return Done{}; }
  const std::string& path() const override { return path_; }

 private:
  std::string path_;
};

class UndoFile final : public UndoSink {
 public:
  // A new file of mode 0600; missing folders are made with mode 0700. Refuses a path where anything is.
  static Result<UndoFile> create(const std::string& path, const std::string& command_line,
                                 std::vector<UndoMember> members);

  Status append(std::span<const UndoRecord> records) override;
  const std::string& path() const override { return path_; }

 private:
  UndoFile(std::string path, Descriptor fd, std::vector<UndoMember> members);
  Status append_frame(std::span<const std::byte> raw);

  std::string path_;
  Descriptor fd_;
  std::vector<UndoMember> members_;
  std::uint32_t frames_ = 0;
  std::uint64_t file_bytes_ = 0;
  std::uint64_t raw_bytes_ = 0;
  bool failed_ = false;
};

Result<UndoContents> read_undo_file(const std::string& path);
// The same from the bytes of such a file.
Result<UndoContents> decode_undo_file(std::span<const std::byte> file);

// What to write, in this order, to get back to the very first `before`; empty if that is what is there. The stages go
// back as they came, the last first, so that a cut of the undo leaves what a cut of the run could have left. `members`
// are the members of the file, in its order. Refuses, naming member and offset, unless
// every touched sector holds one of its versions in the file: a crash between two sectors of a stage is covered, a
// foreign write is not.
Result<std::vector<UndoRecord>> undo_plan(const UndoContents& contents, std::span<const Source* const> members);

// What such a list does in the end: each byte once, by member and offset, without those that end as they were.
std::vector<UndoRecord> net_changes(std::span<const UndoRecord> records);

// Where undo files go, as the environment says it.
struct UndoPlace {
  std::optional<std::string> xdg_state_home;
  std::optional<std::string> home;
  std::uint64_t now_seconds = 0;
  std::uint64_t process = 0;
};

// $XDG_STATE_HOME/mdtool/undo/20260131T235959Z-1234.undo, below ~/.local/state where that is not set.
Result<std::string> default_undo_path(const UndoPlace& place);

}  // namespace mdtool
