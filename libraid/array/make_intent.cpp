// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/make_intent.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "libraid/array/classic_intent.h"
#include "libraid/array/lockless_intent.h"
#include "libraid/array/no_intent.h"

namespace mdtool {

namespace {

using Made = Result<std::unique_ptr<Intent>>;

constexpr std::uint32_t most_block_bytes = 4096;  // PAGE_SIZE: no larger unit is written at once

Error refused(std::string why) {
  return {ErrorKind::refused, std::move(why)};
}

Status check(const BitmapView& view, const IntentStart& start) {
  if (view.trust == Trust::rejected || (!view.classic && !view.lockless)) {
    std::string why = "the write-intent bitmap cannot be used";
    for (const std::string& cure : view.cures) {
      why += "; " + cure;
    }
    return refused(std::move(why));
  }
  if (view.classic && view.classic->header().version == bitmap::version_clustered &&
      view.classic->header().nodes != 0) {
    return refused("the write-intent bitmap is a cluster's");
  }
  // The sectors and the chunks they are cut into were both found by the view: they cover the array, or nothing is sure.
  if (view.expected.sync_size != start.component || view.chunks() == 0) {
    return refused("the write-intent bitmap covers " + std::to_string(view.expected.sync_size.count()) +
                   " sectors of each member, the array uses " + std::to_string(start.component.count()));
  }
  const std::uint32_t block = start.logical_block_bytes;
  if (!std::has_single_bit(block) || block < Sectors::bytes_each || block > most_block_bytes) {
    return refused("a logical block of " + std::to_string(block) + " bytes");
  }
  return Done{};
}

Made make_classic(const BitmapView& view, const IntentStart& start, BitmapCopies copies) {
  using Loaded = ClassicIntent::Loaded;
  return Made(
      std::make_unique<ClassicIntent>(*view.classic,
                                      ClassicIntent::Start{
                                          .loaded = view.trust == Trust::stale ? Loaded::stale : Loaded::believed,
                                          .component = start.component,
                                          .resync_offset = start.resync_offset,
                                          .degraded = start.degraded,
                                          .events = view.expected.events,
                                          .block_bytes = start.logical_block_bytes,
                                      },
                                      std::move(copies)));
}

LocklessIntent::Loaded loaded(Trust trust) {
  using Loaded = LocklessIntent::Loaded;
  return trust == Trust::first_use ? Loaded::first_use : trust == Trust::stale ? Loaded::stale : Loaded::believed;
}

Made make_lockless(const BitmapView& view, const IntentStart& start, BitmapCopies copies) {
  auto intent = std::make_unique<LocklessIntent>(*view.lockless,
                                                 LocklessIntent::Start{
                                                     .loaded = loaded(view.trust),
                                                     .component = start.component,
                                                     .raid456 = view.expected.raid456,
                                                     .clean = start.resync_offset.is_max(),
                                                     .degraded = start.degraded,
                                                     .events = view.expected.events,
                                                     .block_bytes = start.logical_block_bytes,
                                                 },
                                                 std::move(copies));
  if (view.trust == Trust::first_use) {
    // The kernel's header stays mdadm's until the superblocks are written; a cut before that would forget writes.
    TRY(written, intent->write_header(std::max<std::uint64_t>(view.lockless->header().events, view.expected.events)));
  }
  return Made(std::move(intent));
}

}  // namespace

Result<std::unique_ptr<Intent>> make_intent(const BitmapView& view, const IntentStart& start, BitmapCopies copies) {
  if (start.component.is_zero() || start.chunk.is_zero()) {
    return refused("an array without sectors");
  }
  if (view.trust == Trust::absent) {
    return Made(
        std::make_unique<NoIntent>(NoIntent::Start{start.component, start.chunk, start.resync_offset, start.degraded}));
  }
  TRY(usable, check(view, start));
  return view.classic ? make_classic(view, start, std::move(copies)) : make_lockless(view, start, std::move(copies));
}

}  // namespace mdtool
