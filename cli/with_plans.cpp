// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/with_plans.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "libraid/io/file.h"

namespace mdtool::cli {

namespace {

// Reads what may be a pipe, too; one byte more than the largest that is taken shows that there is more.
Result<std::string> contents_of(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr) {
    return io_error(path, errno);
  }
  std::string text(largest_plan_bytes + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  const bool failed = std::ferror(file) != 0;
  const int failure = errno;
  std::fclose(file);
  if (failed) {
    return io_error(path, failure);
  }
  return text;
}

std::string real_path(const std::string& path) {
  std::error_code error;
  const auto real = std::filesystem::canonical(path, error);
  return error ? path : real.string();
}

bool same_place(const PlanMember& a, const PlanMember& b) {
  return a.file == b.file && a.offset_bytes == b.offset_bytes && a.size_bytes == b.size_bytes;
}

Result<const Candidate*> meant_by(const PlanMember& wanted, const MemberSet& members) {
  for (const Candidate& candidate : members.candidates()) {
    if (same_place(plan_member(members, candidate), wanted)) {
      return &candidate;
    }
  }
  const std::string part = wanted.offset_bytes == 0 ? "" : " at byte " + std::to_string(wanted.offset_bytes);
  return Error{ErrorKind::refused, "it is for " + wanted.file + part + " (" + std::to_string(wanted.size_bytes) +
                                       " bytes), which is not among the members given"};
}

Status try_one(MemberSet& members, const std::string& path) {
  TRY(text, contents_of(path));
  TRY(file, parse_plan(text));
  for (const PlanMember& member : file.members) {
    TRY(candidate, meant_by(member, members));
    file.edit.members.push_back(candidate);
  }
  for (std::size_t i = 0; i < file.edit.members.size(); ++i) {
    const Candidate& candidate = *file.edit.members[i];
    TRY(same, still_as_planned(file.edit, i, *candidate.metadata).in(candidate.path));
  }
  return members.try_in_memory(file.edit, path);
}

}  // namespace

void add_with_option(Options& app, std::vector<std::string>& plans) {
  app.add_option("--with", plans, "Try this plan in memory: what \"--dry-run --json\" printed (repeatable)")
      .type_name("PLAN");
}

PlanMember plan_member(const MemberSet& members, const Candidate& candidate) {
  const Origin& origin = members.origin(candidate);
  const FoundSuperblock* found = candidate.chosen();
  std::optional<std::string> device_uuid;
  if (found != nullptr && found->description.device_uuid) {
    device_uuid = found->description.device_uuid->text();
  }
  const FileIdentity& identity = origin.identity;
  return {candidate.path,
          real_path(origin.file),
          origin.offset_bytes,
          origin.size_bytes,
          identity.block_device ? identity.rdev : identity.device,
          identity.inode,
          origin.serial,
          std::move(device_uuid)};
}

Status try_with(MemberSet& members, std::span<const std::string> plans) {
  for (const std::string& plan : plans) {
    TRY(tried, try_one(members, plan).in("--with " + plan));
  }
  return Done{};
}

}  // namespace mdtool::cli
