// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/bitmap_change.h"

#include <algorithm>
#include <utility>

#include "libraid/assemble/array_metadata.h"
#include "libraid/edit/bitmap_debt.h"
#include "libraid/edit/bitmap_rules.h"
#include "libraid/edit/bitmap_stages.h"
#include "libraid/edit/meaning.h"

namespace mdtool {

namespace {

using bitmap::Kind;

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

std::string bytes_text(std::uint64_t bytes) {
  return std::to_string(bytes) + " bytes";
}

std::string chunks_text(std::uint64_t chunks) {
  return std::to_string(chunks) + (chunks == 1 ? " chunk" : " chunks");
}

std::string kind_text(Kind kind) {
  return kind == Kind::lockless ? "lockless" : "classic";
}

// From one bitmap, or none, to another, or none. The kernel believes set bits only together with a dirty superblock,
// and nothing but a lockless bitmap knows of parity that was never built: whatever the old bitmap owes is owed
// afterwards by the new one, by resync_offset 0, or by both.
class Changer {
 public:
  // `target`: none to have no bitmap. `source`: what the old one says.
  Changer(const Assembly& array, BitmapNow now, std::optional<BitmapTarget> target, const EditClock& clock)
      : a_(array),
        now_(std::move(now)),
        target_(std::move(target)),
        debt_(array, now_.view),
        holders_(bitmap_holders(array)),
        clock_(clock) {}

  Result<EditPlan> plan(const std::optional<BitmapFile>& from) && {
    TRY(fine, check());
    TRY(shape, choose());
    TRY(due, choose_resync(shape));
    BitmapTurn turn;
    turn.array = &a_;
    turn.members = holders_;
    turn.before = now_.shape;
    turn.after = in_file() ? std::nullopt : shape;
    turn.area = [this, &shape](std::uint64_t events) { return area_of(*shape, events); };
    turn.resync_offset = resync_offset_;
    turn.now_seconds = clock_.now_seconds;
    turn.content = rejected() && now_.shape ? BitmapTurn::Content::to_rewrite : BitmapTurn::Content::as_wanted;
    TRY(events, draft_bitmap_turn(draft_, turn));
    if (in_file()) {
      TRY(written, write_file(area_of(*shape, events), from));
    }
    return explained(std::move(draft_).take(), shape);
  }

 private:
  bool in_file() const { return target_ && !target_->file.empty(); }
  bool rejected() const { return now_.view.trust == Trust::rejected; }
  bool from_lockless() const { return now_.view.kind == Kind::lockless; }
  bool to_lockless() const { return target_ && target_->kind == Kind::lockless; }

  Status check() const {
    if (from_lockless() && !to_lockless()) {
      TRY(whole, check_whole_for_lockless(a_, LocklessWay::leaves));
    }
    if (to_lockless()) {
      TRY(possible, check_lockless_possible(a_));
      TRY(whole, check_whole_for_lockless(a_, LocklessWay::enters));
    }
    if (in_file() && to_lockless()) {
      return Error{ErrorKind::usage, "an external bitmap is a classic one"};
    }
    return Done{};
  }

  Result<std::optional<BitmapShape>> choose() const {
    if (!target_) {
      return std::optional<BitmapShape>();
    }
    TRY(shape,
        in_file() ? shape_in_file(*target_, now_.view) : choose_shape(holders_, *target_, now_.shape, now_.view));
    return std::optional(shape);
  }

  // The superblock vouches for what a classic bitmap, or none, does not call due, as far as it is told now.
  Status choose_resync(const std::optional<BitmapShape>& shape) {
    const bool same_chunks = shape && now_.shape && from_lockless() && shape->geometry == now_.shape->geometry;
    const bool believed_classic =
        now_.view.trust == Trust::absent || (now_.view.trust == Trust::believed && !from_lockless());
    const bool due = !to_lockless()    ? debt_.owes_anything() && !believed_classic
                     : same_chunks     ? false
                     : from_lockless() ? debt_.owes_anything()
                                       : debt_.owes_a_sync();
    if (!due || resync_offset_of(a_).is_zero()) {
      return Done{};
    }
    if (!a_.complete) {
      return refused(
          "the array is degraded, and its bitmap missed updates or cannot be used: all of it would be due "
          "for a resync, which needs all members. Fill the empty slots first (mdtool recover)");
    }
    resync_offset_ = Sectors();
    return Done{};
  }

  std::vector<std::byte> area_of(const BitmapShape& shape, std::uint64_t events) const {
    bitmap::NewBitmap cut = new_bitmap_of(a_, shape, events);
    const bool lockless = shape.kind == Kind::lockless;
    std::uint32_t daemon_sleep = 0;
    if (!lockless) {
      // Whoever is away is filled whole: another may have held its slot since, and then bits were cleared that it needs
      // (md-bitmap's events_cleared does not rise while a spare is filled).
      cut.events_cleared = events;
      if (now_.view.classic && !rejected()) {
        const bitmap::Header& old = now_.view.classic->header();
        cut.events_cleared = a_.complete && now_.view.trust == Trust::believed ? old.events_cleared.value() : events;
        cut.write_behind = old.write_behind;
        daemon_sleep = old.daemon_sleep;
      }
    } else if (now_.view.lockless && !rejected() && !now_.view.lockless->first_use()) {
      daemon_sleep = now_.view.lockless->header().daemon_sleep;
    }
    std::vector<std::byte> area = lockless ? debt_.in_lockless(cut) : debt_.in_classic(cut);
    if (const auto header = load<bitmap::Header>(area, 0); header && daemon_sleep != 0) {
      bitmap::Header kept = *header;
      kept.daemon_sleep = daemon_sleep;
      area = bitmap::area_with_header(area, kept);
    }
    area.resize(static_cast<std::size_t>(shape.area_bytes()), std::byte{0xff});
    return area;
  }

  Status write_file(std::vector<std::byte> content, const std::optional<BitmapFile>& from) {
    if (from && from->path == target_->file && from->content->size_bytes() == content.size()) {
      TRY(there, read_bytes(*from->content, 0, content.size()).in(from->path));
      if (there == content) {
        return Done{};
      }
    }
    draft_.write_file({target_->file, std::move(content)});
    return Done{};
  }

  EditPlan explained(EditPlan plan, const std::optional<BitmapShape>& shape) const {
    if (plan.nothing_to_do()) {
      plan.steps = {"the array is like that already"};
      return plan;
    }
    if (resync_offset_) {
      plan.steps.push_back("mark the array dirty: resync_offset becomes 0");
    }
    if (shape) {
      plan.steps.push_back("write a " + kind_text(shape->kind) + " bitmap, " + chunks_text(shape->geometry.chunks) +
                           " of " + bytes_text(shape->geometry.chunk.bytes()) + ", " +
                           (in_file() ? "to the file " + target_->file
                                      : std::to_string(shape->offset_sectors) + " sectors from each superblock"));
    }
    if (now_.shape && (!shape || in_file())) {
      plan.steps.emplace_back("the superblocks speak of no bitmap any more; the old one's bytes stay");
    }
    explain_due(plan);
    explain_members(plan);
    return plan;
  }

  std::string each_member() const { return a_.array().level == 10 ? " of the array" : " of each member"; }

  void explain_due(EditPlan& plan) const {
    const std::string all = bytes_text(now_.view.expected.sync_size.bytes());
    const std::string owed = bytes_text(debt_.owed_bytes()) + each_member();
    const bool whole = !target_ && (!a_.clean || resync_offset_);
    const bool turns_to_bits = target_ && from_lockless() && !to_lockless() && debt_.owes_anything();
    const bool due = resync_offset_ || turns_to_bits;
    if (whole) {
      plan.costs.push_back("without a bitmap all " + all + each_member() + " are due for a resync (the bitmap calls " +
                           owed + " due or never built); until that is done a lost member costs data there");
    } else if (due) {
      plan.costs.push_back(owed +
                           " are due for a resync, which the next start begins; until that is done a lost "
                           "member costs data there");
    }
    if ((whole || due) && from_lockless() && now_.view.expected.raid456) {
      plan.costs.emplace_back("to avoid that: mdtool build-parity MEMBER... first, which builds what was never built");
    }
    if (now_.view.trust == Trust::stale || rejected()) {
      plan.costs.emplace_back("the old bitmap missed updates or cannot be used: every chunk counts as due");
    }
    if (whole || due) {
      plan.next.emplace_back(resync_advice(a_));
    }
  }

  void explain_members(EditPlan& plan) const {
    if (!a_.complete) {
      plan.costs.emplace_back("a member that comes back has to be filled whole");
    }
    if (to_lockless() && !from_lockless()) {
      plan.costs.emplace_back(
          "only kernels with lockless bitmaps (Linux 6.18 and later, CONFIG_MD_LLBITMAP) start "
          "the array then");
    }
    if (to_lockless() && !from_lockless() && a_.array().logical_block_size == 0) {
      plan.costs.emplace_back(
          "on disks with logical blocks of 4 KiB (queue/logical_block_size in /sys/block) kernels write over a "
          "lockless bitmap's header");
    }
    if (in_file()) {
      plan.costs.emplace_back(
          "nothing in the superblocks tells of the file: whoever starts the array without it takes "
          "a dirty one as due as a whole");
    }
  }

  const Assembly& a_;
  BitmapNow now_;
  std::optional<BitmapTarget> target_;
  BitmapDebt debt_;
  std::vector<const Member*> holders_;
  EditClock clock_;
  std::optional<Sectors> resync_offset_;
  EditDraft draft_;
};

Result<EditPlan> checked(Result<EditPlan> plan, const Assembly& array) {
  if (!plan || plan->nothing_to_do()) {
    return plan;
  }
  TRY(worse, worsened_by(*plan, array, Apart::worse));
  if (!worse.empty()) {
    return refused("this would not be accepted: [" + worse.front().id + "] " + worse.front().text);
  }
  return plan;
}

bool same_as_wanted(const BitmapNow& now, const BitmapTarget& target) {
  return now.shape && target.file.empty() && now.shape->kind == target.kind &&
         (!target.chunk_bytes || *target.chunk_bytes == now.shape->geometry.chunk.bytes()) &&
         (!target.offset_sectors || *target.offset_sectors == now.shape->offset_sectors);
}

Result<BitmapView> view_of_file(const Assembly& a, const BitmapFile& file) {
  BitmapView view = view_bitmap({{a.freshest, file.path, file.content, 0, file.content->size_bytes()}},
                                a.bitmap.expected, Kind::classic);
  if (view.kind == Kind::lockless) {
    return refused(file.path + ": a lockless bitmap, which no kernel takes from a file");
  }
  if (view.trust == Trust::rejected) {
    return refused("no bitmap of this array that could be used: " +
                   (view.findings.empty() ? file.path : view.findings.front().text));
  }
  if (view.version == bitmap::version_clustered) {
    return refused(file.path + ": a cluster's bitmap");
  }
  return view;
}

// After a cut, or done before, --from is right though a bitmap is inside: if that says all that the file does.
bool taken_from_file(const Assembly& a, const BitmapNow& now, const BitmapTarget& target, const BitmapFile& file) {
  auto view = view_of_file(a, file);
  if (!view || !same_as_wanted(now, target)) {
    return false;
  }
  view->trust = Trust::believed;  // the array's events have gone on since
  const BitmapDebt told(a, *view);
  bitmap::NewBitmap cut;
  cut.sync_size = view->expected.sync_size;
  cut.chunk_bytes = view->classic->chunk().bytes();
  const std::vector<std::byte> bits = told.in_classic(cut);
  const std::vector<std::byte> known = BitmapDebt(a, now.view).in_classic(cut);
  return !told.owes_anything() ||
         std::ranges::equal(std::span(bits).subspan(bitmap::header_bytes),
                            std::span(known).subspan(bitmap::header_bytes),
                            [](std::byte bit, std::byte kept) { return (bit & ~kept) == std::byte{}; });
}

}  // namespace

Result<EditPlan> plan_bitmap_add(const Assembly& array, const BitmapTarget& target, const EditClock& clock) {
  TRY(fine, check_bitmap_change(array));
  BitmapNow now = bitmap_now(array);
  if (now.shape && !same_as_wanted(now, target)) {
    return refused("the array has a bitmap already: mdtool bitmap convert changes it");
  }
  return checked(Changer(array, std::move(now), target, clock).plan(std::nullopt), array);
}

Result<EditPlan> plan_bitmap_remove(const Assembly& array, const EditClock& clock) {
  TRY(fine, check_bitmap_change(array));
  return checked(Changer(array, bitmap_now(array), std::nullopt, clock).plan(std::nullopt), array);
}

Result<EditPlan> plan_bitmap_convert(const Assembly& array, const BitmapTarget& target,
                                     const std::optional<BitmapFile>& from, const EditClock& clock) {
  TRY(fine, check_bitmap_change(array));
  BitmapNow now = bitmap_now(array);
  if (!now.shape && now.view.trust == Trust::absent) {
    if (!from) {
      return refused(
          "the array has no bitmap inside: mdtool bitmap add gives it one, --from=FILE names an external one");
    }
    TRY(view, view_of_file(array, *from));
    now.view = std::move(view);
  } else if (from && !taken_from_file(array, now, target, *from)) {
    return refused("the array has a bitmap on its members: --from is for one whose bitmap is in a file");
  }
  return checked(Changer(array, std::move(now), target, clock).plan(from), array);
}

}  // namespace mdtool
