// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/views.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "libraid/assemble/start_rules.h"

namespace mdtool {

namespace {

// Faulty, removed and spare are one: not in the array.
std::vector<std::uint16_t> normalised_roles(const MemberDescription& d) {
  std::vector<std::uint16_t> roles = d.dev_roles;
  for (std::uint16_t& role : roles) {
    role = role < role_max_regular ? role : role_spare;
  }
  while (!roles.empty() && roles.back() == role_spare) {
    roles.pop_back();
  }
  return roles;
}

bool has_a_view(const Member& m) {
  return m.candidate != nullptr && m.description().role == Role::active &&
         worst_effect(m.candidate->chosen()->findings) < Effect::refuses_member;
}

ViewGroup group_of(const std::vector<std::uint16_t>& roles) {
  ViewGroup group;
  for (std::uint32_t number = 0; number < roles.size(); ++number) {
    if (roles[number] < role_max_regular) {
      group.dev_numbers.push_back(number);
      group.filled_slots.push_back(roles[number]);
    }
  }
  std::sort(group.filled_slots.begin(), group.filled_slots.end());
  group.filled_slots.erase(std::unique(group.filled_slots.begin(), group.filled_slots.end()), group.filled_slots.end());
  return group;
}

bool ran_degraded(const Assembly& a, const ViewGroup& group) {
  return group.filled_slots.size() < a.slots() && could_run(a, group);
}

bool disjoint(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b) {
  auto x = a.begin();
  auto y = b.begin();
  while (x != a.end() && y != b.end()) {
    if (*x == *y) {
      return false;
    }
    *x < *y ? ++x : ++y;
  }
  return true;
}

// Groups that share a dev_number, directly or through others, are one half.
class Halves {
 public:
  void add(const ViewGroup& group) {
    std::vector<std::size_t> members = group.members;
    std::set<std::uint32_t> numbers(group.dev_numbers.begin(), group.dev_numbers.end());
    for (std::uint32_t number : group.dev_numbers) {
      if (const auto owner = owners_.find(number); owner != owners_.end()) {
        Half& other = halves_[owner->second];
        members.insert(members.end(), other.members.begin(), other.members.end());
        numbers.merge(other.numbers);
        other = {};
        for (std::uint32_t moved : numbers) {
          owners_.erase(moved);
        }
      }
    }
    for (std::uint32_t number : numbers) {
      owners_[number] = halves_.size();
    }
    halves_.push_back({std::move(members), std::move(numbers)});
  }

  bool owns(std::uint32_t number) const { return owners_.contains(number); }

  std::vector<std::vector<std::size_t>> take() && {
    std::vector<std::vector<std::size_t>> all;
    for (Half& half : halves_) {
      if (!half.members.empty()) {
        std::sort(half.members.begin(), half.members.end());
        all.push_back(std::move(half.members));
      }
    }
    return all;
  }

 private:
  struct Half {
    std::vector<std::size_t> members;
    std::set<std::uint32_t> numbers;
  };
  std::vector<Half> halves_;
  std::map<std::uint32_t, std::size_t> owners_;
};

}  // namespace

std::vector<ViewGroup> view_groups(const Assembly& array) {
  std::map<std::vector<std::uint16_t>, ViewGroup> by_roles;
  for (std::size_t i = 0; i < array.members.size(); ++i) {
    const Member& m = array.members[i];
    if (!has_a_view(m)) {
      continue;
    }
    std::vector<std::uint16_t> roles = normalised_roles(m.description());
    ViewGroup fresh = group_of(roles);
    ViewGroup& group = by_roles.try_emplace(std::move(roles), std::move(fresh)).first->second;
    group.members.push_back(i);
    group.events = std::max(group.events, m.description().events);
  }
  std::vector<ViewGroup> groups;
  for (auto& [roles, group] : by_roles) {
    groups.push_back(std::move(group));
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const ViewGroup& a, const ViewGroup& b) { return a.events > b.events; });
  return groups;
}

bool could_run(const Assembly& array, const ViewGroup& group) {
  return enough_slots(array, group.filled_slots);
}

std::vector<std::vector<std::size_t>> halves_of(const Assembly& array, const std::vector<ViewGroup>& groups) {
  const auto first =
      std::find_if(groups.begin(), groups.end(), [&](const ViewGroup& g) { return ran_degraded(array, g); });
  if (first == groups.end()) {
    return {};
  }
  Halves others;
  std::vector<const ViewGroup*> with_first;
  for (auto group = first + 1; group != groups.end(); ++group) {
    if (!ran_degraded(array, *group)) {
      continue;
    }
    if (disjoint(first->dev_numbers, group->dev_numbers)) {
      others.add(*group);
    } else {
      with_first.push_back(&*group);
    }
  }
  std::vector<std::size_t> first_half = first->members;
  for (const ViewGroup* group : with_first) {
    if (std::none_of(group->dev_numbers.begin(), group->dev_numbers.end(),
                     [&](std::uint32_t number) { return others.owns(number); })) {
      first_half.insert(first_half.end(), group->members.begin(), group->members.end());
    }
  }
  std::vector<std::vector<std::size_t>> halves = std::move(others).take();
  if (!halves.empty()) {
    std::sort(first_half.begin(), first_half.end());
    halves.insert(halves.begin(), std::move(first_half));
  }
  return halves;
}

std::string view_letters(const MemberDescription& viewer, std::uint32_t slots) {
  std::vector<std::uint32_t> holders(slots, 0);
  for (std::uint16_t role : viewer.dev_roles) {
    if (role < slots) {
      ++holders[role];
    }
  }
  std::string letters;
  for (std::uint32_t count : holders) {
    letters += count == 0 ? '.' : count == 1 ? 'A' : count == 2 ? 'R' : '?';
  }
  return letters;
}

}  // namespace mdtool
