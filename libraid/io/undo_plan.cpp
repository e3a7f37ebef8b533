// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <array>
#include <bitset>
#include <cstdio>
#include <ctime>
#include <map>
#include <optional>
#include <span>

#include "libmeta/sectors.h"
#include "libraid/io/undo_file.h"

namespace mdtool {
namespace {

constexpr std::uint64_t sector_bytes = Sectors::bytes_each;
using Bytes = std::array<std::byte, sector_bytes>;
using Touched = std::bitset<sector_bytes>;

bool equal(const Touched& touched, const Bytes& a, const Bytes& b) {
  for (std::size_t i = 0; i < sector_bytes; ++i) {
    if (touched[i] && a[i] != b[i]) {
      return false;
    }
  }
  return true;
}

// What a sector held, and since which record of the file (counted from 1; 0: before all of them).
struct Version {
  std::size_t since = 0;
  Bytes bytes{};
};

// Everything that the file knows of one sector. Only bytes in `touched` count.
struct Sector {
  Touched touched;
  std::vector<Version> versions = {Version{}};  // oldest first
  Bytes current{};
  std::size_t at = 0;  // the version that is taken to be there

  bool matches(std::size_t version) const { return equal(touched, versions[version].bytes, current); }
  // The first version from `first` to `last` that is what is there.
  std::optional<std::size_t> find(std::size_t first, std::size_t last) const {
    while (first <= last && !matches(first)) {
      ++first;
    }
    return first <= last ? std::optional(first) : std::nullopt;
  }
  // The last version that was there when record `record` had been written.
  std::size_t version_after(std::size_t record) const {
    std::size_t version = at;
    while (version + 1 < versions.size() && versions[version + 1].since <= record) {
      ++version;
    }
    return version;
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
          sector.versions.front().bytes[inside + i] = record.before[from + i];
        }
      }
    });
  }
  for (std::size_t r = 0; r < contents.records.size(); ++r) {
    const UndoRecord& record = contents.records[r];
    for_each_sector(record, [&](Place place, std::size_t inside, std::size_t from, std::size_t count) {
      Sector& sector = sectors[place];
      Version next{r + 1, sector.versions.back().bytes};
      std::copy_n(record.after.begin() + static_cast<std::ptrdiff_t>(from), count,
                  next.bytes.begin() + static_cast<std::ptrdiff_t>(inside));
      sector.versions.push_back(next);
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

Status read_current(const UndoContents& contents, std::span<const Source* const> members, SectorMap& sectors) {
  for (auto& [place, sector] : sectors) {
    const auto [member, number] = place;
    const std::uint64_t at = number * sector_bytes;
    // A member need not end at a full sector.
    const std::uint64_t length = std::min(sector_bytes, members[member]->size_bytes() - at);
    TRY(done, members[member]->read(at, std::span(sector.current).first(static_cast<std::size_t>(length))));
    if (!sector.find(0, sector.versions.size() - 1)) {
      return refused(contents.members[member],
                     "the sector at byte " + std::to_string(at) + " was changed since by something else");
    }
  }
  return Done{};
}

// The records of one stage, counted from 0.
struct Stage {
  std::size_t first = 0;
  std::size_t end = 0;
};

std::vector<Stage> stages_of(const UndoContents& contents) {
  std::vector<Stage> stages;
  for (std::size_t i = 0; i < contents.records.size(); ++i) {
    if (i == 0 || contents.records[i].stage != contents.records[i - 1].stage) {
      stages.push_back({i, i});
    }
    stages.back().end = i + 1;
  }
  return stages;
}

// Finds out how far the run had come, so that the way back starts there.
class Locator {
 public:
  Locator(const UndoContents& contents, SectorMap& sectors) : contents_(contents), sectors_(sectors) {}

  void locate() {
    for (auto& [place, sector] : sectors_) {
      sector.at = 0;
      wrong_ += sector.matches(0) ? 0 : 1;
    }
    if (wrong_ == 0) {
      return;
    }
    for (const Stage& stage : stages_of(contents_)) {
      const std::vector<Sector*> touched = sectors_of(stage);
      if (is_within(touched, stage)) {
        for (Sector* sector : touched) {
          sector->at = *sector->find(sector->at, sector->version_after(stage.end));
        }
        return;
      }
      for (Sector* sector : touched) {
        wrong_ -= sector->matches(sector->at) ? 0 : 1;
        sector->at = sector->version_after(stage.end);
        wrong_ += sector->matches(sector->at) ? 0 : 1;
      }
    }
    take_each_alone();
  }

 private:
  std::vector<Sector*> sectors_of(const Stage& stage) {
    std::vector<Sector*> touched;
    for (std::size_t i = stage.first; i < stage.end; ++i) {
      for_each_sector(contents_.records[i],
                      [&](Place place, std::size_t, std::size_t, std::size_t) { touched.push_back(&sectors_[place]); });
    }
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
    return touched;
  }

  // Everything else is as it was before this stage, and each sector of it is as before, after or between.
  bool is_within(const std::vector<Sector*>& touched, const Stage& stage) const {
    std::size_t wrong_inside = 0;
    for (const Sector* sector : touched) {
      wrong_inside += sector->matches(sector->at) ? 0 : 1;
      if (!sector->find(sector->at, sector->version_after(stage.end))) {
        return false;
      }
    }
    return wrong_inside == wrong_;
  }

  // No moment of the run left this: a member is older than the others, say.
  void take_each_alone() {
    for (auto& [place, sector] : sectors_) {
      sector.at = *sector.find(0, sector.versions.size() - 1);
    }
  }

  const UndoContents& contents_;
  SectorMap& sectors_;
  std::size_t wrong_ = 0;  // sectors that are not as they should be at this stage
};

using Difference = std::span<const std::byte>;

void add(std::vector<UndoRecord>& list, const UndoRecord& head, Difference before, Difference after) {
  const bool continues = !list.empty() && list.back().member == head.member && list.back().stage == head.stage &&
                         list.back().offset_bytes + list.back().before.size() == head.offset_bytes;
  if (!continues) {
    list.push_back(head);
  }
  list.back().before.insert(list.back().before.end(), before.begin(), before.end());
  list.back().after.insert(list.back().after.end(), after.begin(), after.end());
}

// What it takes to unwrite record `number` (counted from 1) where it is there.
void take_back(const UndoRecord& record, std::size_t number, std::uint32_t stage, SectorMap& sectors,
               std::vector<UndoRecord>& plan) {
  for_each_sector(record, [&](Place place, std::size_t inside, std::size_t from, std::size_t count) {
    Sector& sector = sectors[place];
    if (sector.versions[sector.at].since != number) {
      return;
    }
    const Difference now = std::span(sector.versions[sector.at].bytes).subspan(inside, count);
    const Difference then = std::span(sector.versions[--sector.at].bytes).subspan(inside, count);
    if (!std::equal(now.begin(), now.end(), then.begin())) {
      add(plan, {record.member, record.offset_bytes + from, {}, {}, stage}, now, then);
    }
  });
}

}  // namespace

UndoContents only_member(const UndoContents& contents, std::uint32_t member) {
  UndoContents one{contents.command_line, {contents.members[member]}, {}, contents.tail_dropped};
  for (const UndoRecord& record : contents.records) {
    if (record.member == member) {
      one.records.push_back(record);
      one.records.back().member = 0;
    }
  }
  return one;
}

UndoContents touched_members(const UndoContents& contents) {
  UndoContents touched{contents.command_line, {}, contents.records, contents.tail_dropped};
  std::map<std::uint32_t, std::uint32_t> numbers;
  for (const UndoRecord& record : contents.records) {
    numbers.emplace(record.member, 0);
  }
  for (auto& [old, number] : numbers) {
    number = static_cast<std::uint32_t>(touched.members.size());
    touched.members.push_back(contents.members[old]);
  }
  for (UndoRecord& record : touched.records) {
    record.member = numbers[record.member];
  }
  return touched;
}

Result<std::vector<UndoRecord>> undo_plan(const UndoContents& contents, std::span<const Source* const> members) {
  TRY(checked, check_members(contents, members));
  SectorMap sectors = known_sectors(contents);
  TRY(known, read_current(contents, members, sectors));
  Locator(contents, sectors).locate();
  std::vector<UndoRecord> plan;
  const std::vector<Stage> stages = stages_of(contents);
  std::uint32_t number = 0;
  for (auto stage = stages.rbegin(); stage != stages.rend(); ++stage) {
    ++number;
    for (std::size_t i = stage->end; i > stage->first; --i) {
      take_back(contents.records[i - 1], i, number, sectors, plan);
    }
  }
  return plan;
}

std::vector<UndoRecord> net_changes(std::span<const UndoRecord> records) {
  const SectorMap sectors = known_sectors({{}, {}, {records.begin(), records.end()}, false});
  std::vector<UndoRecord> net;
  for (const auto& [place, sector] : sectors) {
    const Bytes& before = sector.versions.front().bytes;
    const Bytes& after = sector.versions.back().bytes;
    if (equal(sector.touched, before, after)) {
      continue;
    }
    for (std::size_t i = 0; i < sector_bytes; ++i) {
      if (sector.touched[i]) {
        add(net, {place.first, place.second * sector_bytes + i, {}, {}}, std::span(before).subspan(i, 1),
            std::span(after).subspan(i, 1));
      }
    }
  }
  return net;
}

Result<std::string> default_undo_path(const UndoPlace& place) {
  std::string folder;
  // The XDG base directory specification: a relative path is to be ignored.
  if (place.xdg_state_home && place.xdg_state_home->starts_with('/')) {
    folder = *place.xdg_state_home;
  } else if (place.home && place.home->starts_with('/')) {
    folder = *place.home + "/.local/state";
  } else {
    return Error{ErrorKind::usage,
                 "no place for an undo file: neither XDG_STATE_HOME nor HOME is set: give --undo FILE, or --undo none"};
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
