// SPDX-License-Identifier: GPL-2.0-or-later
// From MEMBER arguments to candidates: devices, images, file@offset+size slices, directories, and what a partition
// table inside of them leads to. Opens everything read-only, never exclusively. Knows nothing of arrays but their
// UUIDs.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/command.h"
#include "libraid/assemble/assembly.h"
#include "libraid/assemble/candidate.h"
#include "libraid/edit/try_plan.h"
#include "libraid/io/file.h"

namespace mdtool::cli {

// Where a candidate's bytes are, so that a verb that writes can open the same ones.
struct Origin {
  std::string file;
  FileIdentity identity;
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::optional<std::string> serial = {};  // of the disk, where sysfs knows it
};

class MemberSet {
 public:
  // Whether partitions inside of what is named are members, too, or it is taken as a whole.
  enum class Partitions { followed, ignored };
  // Never fails: what cannot be opened or read is a finding, and all_read() is false.
  static MemberSet open(std::span<const std::string> arguments, Partitions partitions = Partitions::followed);

  // From now on the members are as the plan would leave them: in memory only. `name` is the plan's, for a note. What
  // pointed at candidates(), as the plan did, points there no more.
  Status try_in_memory(const EditPlan& plan, const std::string& name);

  std::span<const Candidate> candidates() const { return candidates_; }
  // `candidate` is one of candidates().
  const Origin& origin(const Candidate& candidate) const;
  const LocatedFindings& findings() const { return findings_; }
  bool all_read() const { return !first_failure_.has_value(); }
  // The first failure to open or read something that was named.
  const std::optional<Error>& first_failure() const { return first_failure_; }
  // Keeps other mdtools from writing to what holds the candidate, as long as this set lives: FileDevice::hold().
  Status hold(const Candidate& candidate) const;
  // True if the file or device at this identity holds one of the candidates.
  bool uses(const FileIdentity& identity) const;

 private:
  enum class NamedBy { argument, directory };
  struct Opened {
    std::unique_ptr<FileDevice> device;
    std::unique_ptr<Source> uncached;
    std::vector<std::unique_ptr<Source>> slices;
  };

  void add(const std::string& argument);
  void add_directory(const std::string& path);
  void add_file(const std::string& path, NamedBy named_by);
  void add_slice(const Origin& origin);
  Result<std::size_t> open_device(const std::string& path);
  Result<Candidate> inspect_part(Opened& opened, const Origin& origin) const;
  std::vector<Candidate> inspect_partitions(Opened& opened, std::vector<Origin>& origins);
  void keep(Candidate candidate, const Origin& origin);
  bool keep_with_partitions(std::size_t index, const std::string& path, NamedBy named_by);
  void find_without_superblock(const Candidate& candidate, const Origin& origin);
  void note_holder(const FileDevice& device);
  void fail(const std::string& path, Error error);
  void find(const std::string& path, Severity severity, std::string id, std::string text);

  std::vector<Opened> opened_;
  std::vector<std::unique_ptr<PatchedSource>> tried_;  // above what is opened, and above each other
  std::vector<Candidate> candidates_;
  std::vector<Origin> origins_;  // of the candidates, by index
  Partitions partitions_ = Partitions::followed;
  LocatedFindings findings_;
  std::optional<Error> first_failure_;
};

// `--uuid` as an option of a verb.
void add_uuid_option(Options& app, std::string& uuid);
Result<std::optional<Uuid>> parse_uuid_option(const std::string& uuid);

// The arrays with this UUID, or all.
std::vector<Assembly> arrays_of(const MemberSet& members, const AssembleOptions& options,
                                const std::optional<Uuid>& uuid);

// The one array that a verb works on; fails where there is none, or several and no UUID that picks one, or something
// that was named could not be read.
Result<Assembly> one_array(const MemberSet& members, const AssembleOptions& options, const std::optional<Uuid>& uuid);

// Everything found about members and array, in one list. The assembly points into `members`.
LocatedFindings findings_of(const MemberSet& members, std::span<const Assembly> arrays);

}  // namespace mdtool::cli
