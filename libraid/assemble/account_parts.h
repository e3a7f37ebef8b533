// SPDX-License-Identifier: GPL-2.0-or-later
// The parts that an account is put together from, and how its sentences are worded. For account_of() alone.
#pragma once

#include <span>
#include <string>

#include "libraid/assemble/account.h"
#include "libraid/assemble/shell_word.h"
#include "libraid/assemble/views.h"

namespace mdtool {

// Both take what the account holds so far: departures and halves.
Findings contradictions_of(const Assembly& array, const std::vector<ViewGroup>& groups, const Account& account);
std::vector<Choice> choices_of(const Assembly& array, const std::vector<ViewGroup>& groups, const Account& account,
                               std::span<const Candidate> candidates);

// "64 KiB", "1.5 GiB", rounded up: these are upper bounds.
std::string size_text(std::uint64_t bytes);
// "3 min", "2 days 4 h"; the two largest units.
std::string duration_text(std::uint64_t seconds);
// "m0, m1 and 5 more".
std::string names_text(const Assembly& array, std::span<const std::size_t> members);
// "1, 2, 3"
std::string slots_text(std::span<const std::uint32_t> slots);
// Quoted paths, each behind `before` and a blank.
std::string arguments_text(const Assembly& array, std::span<const std::size_t> members, std::string_view before = "");
// Every member of the array that was named.
std::vector<std::size_t> all_members(const Assembly& array);

}  // namespace mdtool
