// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/plan_outlook.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <set>

namespace mdtool::cli {

namespace {

using Places = std::set<std::size_t>;  // indices among the candidates, the same before and after

Places places_of(const Assembly& array, std::span<const Candidate> among) {
  Places places;
  for (const Member& member : array.members) {
    if (member.candidate != nullptr) {
      places.insert(static_cast<std::size_t>(member.candidate - among.data()));
    }
  }
  return places;
}

Places places_of(const EditPlan& plan, std::span<const Candidate> among) {
  Places places;
  for (const Candidate* candidate : plan.members) {
    places.insert(static_cast<std::size_t>(candidate - among.data()));
  }
  return places;
}

std::size_t shared(const Places& a, const Places& b) {
  return static_cast<std::size_t>(std::count_if(a.begin(), a.end(), [&](std::size_t at) { return b.contains(at); }));
}

struct PlacedArray {
  const Assembly* array;
  Places places;
};

std::vector<PlacedArray> placed(const std::vector<Assembly>& arrays, std::span<const Candidate> among) {
  std::vector<PlacedArray> all;
  for (const Assembly& array : arrays) {
    all.push_back({&array, places_of(array, among)});
  }
  return all;
}

// Takes the one with the most members of `places` out of `arrays`; none where none has any.
std::optional<PlacedArray> take_counterpart(const Places& places, std::vector<PlacedArray>& arrays) {
  const auto best = std::max_element(arrays.begin(), arrays.end(), [&](const PlacedArray& a, const PlacedArray& b) {
    return shared(a.places, places) < shared(b.places, places);
  });
  if (best == arrays.end() || shared(best->places, places) == 0) {
    return std::nullopt;
  }
  PlacedArray array = *best;
  arrays.erase(best);
  return array;
}

}  // namespace

Result<PlanOutlook> PlanOutlook::of(std::span<const Candidate> candidates, const EditPlan& plan) {
  PlanOutlook outlook;
  TRY(tried, try_plan(candidates, plan));
  outlook.tried_ = std::move(tried);
  outlook.before_ = assemble(candidates);
  outlook.after_ = assemble(outlook.tried_.candidates);
  const Places touched = places_of(plan, candidates);
  std::vector<PlacedArray> after = placed(outlook.after_, outlook.tried_.candidates);
  for (const PlacedArray& array : placed(outlook.before_, candidates)) {
    const auto counterpart = take_counterpart(array.places, after);
    if (shared(array.places, touched) > 0 || (counterpart && shared(counterpart->places, touched) > 0)) {
      outlook.changes_.push_back({array.array, counterpart ? counterpart->array : nullptr});
    }
  }
  for (const PlacedArray& array : after) {
    if (shared(array.places, touched) > 0) {
      outlook.changes_.push_back({nullptr, array.array});
    }
  }
  return outlook;
}

}  // namespace mdtool::cli
