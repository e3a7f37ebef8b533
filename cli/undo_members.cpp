// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/undo_members.h"

#include <algorithm>

#include "libraid/io/device_serial.h"

namespace mdtool::cli {

namespace {

// What is there is one of the versions that the file knows.
Status holds_known_bytes(const UndoContents& one, const Source& source) {
  TRY(plan, undo_plan(one, std::span<const Source* const>(std::vector<const Source*>{&source})));
  return Done{};
}

std::optional<std::string> recorded_serial(const UndoMember& member) {
  const auto identity = UndoIdentity::parse(member.identity);
  return identity ? identity->serial : std::nullopt;
}

}  // namespace

Result<UndoMembers> UndoMembers::find(const UndoContents& contents, std::span<const std::string> places) {
  UndoMembers found;
  found.places_ = std::make_unique<MemberSet>(MemberSet::open(places));
  if (const auto& failure = found.places_->first_failure()) {
    return *failure;
  }
  for (std::uint32_t i = 0; i < contents.members.size(); ++i) {
    const UndoContents one = only_member(contents, i);
    auto member = at_recorded_place(one.members.front());
    if (member) {
      const Status known = holds_known_bytes(one, *member->source);
      member = known ? std::move(member) : Result<Found>(known.error());
    }
    if (!member) {
      member = found.among_places(one, member.error());
    }
    if (!member) {
      return std::move(member).error();
    }
    if (found.is_taken(member->origin)) {
      return Error{ErrorKind::refused, member->path + ": two members of the undo file are at this place"};
    }
    found.members_.push_back(std::move(*member));
  }
  return found;
}

std::vector<const Source*> UndoMembers::sources() const {
  std::vector<const Source*> all;
  for (const Found& member : members_) {
    all.push_back(member.source);
  }
  return all;
}

Result<UndoMembers::Found> UndoMembers::at_recorded_place(const UndoMember& member) {
  const auto recorded = UndoIdentity::parse(member.identity);
  if (!recorded) {
    return Error{ErrorKind::format, member.path + ": the undo file does not say where on it the member starts"};
  }
  Found found;
  found.path = member.path;
  TRY(device, FileDevice::open(member.path, Access::read_only));
  found.device = std::move(device);
  found.origin = {member.path, found.device->identity(), recorded->offset_bytes, member.size_bytes,
                  device_serial(found.device->identity())};
  if (recorded->serial && found.origin.serial && recorded->serial != found.origin.serial) {
    return Error{ErrorKind::refused, member.path + ": is another disk, of serial number " + *found.origin.serial +
                                         " instead of " + *recorded->serial};
  }
  found.uncached = std::make_unique<UncachedSource>(*found.device);
  TRY(slice, SourceSlice::of(*found.uncached, recorded->offset_bytes, member.size_bytes).in(member.path));
  found.slice = std::make_unique<SourceSlice>(slice);
  found.source = found.slice.get();
  return found;
}

Result<UndoMembers::Found> UndoMembers::among_places(const UndoContents& one, const Error& why_not) const {
  const UndoMember& member = one.members.front();
  const auto serial = recorded_serial(member);
  std::vector<const Candidate*> fitting;
  for (const Candidate& candidate : places_->candidates()) {
    if (!is_taken(places_->origin(candidate)) && holds_known_bytes(one, *candidate.metadata)) {
      fitting.push_back(&candidate);
    }
  }
  const auto on_its_disk = [&](const Candidate* c) { return serial && places_->origin(*c).serial == serial; };
  if (std::count_if(fitting.begin(), fitting.end(), on_its_disk) == 1) {
    fitting = {*std::find_if(fitting.begin(), fitting.end(), on_its_disk)};
  }
  if (fitting.empty()) {
    return Error{ErrorKind::refused,
                 why_not.text + "; " +
                     (places_->candidates().empty() ? "where it is now can be said with --member PATH"
                                                    : "none of the places given with --member has it either")};
  }
  if (fitting.size() > 1) {
    return Error{ErrorKind::refused, member.path + ": could be " + fitting[0]->path + " or " + fitting[1]->path +
                                         ": give only the right one with --member"};
  }
  Found found;
  found.path = fitting.front()->path;
  found.origin = places_->origin(*fitting.front());
  found.source = fitting.front()->metadata;
  return found;
}

bool UndoMembers::is_taken(const Origin& origin) const {
  return std::any_of(members_.begin(), members_.end(), [&](const Found& member) {
    return member.origin.identity == origin.identity && member.origin.offset_bytes == origin.offset_bytes;
  });
}

}  // namespace mdtool::cli
