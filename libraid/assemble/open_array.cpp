// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/open_array.h"

#include <algorithm>

#include "libmeta/journal/meta_block.h"
#include "libmeta/md1/bad_block_log.h"
#include "libraid/array/write_intent.h"

namespace mdtool {

namespace {

// Above this many stripes extents are given by whole stripes.
constexpr std::uint64_t stripes_listed_one_by_one = 4096;

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

void append_merged(std::vector<SectorRange>& to, SectorRange r) {
  if (!to.empty() && to.back().end() >= r.first) {
    to.back().count = std::max(to.back().end(), r.end()) - to.back().first;
  } else {
    to.push_back(r);
  }
}

// Where a whole chunk's worth of write intent is not known, this much is one unit.
constexpr Sectors unit(2048);

std::vector<SectorRange> due_components(const Assembly& a, const Layout& layout) {
  const Sectors component = layout.geometry().component_size;
  const WriteIntent intent = WriteIntent::for_resync(a.bitmap, component, unit, false);
  std::vector<SectorRange> ranges;
  for (std::uint64_t chunk : intent.due()) {
    append_merged(ranges, intent.range_of(chunk));
  }
  return ranges;
}

void add_stripe(std::vector<SectorRange>& out, const Layout& layout, SectorRange in_stripe,
                const std::vector<std::uint32_t>& lost) {
  std::vector<SectorRange> here;
  for (std::uint32_t slot : lost) {
    if (auto first = layout.array_sector({slot, in_stripe.first})) {
      here.push_back({*first, in_stripe.count});
    }
  }
  std::sort(here.begin(), here.end(), [](const SectorRange& a, const SectorRange& b) { return a.first < b.first; });
  for (const SectorRange& r : here) {
    append_merged(out, r);
  }
}

// Longer chains of empty meta blocks than this are not followed: they count as content.
constexpr int empty_blocks_followed = 64;

// A bad block of a dirty array is reconstructed from parity that nothing vouches for, too.
void add_bad_extents(std::vector<SectorRange>& out, const Assembly& a, const Layout& layout,
                     const std::vector<ArrayMember>& members) {
  const Sectors chunk = layout.geometry().chunk;
  for (const SectorRange& due : due_components(a, layout)) {
    for (std::uint32_t slot = 0; slot < members.size(); ++slot) {
      for (const SectorRange& bad : members[slot].bad) {
        const Sectors end = std::min({due.end(), bad.end(), chunk * layout.stripes()});
        for (Sectors at = std::max(due.first, bad.first); at < end;) {
          const Sectors count = std::min(chunk - at % chunk, end - at);
          if (const auto first = layout.array_sector({slot, at})) {
            out.push_back({*first, count});
          }
          at += count;
        }
      }
    }
  }
  std::sort(out.begin(), out.end(), [](const SectorRange& x, const SectorRange& y) { return x.first < y.first; });
  std::vector<SectorRange> merged;
  for (const SectorRange& r : out) {
    append_merged(merged, r);
  }
  out = std::move(merged);
}

// A journal that holds nothing is no reason to refuse. A tail that cannot be read is: the kernel would silently drop
// what lies behind it.
bool journal_is_empty(const Member& m) {
  const MemberDescription& d = m.description();
  Sectors position = d.journal_tail.value_or(Sectors());
  std::optional<std::uint64_t> seq;
  for (int i = 0; i < empty_blocks_followed; ++i) {
    auto bytes = read_bytes(*m.candidate->metadata, (d.data_offset + position).bytes(), journal::block_bytes);
    if (!bytes) {
      return false;
    }
    auto block = journal::MetaBlock::decode(*bytes);
    if (!block || !block->verify({d.set_uuid, position, seq}).empty()) {
      return seq.has_value();  // what ends the chain holds nothing
    }
    if (block->holds_content()) {
      return false;
    }
    seq = block->header().seq + 1;
    position += block->length();
    if (position >= d.data_size) {
      position = Sectors();
    }
  }
  return false;
}

Status check_journal(const Assembly& a, const Forces& forces) {
  if (!a.array().has_journal || forces.ignore_journal) {
    return Done{};
  }
  for (const Member& m : a.members) {
    if (m.state == MemberState::journal && journal_is_empty(m)) {
      return Done{};
    }
  }
  return refused(
      "the array has a journal that may hold writes its members lack: replay it with a kernel, or read what the "
      "members "
      "have with --force=ignore-journal");
}

Status check_count(const Assembly& a, const Layout& layout) {
  std::uint32_t usable = 0;
  for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
    usable += a.in_slot(slot) != nullptr ? 1 : 0;
  }
  if (usable < layout.data_disks()) {
    return refused("too few members: " + std::to_string(usable) + " of at least " +
                   std::to_string(layout.data_disks()) + " that are needed");
  }
  return Done{};
}

// Chunks of a degraded array whose parity a lockless bitmap does not promise because nobody ever wrote there.
std::uint64_t unproven_chunks(const Assembly& a) {
  if (a.complete || !a.bitmap.lockless || a.bitmap.trust != Trust::believed) {
    return 0;
  }
  const auto counts = a.bitmap.lockless->counts().by_state;
  using bitmap::ChunkState;
  return counts[static_cast<std::size_t>(ChunkState::unwritten)] +
         counts[static_cast<std::size_t>(ChunkState::need_sync_unwritten)] +
         counts[static_cast<std::size_t>(ChunkState::syncing_unwritten)];
}

}  // namespace

bool taken_as_lazy(const Assembly& a, const Forces& forces, std::uint32_t slot) {
  return forces.lazy_recovery && a.lazy_slot == slot;
}

Result<Layout> workable_layout(const Assembly& a) {
  const MemberDescription& d = a.array();
  if (d.unknown_features != 0) {
    return refused("the superblock uses features that are not known here (feature bits " +
                   std::to_string(d.unknown_features) + ")");
  }
  if (a.members[a.freshest].state == MemberState::unusable) {
    return refused("no member has a superblock that the kernel would accept");
  }
  if (d.clustered) {
    return refused("the array belongs to a cluster");
  }
  if (d.reshape) {
    return refused("a reshape is under way: one geometry does not describe this array; let the kernel finish it");
  }
  if (d.level != 4 && d.level != 5 && d.level != 6) {
    return refused("level " + level_name(d.level).value_or(std::to_string(d.level)) +
                   " is not supported by this command (RAID-4, 5 and 6 only)");
  }
  // Nothing behind this is sized by a number that no member backs.
  if (d.size > d.data_size) {
    return refused("the superblock's size of " + std::to_string(d.size.count()) + " sectors is more than the " +
                   std::to_string(d.data_size.count()) + " that its member has for data");
  }
  auto layout = Layout::of({d.level, d.layout, d.raid_disks, d.chunk, d.size});
  if (!layout) {
    return refused(layout.error().text);
  }
  return layout;
}

Result<std::vector<SectorRange>> bad_ranges(const Member& m, const BitmapView& view) {
  const MemberDescription& d = m.description();
  std::vector<SectorRange> ranges;
  if (!d.bad_block_log || !d.bad_block_log->not_empty) {
    return ranges;
  }
  const BadBlockLogPlace& place = *d.bad_block_log;
  const std::uint64_t bitmap_end =
      view.lockless && d.bitmap_offset_bytes ? *d.bitmap_offset_bytes + view.lockless->used_bytes() : 0;
  const std::uint64_t log_end = place.offset_bytes + Sectors(place.sectors).bytes();
  if (d.bitmap_offset_bytes && log_end > *d.bitmap_offset_bytes && place.offset_bytes < bitmap_end) {
    return refused(
        m.candidate->path +
        ": the bad-block log is said not to be empty, but lies under the lockless bitmap's states: neither can "
        "be believed");
  }
  TRY(log, md1::BadBlockLog::read(*m.candidate->metadata, place).in(m.candidate->path));
  for (const auto& r : log.ranges()) {
    if (r.first + r.count > d.data_offset) {
      const Sectors first = r.first > d.data_offset ? r.first - d.data_offset : Sectors();
      append_merged(ranges, {first, r.first + r.count - d.data_offset - first});
    }
  }
  return ranges;
}

std::vector<SectorRange> uncertain_extents(const Assembly& a, const Layout& layout) {
  std::vector<std::uint32_t> lost;
  for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
    const Member* m = a.in_slot(slot);
    if (m == nullptr || m->state != MemberState::in_sync) {
      lost.push_back(slot);
    }
  }
  std::vector<SectorRange> out;
  if (a.clean || lost.empty()) {
    return out;
  }
  const Sectors chunk = layout.geometry().chunk;
  const Sectors stripe_size = chunk * layout.data_disks();
  std::uint64_t listed = 0;
  for (const SectorRange& due : due_components(a, layout)) {
    const Sectors end = std::min(due.end(), chunk * layout.stripes());
    Sectors at = due.first;
    for (; at < end && listed < stripes_listed_one_by_one; ++listed) {
      const Sectors count = std::min(chunk - at % chunk, end - at);
      add_stripe(out, layout, {at, count}, lost);
      at += count;
    }
    if (at < end) {
      const Sectors first = stripe_size * (at / chunk);
      append_merged(out, {first, stripe_size * ((end.count() + chunk.count() - 1) / chunk.count()) - first});
    }
  }
  return out;
}

Result<ReadableArray> open_for_reading(const Assembly& a, const Forces& forces, const parity::Kernels& kernels) {
  TRY(layout, workable_layout(a));
  TRY(journal, check_journal(a, forces));
  TRY(count, check_count(a, layout));
  std::vector<ArrayMember> members(a.slots());
  for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
    const Member* m = a.in_slot(slot);
    if (m == nullptr) {
      continue;
    }
    TRY(bad, bad_ranges(*m, a.bitmap));
    const MemberDescription& d = m->description();
    members[slot] = {
        m->candidate->data, d.data_offset,
        m->state == MemberState::recovering && !taken_as_lazy(a, forces, slot) ? d.recovery_offset : Sectors::max(),
        std::move(bad)};
  }
  std::vector<SectorRange> uncertain;
  if (!a.lazy_slot || !forces.lazy_recovery) {
    uncertain = uncertain_extents(a, layout);
  }
  if (!a.clean) {
    add_bad_extents(uncertain, a, layout, members);
  }
  ReadableArray readable{Array(layout, std::move(members), kernels), std::move(uncertain), {}, !a.complete};
  if (!readable.uncertain.empty()) {
    readable.findings.push_back({Severity::warning, "uncertain-extents", "",
                                 std::to_string(readable.uncertain.size()) +
                                     " extents are reconstructed from parity that a cut may have left wrong",
                                 Effect::none});
  }
  if (const std::uint64_t chunks = unproven_chunks(a); chunks != 0) {
    readable.findings.push_back(
        {Severity::note, "parity-unproven", "",
         std::to_string(chunks) + " chunks were never written: what a missing member held there is reconstructed from "
                                  "parity that was never built",
         Effect::none});
  }
  if (a.bitmap.trust == Trust::rejected) {
    readable.findings.push_back(
        {Severity::warning, "bitmap-ignored", "", "the bitmap is not used for reading", Effect::none});
  }
  return readable;
}

}  // namespace mdtool
