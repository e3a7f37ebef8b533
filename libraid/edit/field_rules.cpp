// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/field_rules.h"

#include <algorithm>
#include <array>

namespace mdtool {

namespace {

struct Rule {
  std::string_view name;  // of the field, or what it begins with up to "[" or "."
  FieldScope scope;
};

constexpr std::array rules{
    Rule{"magic", FieldScope::kept},
    Rule{"md_magic", FieldScope::kept},
    Rule{"major_version", FieldScope::kept},
    Rule{"minor_version", FieldScope::kept},
    Rule{"patch_version", FieldScope::kept},
    Rule{"gvalid_words", FieldScope::kept},
    Rule{"not_persistent", FieldScope::kept},
    Rule{"pad0", FieldScope::kept},
    Rule{"pad3", FieldScope::kept},
    Rule{"sb_csum", FieldScope::kept},
    Rule{"max_dev", FieldScope::kept},
    Rule{"gstate_creserved", FieldScope::kept},
    Rule{"gstate_sreserved", FieldScope::kept},
    Rule{"pstate_creserved", FieldScope::kept},
    Rule{"dev_number", FieldScope::identity},
    Rule{"device_uuid", FieldScope::identity},
    Rule{"this_disk", FieldScope::identity},
    Rule{"recovery_offset", FieldScope::member},
    Rule{"journal_tail", FieldScope::member},
    Rule{"cnt_corrected_read", FieldScope::member},
    Rule{"devflags", FieldScope::member},
    Rule{"new_offset", FieldScope::member},
    Rule{"data_offset", FieldScope::place},
    Rule{"data_size", FieldScope::place},
    Rule{"super_offset", FieldScope::place},
    Rule{"bitmap_offset", FieldScope::place},
    Rule{"ppl", FieldScope::place},
    Rule{"bblog_shift", FieldScope::place},
    Rule{"bblog_size", FieldScope::place},
    Rule{"bblog_offset", FieldScope::place},
};

constexpr std::array<std::string_view, 11> mapping{"level",       "layout",           "chunksize", "chunk_size",
                                                   "size",        "raid_disks",       "disks",     "data_offset",
                                                   "delta_disks", "reshape_position", "dev_roles"};

// "dev_roles[3]" and "disks[3].state" without what follows their first word.
std::string_view first_word(std::string_view name) {
  return name.substr(0, name.find_first_of("[."));
}

}  // namespace

FieldScope field_scope(std::string_view name) {
  const auto rule = std::find_if(rules.begin(), rules.end(), [&](const Rule& r) { return r.name == first_word(name); });
  return rule == rules.end() ? FieldScope::array : rule->scope;
}

bool maps_data(std::string_view name) {
  return std::find(mapping.begin(), mapping.end(), first_word(name)) != mapping.end();
}

}  // namespace mdtool
