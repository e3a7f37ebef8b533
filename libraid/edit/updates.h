// SPDX-License-Identifier: GPL-2.0-or-later
// mdadm's --update names, each as a change of one member's superblock, the same as mdadm 4.6 makes it. Judges no array.
#pragma once

#include <string>
#include <string_view>

#include "libraid/edit/fields.h"

namespace mdtool {

// `before`, which is the superblock of `member` or what was made of it, with the update made. Fails (usage) where the
// update is unknown, wants another value, or is none for this metadata or level; refused where mdadm refuses.
Result<std::unique_ptr<Metadata>> updated(const Metadata& before, const Candidate& member, const NamedUpdate& update);

// What it does, for people.
std::string update_text(const NamedUpdate& update);

// The UUID changes, and with it what a bitmap has to carry and who belongs together.
bool changes_identity(const NamedUpdate& update);

// "host:name" as md writes it, the name alone where both do not fit or it names a host itself.
std::string name_with_host(std::string_view host, std::string_view name);

}  // namespace mdtool
