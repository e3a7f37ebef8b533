// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <array>
#include <bitset>
#include <cstdio>
#include <ctime>
#include <map>

#include "libmeta/sectors.h"
#include "libraid/io/undo_file.h"

namespace mdtool {
namespace {

constexpr std::uint64_t sector_bytes = Sectors::bytes_each;
using Bytes = std::array<std::byte, sector_bytes>;

// Everything that the file knows of one sector. Only bytes in `touched` count.
struct Sector {
  std::bitset<sector_bytes> touched;
  Bytes original{};
  std::vector<Bytes> later;  // after each record, oldest first

  bool is_version(const Bytes& current) const {
    return matches(original, current) ||
           std::any_of(later.begin(), later.end(), [&](const Bytes& version) { return matches(version, current); });
  }
  bool matches(const Bytes& version, const Bytes& current) const {
    for (std::size_t i = 0; i < sector_bytes; ++i) {
      if (touched[i] && version[i] != current[i]) {
        return false;
      }
    }
    return true;
  }
};

using Place = std::pair<std::uint32_t, std::uint64_t>;  // member, number of the sector
using SectorMap = std::map<Place, Sector>;

// Calls visit(place, first byte in the sector, first byte in the record, count) for each sector of a record.
template <typename Visit>
void for_each_sector(const UndoRecord& record, Visit visit) {
  std::size_t done = 0;
  while (done < record.before.size()) {
    const std::uint64_t at = record.offset_bytes + done;
    const auto inside = static_cast<std::size_t>(at % sector_bytes);
    const std::size_t count = std::min<std::size_t>(sector_bytes - inside, record.before.size() - done);
    visit(Place{record.member, at / sector_bytes}, inside, done, count);
    done += count;
  }
}

SectorMap known_sectors(const UndoContents& contents) {
  SectorMap sectors;
  // What a later record touches first was like that from the start: so all originals come before any version.
  for (const UndoRecord& record : contents.records) {
    for_each_sector(record, [&](Place place, std::size_t inside, std::size_t from, std::size_t count) {
      Sector& sector = sectors[place];
      for (std::size_t i = 0; i < count; ++i) {
        if (!sector.touched[inside + i]) {
          sector.touched.set(inside + i);
          sector.original[inside + i] = record.before[from + i];
        }
      }
    });
  }
  for (const UndoRecord& record : contents.records) {
    for_each_sector(record, [&](Place place, std::size_t inside, std::size_t from, std::size_t count) {
      Sector& sector = sectors[place];
      sector.later.push_back(sector.later.empty() ? sector.original : sector.later.back());
      std::copy_n(record.after.begin() + static_cast<std::ptrdiff_t>(from), count,
                  sector.later.back().begin() + static_cast<std::ptrdiff_t>(inside));
    });
  }
  return sectors;
}

Error refused(const UndoMember& member, const std::string& why) {
  return {ErrorKind::refused, member.path + ": " + why};
}

Status check_members(const UndoContents& contents, std::span<const Source* const> members) {
  if (members.size() != contents.members.size()) {
    return Error{ErrorKind::usage, "the undo file has " + std::to_string(contents.members.size()) + " members"};
  }
  for (std::size_t i = 0; i < members.size(); ++i) {
    const UndoMember& member = contents.members[i];
    if (members[i]->size_bytes() != member.size_bytes) {
      return refused(member, "has " + std::to_string(members[i]->size_bytes()) + " bytes, had " +
                                 std::to_string(member.size_bytes) + " when the undo file was made");
    }
  }
  return Done{};
}

void add_byte(std::vector<UndoRecord>& plan, std::uint32_t member, std::uint64_t at, std::byte before,
              std::byte after) {
  const bool continues =
      !plan.empty() && plan.back().member == member && plan.back().offset_bytes + plan.back().before.size() == at;
  if (!continues) {
    plan.push_back({member, at, {}, {}});
  }
  plan.back().before.push_back(before);
  plan.back().after.push_back(after);
}

}  // namespace

Result<std::vector<UndoRecord>> undo_plan(const UndoContents& contents, std::span<const Source* const> members) {
  TRY(checked, check_members(contents, members));
  std::vector<UndoRecord> plan;
  for (const auto& [place, sector] : known_sectors(contents)) {
    const auto [member, number] = place;
    const std::uint64_t at = number * sector_bytes;
    // A member need not end at a full sector.
    const std::uint64_t length = std::min(sector_bytes, members[member]->size_bytes() - at);
    Bytes current{};
    TRY(done, members[member]->read(at, std::span(current).first(static_cast<std::size_t>(length))));
    if (!sector.is_version(current)) {
      return refused(contents.members[member],
                     "the sector at byte " + std::to_string(at) + " was changed since by something else");
    }
    if (sector.matches(sector.original, current)) {
      continue;
    }
    for (std::size_t i = 0; i < sector_bytes; ++i) {
      if (sector.touched[i]) {
        add_byte(plan, member, at + i, current[i], sector.original[i]);
      }
    }
  }
  return plan;
}

Result<std::string> default_undo_path(const UndoPlace& place) {
  std::string folder;
  // The XDG base directory specification: a relative path is to be ignored.
  if (place.xdg_state_home && place.xdg_state_home->starts_with('/')) {
    folder = *place.xdg_state_home;
  } else if (place.home && place.home->starts_with('/')) {
    folder = *place.home + "/.local/state";
  } else {
    return Error{ErrorKind::usage, "no place for an undo file: neither XDG_STATE_HOME nor HOME is set"};
  }
  const auto seconds = static_cast<std::time_t>(place.now_seconds);
  std::tm utc{};
  std::array<char, sizeof "20260131T235959Z"> stamp{};
  if (::gmtime_r(&seconds, &utc) == nullptr || std::strftime(stamp.data(), stamp.size(), "%Y%m%dT%H%M%SZ", &utc) == 0) {
    return Error{ErrorKind::usage, "the time " + std::to_string(place.now_seconds) + " has no date"};
  }
  return folder + "/mdtool/undo/" + stamp.data() + "-" + std::to_string(place.process) + ".undo";
}

}  // namespace mdtool
