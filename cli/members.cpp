// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/members.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <utility>

#include "libraid/assemble/next_steps.h"
#include "libraid/io/device_serial.h"
#include "libraid/io/in_use.h"
#include "libraid/io/partitions.h"
#include "libraid/io/slice.h"

namespace mdtool::cli {

namespace {

constexpr const char* known_metadata = "0.90, 1.0, 1.1, 1.2";
constexpr const char* no_superblock = "no-superblock";

struct SliceName {
  std::string file;
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
};

std::optional<std::uint64_t> number(std::string_view digits) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  return value;
}

// "file@offset+size", both in bytes.
std::optional<SliceName> parse_slice(std::string_view argument) {
  const std::size_t at = argument.rfind('@');
  const std::size_t plus = argument.rfind('+');
  if (at == std::string_view::npos || plus == std::string_view::npos || plus < at) {
    return std::nullopt;
  }
  const auto offset = number(argument.substr(at + 1, plus - at - 1));
  const auto size = number(argument.substr(plus + 1));
  if (!offset || !size) {
    return std::nullopt;
  }
  return SliceName{std::string(argument.substr(0, at)), *offset, *size};
}

std::string slice_name(const std::string& file, std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  return file + "@" + std::to_string(offset_bytes) + "+" + std::to_string(size_bytes);
}

bool same_bytes(const Origin& a, const Origin& b) {
  return a.identity == b.identity && a.offset_bytes == b.offset_bytes && a.size_bytes == b.size_bytes;
}

std::string identity_text(const Origin& origin) {
  const FileIdentity& id = origin.identity;
  const std::string device =
      id.block_device ? "block:" + std::to_string(id.rdev) : std::to_string(id.device) + ":" + std::to_string(id.inode);
  return device + "@" + std::to_string(origin.offset_bytes) + "+" + std::to_string(origin.size_bytes);
}

// Regular files and block devices of a directory, sorted by name; symbolic links are followed.
Result<std::vector<std::string>> files_in(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> files;
  std::filesystem::directory_iterator entries(directory, error);
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    std::error_code status_error;
    const auto status = entries->status(status_error);
    if (std::filesystem::is_regular_file(status) || std::filesystem::is_block_file(status)) {
      files.push_back(entries->path().string());
    }
  }
  if (error) {
    return io_error(directory, error.value());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

MemberSet MemberSet::open(std::span<const std::string> arguments, Partitions partitions) {
  MemberSet members;
  members.partitions_ = partitions;
  for (const std::string& argument : arguments) {
    members.add(argument);
  }
  return members;
}

Status MemberSet::try_in_memory(const EditPlan& plan, const std::string& name) {
  TRY(tried, try_plan(candidates_, plan));
  std::move(tried.sources.begin(), tried.sources.end(), std::back_inserter(tried_));
  candidates_ = std::move(tried.candidates);
  std::erase_if(findings_, [](const LocatedFinding& f) { return f.finding.id == no_superblock; });
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    find_without_superblock(candidates_[i], origins_[i]);
  }
  find("", Severity::note, "tried-in-memory",
       "the members are shown as the plan " + name + " would leave them; nothing of it is on them");
  return Done{};
}

const Origin& MemberSet::origin(const Candidate& candidate) const {
  return origins_[static_cast<std::size_t>(&candidate - candidates_.data())];
}

Status MemberSet::hold(const Candidate& candidate) const {
  const FileIdentity& wanted = origin(candidate).identity;
  const auto at = std::find_if(opened_.begin(), opened_.end(),
                               [&](const Opened& opened) { return opened.device->identity() == wanted; });
  return at == opened_.end() ? Status(Done{}) : at->device->hold();
}

bool MemberSet::uses(const FileIdentity& identity) const {
  return std::any_of(origins_.begin(), origins_.end(), [&](const Origin& o) { return o.identity == identity; });
}

void MemberSet::add(const std::string& argument) {
  struct stat status {};
  if (::stat(argument.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) {
      add_directory(argument);
    } else {
      add_file(argument, NamedBy::argument);
    }
    return;
  }
  const int stat_errno = errno;
  const auto slice = parse_slice(argument);
  if (!slice) {
    fail(argument, io_error(argument, stat_errno));
    return;
  }
  const auto identity = identify(slice->file);
  if (!identity) {
    fail(argument, identity.error());
    return;
  }
  add_slice({slice->file, *identity, slice->offset_bytes, slice->size_bytes});
}

void MemberSet::add_directory(const std::string& path) {
  const auto files = files_in(path);
  if (!files) {
    fail(path, files.error());
    return;
  }
  const std::size_t before = candidates_.size();
  for (const std::string& file : *files) {
    add_file(file, NamedBy::directory);
  }
  if (candidates_.size() == before) {
    find(path, Severity::warning, "no-member-in-directory",
         "none of the " + std::to_string(files->size()) + " files in this directory has an md superblock (" +
             known_metadata + ") that was not found before");
  }
}

void MemberSet::add_file(const std::string& path, NamedBy named_by) {
  const auto index = open_device(path);
  if (!index) {
    fail(path, index.error());
    return;
  }
  const bool kept = keep_with_partitions(*index, path, named_by);
  const bool is_last = *index + 1 == opened_.size();
  if (kept) {
    note_holder(*opened_[*index].device);
  } else if (is_last && !uses(opened_[*index].device->identity())) {
    opened_.pop_back();
  }
}

void MemberSet::add_slice(const Origin& origin) {
  const std::string name = slice_name(origin.file, origin.offset_bytes, origin.size_bytes);
  const auto index = open_device(origin.file);
  if (!index) {
    fail(name, index.error());
    return;
  }
  auto candidate = inspect_part(opened_[*index], origin);
  if (!candidate) {
    fail(name, candidate.error());
    return;
  }
  keep(std::move(*candidate), origin);
  note_holder(*opened_[*index].device);
}

// One open file for all names of the same bytes: the index of its entry.
Result<std::size_t> MemberSet::open_device(const std::string& path) {
  TRY(identity, identify(path));
  for (std::size_t i = 0; i < opened_.size(); ++i) {
    if (opened_[i].device->identity() == identity) {
      return i;
    }
  }
  TRY(device, FileDevice::open(path, Access::read_only));
  Opened opened;
  opened.uncached = std::make_unique<UncachedSource>(*device);
  opened.device = std::move(device);
  opened_.push_back(std::move(opened));
  return opened_.size() - 1;
}

// The slices that the candidate reads from stay in `opened` for good.
Result<Candidate> MemberSet::inspect_part(Opened& opened, const Origin& origin) const {
  const bool whole = origin.offset_bytes == 0 && origin.size_bytes == opened.device->size_bytes();
  if (whole) {
    return inspect(origin.file, identity_text(origin), *opened.uncached, *opened.device);
  }
  const std::string name = slice_name(origin.file, origin.offset_bytes, origin.size_bytes);
  TRY(metadata, SourceSlice::of(*opened.uncached, origin.offset_bytes, origin.size_bytes).in(name));
  TRY(data, SourceSlice::of(*opened.device, origin.offset_bytes, origin.size_bytes).in(name));
  opened.slices.push_back(std::make_unique<SourceSlice>(metadata));
  const Source& metadata_source = *opened.slices.back();
  opened.slices.push_back(std::make_unique<SourceSlice>(data));
  return inspect(name, identity_text(origin), metadata_source, *opened.slices.back());
}

// Members in the partitions of a whole disk or image; `origins` gets theirs.
std::vector<Candidate> MemberSet::inspect_partitions(Opened& opened, std::vector<Origin>& origins) {
  std::vector<Candidate> found;
  const FileDevice& device = *opened.device;
  const auto table = partitions(device);
  if (!table) {
    find(device.path(), Severity::warning, "partition-table", table.error().text);
    return found;
  }
  for (const Partition& partition : *table) {
    const Origin origin{device.path(), device.identity(), partition.offset_bytes, partition.size_bytes};
    auto candidate = inspect_part(opened, origin);
    if (!candidate) {
      find(slice_name(origin.file, origin.offset_bytes, origin.size_bytes), Severity::warning, "partition-unreadable",
           candidate.error().text);
    } else if (candidate->chosen() != nullptr) {
      found.push_back(std::move(*candidate));
      origins.push_back(origin);
    }
  }
  return found;
}

// Keeps what is found on the whole device and in its partitions. A file without any superblock is kept as such where it
// was named, and dropped (false) where a directory led to it.
bool MemberSet::keep_with_partitions(std::size_t index, const std::string& path, NamedBy named_by) {
  Opened& opened = opened_[index];
  const Origin whole{path, opened.device->identity(), 0, opened.device->size_bytes()};
  auto candidate = inspect_part(opened, whole);
  if (!candidate) {
    fail(path, candidate.error());
    return false;
  }
  std::vector<Origin> origins;
  std::vector<Candidate> inside =
      partitions_ == Partitions::ignored ? std::vector<Candidate>() : inspect_partitions(opened, origins);
  const bool on_whole = candidate->chosen() != nullptr;
  if (on_whole || (inside.empty() && named_by == NamedBy::argument)) {
    keep(std::move(*candidate), whole);
  }
  if (on_whole && !inside.empty()) {
    find(path, Severity::warning, "superblock-ambiguous",
         "superblocks are on the whole device and in its partitions: name the one that is meant as file@offset+size");
  }
  for (std::size_t i = 0; i < inside.size(); ++i) {
    keep(std::move(inside[i]), origins[i]);
  }
  return on_whole || !inside.empty() || named_by == NamedBy::argument;
}

void MemberSet::keep(Candidate candidate, const Origin& origin) {
  for (std::size_t i = 0; i < origins_.size(); ++i) {
    if (same_bytes(origins_[i], origin)) {
      find(candidate.path, Severity::note, "member-twice",
           "the same bytes as " + candidates_[i].path + ", which was given before: used once");
      return;
    }
  }
  find_without_superblock(candidate, origin);
  candidates_.push_back(std::move(candidate));
  origins_.push_back(origin);
  origins_.back().serial = device_serial(origin.identity);
}

void MemberSet::find_without_superblock(const Candidate& candidate, const Origin& origin) {
  if (candidate.chosen() == nullptr) {
    const std::string size = std::to_string(origin.size_bytes);
    find(candidate.path, Severity::warning, no_superblock,
         "no md superblock (" + std::string(known_metadata) + ") in its " + size +
             " bytes: is this the right device, and all of it?");
  }
}

void MemberSet::note_holder(const FileDevice& device) {
  const auto by = holder(device.identity());
  const bool known = std::any_of(findings_.begin(), findings_.end(), [&](const LocatedFinding& f) {
    return f.path == device.path() && f.finding.id == "member-in-use";
  });
  if (by && !known) {
    find(device.path(), Severity::warning, "member-in-use", *by + ": what is read here may change meanwhile");
  }
}

void MemberSet::fail(const std::string& path, Error error) {
  find(path, Severity::problem, "member-unreadable", error.text);
  if (!first_failure_) {
    first_failure_ = std::move(error);
  }
}

void MemberSet::find(const std::string& path, Severity severity, std::string id, std::string text) {
  findings_.push_back({path, {severity, std::move(id), "", std::move(text), Effect::none}});
}

void add_uuid_option(Options& app, std::string& uuid) {
  app.add_option("--uuid", uuid, "Work on the array with this UUID only").type_name("UUID");
}

Result<std::optional<Uuid>> parse_uuid_option(const std::string& text) {
  if (text.empty()) {
    return std::optional<Uuid>();
  }
  const auto uuid = Uuid::parse(text);
  if (!uuid) {
    return Error{ErrorKind::usage, "--uuid: \"" + text + "\" is not a UUID (32 hexadecimal digits)"};
  }
  return uuid;
}

std::vector<Assembly> arrays_of(const MemberSet& members, const AssembleOptions& options,
                                const std::optional<Uuid>& uuid) {
  std::vector<Assembly> arrays = assemble(members.candidates(), options);
  if (uuid) {
    std::erase_if(arrays, [&](const Assembly& a) { return a.array().set_uuid != *uuid; });
  }
  return arrays;
}

Result<Assembly> one_array(const MemberSet& members, const AssembleOptions& options, const std::optional<Uuid>& uuid) {
  if (members.first_failure()) {
    return Error(*members.first_failure()).in("a member that was named cannot be used (leave it out to go on without)");
  }
  std::vector<Assembly> arrays = arrays_of(members, options, uuid);
  if (arrays.empty()) {
    return Error{ErrorKind::refused, uuid ? "no array with UUID " + uuid->text() + " among these members"
                                          : "no md superblock (" + std::string(known_metadata) + ") on these members"};
  }
  if (arrays.size() > 1) {
    std::string text = "these members belong to " + std::to_string(arrays.size()) + " arrays: choose one with --uuid=";
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      text += (i == 0 ? "" : " or --uuid=") + arrays[i].array().set_uuid.text();
    }
    return Error{ErrorKind::refused, text};
  }
  return std::move(arrays.front());
}

LocatedFindings findings_of(const MemberSet& members, std::span<const Assembly> arrays) {
  LocatedFindings all = members.findings();
  const auto append = [&](const std::string& path, const Findings& findings) {
    for (const Finding& finding : findings) {
      all.push_back({path, finding});
    }
  };
  for (const Candidate& candidate : members.candidates()) {
    append(candidate.path, candidate.findings);
    for (const FoundSuperblock& superblock : candidate.superblocks) {
      append(candidate.path, superblock.findings);
    }
  }
  for (const Assembly& array : arrays) {
    append("", array.findings);
    append("", array.bitmap.findings);
  }
  for (LocatedFinding& f : all) {
    if (f.finding.next.empty()) {
      f.finding.next = next_step(f.finding.id);
    }
  }
  return all;
}

}  // namespace mdtool::cli
