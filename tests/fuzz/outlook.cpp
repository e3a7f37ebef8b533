// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/outlook.h"

#include <sstream>

#include "libraid/assemble/maintenance.h"
#include "tests/fuzz/superblock_fuzz.h"

namespace mdtool::fuzz {
namespace {

constexpr std::uint64_t looked_at_bytes = 4096;

const parity::Kernels& kernels() {
  return *parity::supported_kernels().front();
}

void add_findings(std::ostream& out, const Findings& findings) {
  require_sound_text(findings);
  for (const Finding& f : findings) {
    out << "  " << f.id << "/" << static_cast<int>(f.effect) << ": " << f.text << "\n";
  }
}

void add_candidate(std::ostream& out, const Candidate& candidate) {
  out << candidate.path << "\n";
  add_findings(out, candidate.findings);
  for (const FoundSuperblock& found : candidate.superblocks) {
    require_bounded(found.description, candidate.metadata->size_bytes());
    out << " " << found.description.metadata << " at " << found.metadata->offset_bytes() << "\n";
    add_findings(out, found.findings);
  }
}

void add_members(std::ostream& out, const Assembly& a) {
  require(a.slots() <= 1920 && a.slots() <= a.members.size() && a.freshest < a.members.size());
  require(a.members[a.freshest].candidate != nullptr);
  for (const Member& m : a.members) {
    require((m.candidate == nullptr) == (m.state == MemberState::missing));
    out << " " << (m.candidate == nullptr ? "-" : m.candidate->path) << " " << role_name(m.role) << " "
        << member_state_name(m.state) << " " << m.slot.value_or(~0U) << " " << m.reason << "\n";
  }
}

void add_bitmap(std::ostream& out, const BitmapView& view) {
  out << " bitmap " << view.version << " trust " << static_cast<int>(view.trust) << " chunks " << view.chunks()
      << " of " << view.chunk().count();
  if (view.classic) {
    out << " set " << view.classic->set_count();
    for (std::uint64_t i = 0; i < view.classic->chunks(); ++i) {
      out << (view.classic->is_set(i) ? "1" : "0");
    }
  }
  for (std::uint64_t i = 0; view.lockless && i < view.lockless->chunks(); ++i) {
    out << "," << int{view.lockless->raw(i)};
  }
  out << "\n";
  add_findings(out, view.findings);
  for (const std::string& cure : view.cures) {
    out << "  " << cure << "\n";
  }
  require(!view.kernel_refuses() || !view.cures.empty());
}

void require_in_order(const std::vector<SectorRange>& ranges, Sectors size) {
  Sectors end;
  for (const SectorRange& r : ranges) {
    require(!r.count.is_zero() && r.first >= end && fits(r.first.count(), r.count.count(), size.count()));
    end = r.end();
  }
}

void add_content(std::ostream& out, const Array& array) {
  const std::uint64_t size = array.size_bytes();
  require(size > 0 && size % Sectors::bytes_each == 0);
  const std::uint64_t length = std::min(size, looked_at_bytes);
  for (std::uint64_t at : {std::uint64_t{0}, size / 2 / length * length, size - length}) {
    std::vector<std::byte> bytes(length);
    const Status done = array.read(at, bytes);
    std::uint64_t sum = 0;
    for (std::byte b : bytes) {
      sum = sum * 31 + std::to_integer<std::uint64_t>(b);
    }
    out << "  at " << at << ": " << (done ? std::to_string(sum) : done.error().text) << "\n";
  }
}

void add_reading(std::ostream& out, const Assembly& a) {
  const auto open = open_for_reading(a, {.ignore_journal = true, .dirty_degraded = false}, kernels());
  if (!open) {
    require(!open.error().text.empty());
    out << " cannot be read: " << open.error().text << "\n";
    return;
  }
  const bool asks = open_for_reading(a, {}, kernels()).has_value();
  out << " can be read" << (asks ? "" : " by force") << ", " << open->array.size_bytes() << " bytes\n";
  require_in_order(open->uncertain, Sectors::from_bytes(open->array.size_bytes()));
  for (const SectorRange& r : open->uncertain) {
    out << "  uncertain " << r.first.count() << "+" << r.count.count() << "\n";
  }
  add_findings(out, open->findings);
  add_content(out, open->array);
}

void add_plan(std::ostream& out, const Assembly& a, const MaintenanceTask& task) {
  const auto plan = plan_maintenance(a, task);
  if (!plan) {
    require(!plan.error().text.empty());
    out << " refused: " << plan.error().text << "\n";
    return;
  }
  out << " plan of " << plan->steps.size() << " steps, " << plan->due_bytes() << " bytes due, events " << plan->events
      << "\n";
  for (const PlannedMember& m : plan->members) {
    const std::uint64_t size = a.members[m.member].candidate->metadata->size_bytes();
    for (const PlannedExtent& e : m.extents) {
      require(fits(e.offset_bytes, e.length_bytes, size));
    }
  }
}

void add_plans(std::ostream& out, const Assembly& a) {
  MaintenanceTask resync;
  add_plan(out, a, resync);
  resync.forces.dirty_degraded = true;
  add_plan(out, a, resync);
  MaintenanceTask build{.kind = MaintenanceTask::Kind::build_parity, .forces = {}};
  add_plan(out, a, build);
  build.extent = WriteIntent::Extent::everything;
  add_plan(out, a, build);
}

}  // namespace

std::string outlook_of(std::span<const Candidate> candidates) {
  std::ostringstream out;
  for (const Candidate& candidate : candidates) {
    add_candidate(out, candidate);
  }
  for (const Assembly& a : assemble(candidates)) {
    out << "array " << verdict_name(a.verdict) << (a.clean ? " clean" : " dirty") << (a.complete ? " complete" : "")
        << " " << a.array_bytes() << "\n";
    require(a.verdict == Verdict::assembles || !a.reasons.empty());
    for (const std::string& reason : a.reasons) {
      out << " because " << reason << "\n";
    }
    add_members(out, a);
    add_findings(out, a.findings);
    add_bitmap(out, a.bitmap);
    add_reading(out, a);
    add_plans(out, a);
  }
  return std::move(out).str();
}

std::string outlook(std::span<const Source* const> members) {
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < members.size(); ++i) {
    auto candidate = inspect("m" + std::to_string(i), std::to_string(i), *members[i], *members[i]);
    require(candidate.has_value());
    candidates.push_back(std::move(*candidate));
  }
  return outlook_of(candidates);
}

}  // namespace mdtool::fuzz
