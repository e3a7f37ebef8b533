// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/updates.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "libmeta/bitmap/header.h"
#include "libmeta/convert.h"
#include "libmeta/field_list.h"
#include "libmeta/md0/superblock.h"
#include "libmeta/md1/superblock.h"
#include "libraid/edit/sha1.h"

namespace mdtool {

namespace {

constexpr std::size_t name_room = 32;  // set_name, which mdadm ends with a NUL

using Edited = Result<std::unique_ptr<Metadata>>;

struct Setting {
  std::string_view name;
  std::string value;
};

Error not_for(const Metadata& metadata, std::string_view what) {
  return {ErrorKind::usage,
          std::string(what) + " is nothing for " + std::string(metadata.format().name()) + " metadata"};
}

bool is_0_90(const Metadata& metadata) {
  return metadata.describe().metadata == "0.90";
}

// At least one setting.
Edited with_fields(const Metadata& before, const std::vector<Setting>& settings) {
  Edited now = before.with_field(settings.front().name, settings.front().value);
  for (std::size_t i = 1; now && i < settings.size(); ++i) {
    now = (*now)->with_field(settings[i].name, settings[i].value);
  }
  return now;
}

// 0 for a name that there is not.
std::uint64_t number_in(const Fields& fields, std::string_view name) {
  const auto at = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == name; });
  const auto* value = at == fields.end() ? nullptr : std::get_if<std::uint64_t>(&at->value);
  return value == nullptr ? 0 : *value;
}

std::uint32_t bits_in(const Metadata& metadata, std::string_view name) {
  return static_cast<std::uint32_t>(number_in(metadata.fields(), name));
}

Setting without_bits(const Metadata& metadata, std::string_view name, std::uint32_t bits) {
  return {name, hexadecimal(bits_in(metadata, name) & ~bits)};
}

std::string_view host_in(std::string_view set_name) {
  const std::size_t colon = set_name.find(':');
  return colon == std::string_view::npos ? std::string_view() : set_name.substr(0, colon);
}

std::string_view name_in(std::string_view set_name) {
  const std::size_t colon = set_name.find(':');
  return colon == std::string_view::npos ? set_name : set_name.substr(colon + 1);
}

Status check_printable(const std::string& value) {
  const bool control = std::any_of(value.begin(), value.end(),
                                   [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; });
  return control ? Status(Error{ErrorKind::usage, "a name holds no control bytes"}) : Status(Done{});
}

Edited update_name(const Metadata& before, const Candidate&, const std::string& value) {
  if (is_0_90(before)) {
    return not_for(before, "a name");
  }
  TRY(printable, check_printable(value));
  if (value.empty() || value.size() >= name_room) {
    return Error{ErrorKind::usage, "a name has 1 to " + std::to_string(name_room - 1) + " bytes"};
  }
  return before.with_field("set_name", name_with_host(host_in(before.describe().set_name), value));
}

// 0.90 keeps the first 8 bytes of a hash of it in the last half of the UUID, as they lie in memory.
Edited hashed_homehost(const Metadata& before, const std::string& value) {
  const std::array<unsigned char, 20> hash = sha1(value);
  const bool big = &before.format() == &md0::big_endian();
  const auto word = [&](std::size_t at) {
    std::uint32_t number = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      number |= std::uint32_t{hash[at + i]} << (big ? 24 - 8 * i : 8 * i);
    }
    return hexadecimal(number);
  };
  return with_fields(before, {{"set_uuid2", word(0)}, {"set_uuid3", word(4)}});
}

Edited update_homehost(const Metadata& before, const Candidate&, const std::string& value) {
  TRY(printable, check_printable(value));
  if (value.find(':') != std::string::npos) {
    return Error{ErrorKind::usage, "a host's name holds no colon"};
  }
  if (is_0_90(before)) {
    return value.empty() ? Edited(not_for(before, "an empty homehost")) : hashed_homehost(before, value);
  }
  const std::string set_name = before.describe().set_name;
  return before.with_field("set_name", name_with_host(value, name_in(set_name)));
}

Edited update_uuid(const Metadata& before, const Candidate&, const std::string& value) {
  const std::optional<Uuid> uuid = Uuid::parse(value);
  if (!uuid) {
    return Error{ErrorKind::usage, "\"" + value + "\" is no UUID: 32 hexadecimal digits"};
  }
  return before.with_field("set_uuid", uuid->text());
}

Edited update_resync(const Metadata& before, const Candidate&, const std::string&) {
  if (before.describe().level <= 0) {
    return Error{ErrorKind::usage, "a level without redundancy has nothing to resynchronise"};
  }
  if (is_0_90(before)) {
    return with_fields(before, {without_bits(before, "state", md0::sb_clean), {"recovery_cp", "0"}});
  }
  return before.with_field("resync_offset", "0");
}

Edited update_devicesize(const Metadata& before, const Candidate& member, const std::string&) {
  return with_whole_member(before, member.metadata->size_bytes());
}

Edited update_no_bitmap(const Metadata& before, const Candidate&, const std::string&) {
  return without_bitmap(before);
}

// How long the member's bitmap is, by its own header.
Result<std::uint64_t> bitmap_sectors(const Candidate& member, const MemberDescription& d) {
  if (!d.bitmap_offset_bytes) {
    return std::uint64_t{0};
  }
  TRY(header, bitmap::read_header(*member.metadata, *d.bitmap_offset_bytes));
  bitmap::Expected expected;
  expected.sync_size = Sectors(header.sync_size);
  expected.room_bytes = d.bitmap_room_bytes;
  TRY(geometry, bitmap::geometry_of(header, expected));
  const std::uint64_t used = bitmap::kind_of(header) == bitmap::Kind::lockless
                                 ? bitmap::lockless_states_offset + geometry.chunks
                                 : bitmap::header_bytes + (geometry.chunks + 7) / 8;
  return (used + Sectors::bytes_each - 1) / Sectors::bytes_each;
}

Edited update_bbl(const Metadata& before, const Candidate& member, const std::string&) {
  TRY(sectors, bitmap_sectors(member, before.describe()));
  return with_bad_block_log(before, sectors);
}

Edited update_no_bbl(const Metadata& before, const Candidate&, const std::string&) {
  auto without = without_bad_block_log(before, ListedBlocks::refuse);
  if (!without && without.error().kind == ErrorKind::refused) {
    without.error().text += ": empty it with --bad-blocks=clear, or drop both with --update=force-no-bbl";
  }
  return without;
}

Edited update_force_no_bbl(const Metadata& before, const Candidate&, const std::string&) {
  return without_bad_block_log(before, ListedBlocks::forget);
}

Edited update_no_ppl(const Metadata& before, const Candidate&, const std::string&) {
  return without_ppl(before);
}

// mdadm turns them to the order of the machine that it runs on: in our case one that has a name, so that the same
// update twice is the same as once.
Edited update_byteorder(const Metadata& before, const Candidate& member, const std::string& value) {
  if (value != "little" && value != "big") {
    return Error{ErrorKind::usage, "\"" + value + "\" is no byte order: little or big"};
  }
  const Format& wanted = value == "big" ? md0::big_endian() : md0::little_endian();
  return &before.format() == &wanted ? before.changed({}) : in_other_byte_order(before, member.metadata->size_bytes());
}

// Made of what the member has, not at random: the same update twice is the same as once.
Uuid device_uuid_of(const MemberDescription& d) {
  std::string text(d.set_uuid.bytes.begin(), d.set_uuid.bytes.end());
  text += std::to_string(d.dev_number);
  const std::array<unsigned char, 20> hash = sha1(text);
  Uuid uuid;
  std::copy_n(hash.begin(), uuid.bytes.size(), uuid.bytes.begin());
  return uuid;
}

Edited update_metadata(const Metadata& before, const Candidate& member, const std::string&) {
  if (!is_0_90(before)) {
    return before.changed({});
  }
  return to_version_1_0(before, member.metadata->size_bytes(), device_uuid_of(before.describe()));
}

Edited update_super_minor(const Metadata& before, const Candidate&, const std::string& value) {
  return is_0_90(before) ? before.with_field("md_minor", value) : Edited(not_for(before, "super-minor"));
}

// From the descriptors, as mdadm counts them: a missing slot has not failed.
Edited update_summaries(const Metadata& before, const Candidate&, const std::string&) {
  if (!is_0_90(before)) {
    return not_for(before, "summaries");
  }
  const Fields fields = before.fields();
  std::array<std::uint64_t, 5> counts{};
  auto& [present, active, working, failed, spare] = counts;
  std::vector<Setting> settings;
  std::vector<std::string> emptied;
  for (std::size_t i = 0; i < md0::max_disks; ++i) {
    const std::string disk = "disks[" + std::to_string(i) + "]";
    const std::uint64_t state = number_in(fields, disk + ".state");
    if (number_in(fields, disk + ".major") == 0 && number_in(fields, disk + ".minor") == 0) {
      if (i >= number_in(fields, "raid_disks") && number_in(fields, disk + ".number") == 0) {
        emptied.push_back(disk + ".state");
      }
    } else if ((state & md0::disk_removed) == 0) {
      const bool faulty = (state & md0::disk_faulty) != 0;
      present += 1;
      active += (state & md0::disk_active) != 0 ? 1 : 0;
      failed += faulty ? 1 : 0;
      working += faulty ? 0 : 1;
      spare += state == 0 ? 1 : 0;
    }
  }
  for (const std::string& name : emptied) {
    settings.push_back({name, "0"});
  }
  constexpr std::array<std::string_view, 5> names{"nr_disks", "active_disks", "working_disks", "failed_disks",
                                                  "spare_disks"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    settings.push_back({names[i], std::to_string(counts[i])});
  }
  return with_fields(before, settings);
}

Edited raid0_layout(const Metadata& before, std::uint32_t layout) {
  if (is_0_90(before)) {
    return not_for(before, "a RAID-0 layout");
  }
  if (before.describe().level != 0) {
    return Error{ErrorKind::usage, "the level is not 0"};
  }
  const std::uint32_t others = bits_in(before, "feature_map") & ~md1::feature_raid0_layout;
  return with_fields(before, {{"feature_map", hexadecimal(others | (layout == 0 ? 0 : md1::feature_raid0_layout))},
                              {"layout", std::to_string(layout)}});
}

// RAID0_ORIG_LAYOUT and RAID0_ALT_MULTIZONE_LAYOUT of the kernel.
Edited update_layout_original(const Metadata& before, const Candidate&, const std::string&) {
  return raid0_layout(before, 1);
}
Edited update_layout_alternate(const Metadata& before, const Candidate&, const std::string&) {
  return raid0_layout(before, 2);
}
Edited update_layout_unspecified(const Metadata& before, const Candidate&, const std::string&) {
  return raid0_layout(before, 0);
}

struct Row {
  std::string_view name;
  std::string_view value;  // what it takes, empty: nothing
  Edited (*make)(const Metadata&, const Candidate&, const std::string&);
  std::string_view text;
};

constexpr std::array rows{
    Row{"name", "the name", update_name, "the array's name becomes"},
    Row{"homehost", "the host's name", update_homehost, "the array belongs to host"},
    Row{"uuid", "the UUID", update_uuid, "the array's UUID, also in its bitmap, becomes"},
    Row{"resync", "", update_resync, "the array is marked as not in sync"},
    Row{"devicesize", "", update_devicesize, "data_size becomes what the member has room for"},
    Row{"no-bitmap", "", update_no_bitmap, "the array has no bitmap any more; its bytes stay"},
    Row{"bbl", "", update_bbl, "the members get room for a bad-block log"},
    Row{"no-bbl", "", update_no_bbl, "the members have no bad-block log any more"},
    Row{"force-no-bbl", "", update_force_no_bbl, "the members have no bad-block log any more, whatever it lists"},
    Row{"no-ppl", "", update_no_ppl, "the array has no PPL any more"},
    Row{"super-minor", "the number", update_super_minor, "the preferred minor number becomes"},
    Row{"byteorder", "little or big", update_byteorder, "the 0.90 superblocks are written in the byte order"},
    Row{"metadata", "", update_metadata, "the members get 1.0 superblocks in addition to those of 0.90"},
    Row{"summaries", "", update_summaries, "the counts of disks are made anew from the descriptors"},
    Row{"layout-original", "", update_layout_original, "the RAID-0 layout is the one of kernels before 3.14"},
    Row{"layout-alternate", "", update_layout_alternate, "the RAID-0 layout is the one of kernels since 3.14"},
    Row{"layout-unspecified", "", update_layout_unspecified, "the RAID-0 layout is not recorded"},
};

constexpr auto names = [] {
  std::array<std::string_view, rows.size()> list;
  std::transform(rows.begin(), rows.end(), list.begin(), [](const Row& row) { return row.name; });
  return list;
}();

const Row* row_of(std::string_view name) {
  const auto* row = std::find_if(rows.begin(), rows.end(), [&](const Row& r) { return r.name == name; });
  return row == rows.end() ? nullptr : row;
}

}  // namespace

std::span<const std::string_view> update_names() {
  return names;
}

Edited updated(const Metadata& before, const Candidate& member, const NamedUpdate& update) {
  const Row* row = row_of(update.name);
  if (row == nullptr) {
    return Error{ErrorKind::usage, "no update is called \"" + update.name + "\""};
  }
  if (row->value.empty() != update.value.empty() && update.name != "homehost") {
    return Error{ErrorKind::usage,
                 "--update=" + update.name +
                     (row->value.empty() ? " takes no value" : " wants a value, " + std::string(row->value))};
  }
  return row->make(before, member, update.value).in("--update=" + update.name);
}

std::string update_text(const NamedUpdate& update) {
  const Row* row = row_of(update.name);
  return row == nullptr ? update.name
                        : std::string(row->text) + (update.value.empty() ? "" : " \"" + update.value + "\"");
}

bool changes_identity(const NamedUpdate& update) {
  return update.name == "uuid" || update.name == "homehost" || update.name == "metadata";
}

std::string name_with_host(std::string_view host, std::string_view name) {
  const bool both =
      !host.empty() && name.find(':') == std::string_view::npos && host.size() + 1 + name.size() < name_room;
  return both ? std::string(host) + ":" + std::string(name) : std::string(name.substr(0, name_room - 1));
}

}  // namespace mdtool
