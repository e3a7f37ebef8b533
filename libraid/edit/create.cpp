// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/create.h"

#include <algorithm>

#include "libmeta/bitmap/new_bitmap.h"
#include "libmeta/md0/create.h"
#include "libmeta/md0/superblock.h"
#include "libmeta/new_array.h"
#include "libmeta/ppl/header.h"
#include "libraid/edit/create_rules.h"
#include "libraid/edit/create_sizes.h"
#include "libraid/geometry/layout.h"

namespace mdtool {

namespace {

using Bitmap = CreateTask::Bitmap;
using Initial = CreateTask::Initial;

// mdadm writes 0 on 1.x, of which Linux 7.2 makes a first start that records a logical block size, and kernels up to
// 6.18 refuse the array from then on.
constexpr std::uint64_t first_events = 1;
constexpr std::byte filler{0xff};

bool is_456(std::int32_t level) {
  return level >= 4 && level <= 6;
}

std::string bytes_text(Sectors size) {
  return std::to_string(size.bytes()) + " bytes";
}

std::string slot_text(std::uint16_t role) {
  return role < role_max_regular ? "slot " + std::to_string(role) : "spare";
}

// Of a superblock that was there before: what Kill() of mdadm zeroes.
std::size_t killed_bytes(const FoundSuperblock& found) {
  return found.description.metadata == "0.90" ? sizeof(md0::LittleSuperblock) : Sectors::bytes_each;
}

std::vector<FieldChange> magic_gone(const FoundSuperblock& found) {
  std::vector<FieldChange> changes;
  for (const Field& field : found.metadata->fields()) {
    if (field.name == "magic" || field.name == "md_magic") {
      changes.push_back({field, {field.name, std::uint64_t{0}, field.unit}});
    }
  }
  return changes;
}

// A member in its place.
struct Placed {
  const CreateMember* member = nullptr;
  std::uint32_t dev_number = 0;
  std::uint16_t role = role_spare;
};

// Who holds which slot. Slots come first, each with its own number, missing ones too; spares follow.
class Roster {
 public:
  explicit Roster(const CreateTask& task) {
    for (std::size_t slot = 0; slot < task.slots.size(); ++slot) {
      enter(task.slots[slot], static_cast<std::uint16_t>(slot));
    }
    for (const CreateMember& spare : task.spares) {
      enter(spare, role_spare);
    }
    if (task.level == 6 && missing_slots(task) == 1 && task.initial == Initial::resync) {
      make_room(static_cast<std::uint16_t>(task.slots.size() - 1));
    }
  }

  const std::vector<Placed>& placed() const { return placed_; }
  const std::vector<std::uint16_t>& dev_roles() const { return dev_roles_; }
  // The member that is rebuilt from the others though it was given for a slot.
  const CreateMember* moved() const { return moved_; }

 private:
  void enter(const CreateMember& member, std::uint16_t role) {
    const auto number = static_cast<std::uint32_t>(dev_roles_.size());
    dev_roles_.push_back(member.candidate == nullptr ? role_spare : role);
    if (member.candidate != nullptr) {
      placed_.push_back({&member, number, role});
    }
  }

  // As mdadm: with one missing, no kernel starts a dirty raid6, and a clean one would have a wrong Q. With two missing
  // all is right by definition, and the member of the last slot is filled from the others.
  void make_room(std::uint16_t last) {
    const auto slot = static_cast<std::uint16_t>(dev_roles_[last] == role_spare ? last - 1 : last);
    const auto at = std::ranges::find(placed_, slot, &Placed::role);
    Placed spare = *at;
    placed_.erase(at);
    dev_roles_[slot] = role_spare;
    spare.dev_number = static_cast<std::uint32_t>(dev_roles_.size());
    spare.role = role_spare;
    dev_roles_.push_back(role_spare);
    placed_.push_back(spare);
    moved_ = spare.member;
  }

  std::vector<Placed> placed_;
  std::vector<std::uint16_t> dev_roles_;
  const CreateMember* moved_ = nullptr;
};

bool starts_clean(const CreateTask& task) {
  if (task.level <= 0 || task.initial != Initial::resync) {
    return true;
  }
  // Where nothing is left to check it against, parity is right by definition.
  return is_456(task.level) && missing_slots(task) != 0;
}

class Creator {
 public:
  Creator(const CreateTask& task, const NewPlaces& places) : task_(task), places_(places), roster_(task) {
    describe_array();
  }

  Result<EditPlan> plan() && {
    TRY(superblocks, make_superblocks());
    explain();
    zero_data();
    draft_.next_stage();
    TRY(removed, remove_old());
    draft_.next_stage();
    TRY(filled, write_areas(superblocks));
    draft_.next_stage();
    for (std::size_t i = 0; i < superblocks.size(); ++i) {
      TRY(written, draft_.new_superblock(candidate(roster_.placed()[i]), *superblocks[i]));
    }
    return std::move(draft_).take();
  }

 private:
  static const Candidate& candidate(const Placed& placed) { return *placed.member->candidate; }

  static Sectors size_of(const Placed& placed) { return Sectors::from_bytes(candidate(placed).metadata->size_bytes()); }

  void describe_array() {
    array_.metadata = task_.metadata;
    array_.set_uuid = task_.set_uuid;
    array_.set_name = task_.set_name;
    array_.preferred_minor = task_.preferred_minor;
    array_.ctime_seconds = task_.now_seconds;
    array_.level = task_.level;
    array_.layout = places_.layout;
    array_.chunk = places_.chunk;
    array_.raid_disks = static_cast<std::uint32_t>(task_.slots.size());
    array_.size = places_.size;
    array_.resync_offset = starts_clean(task_) ? Sectors::max() : Sectors(0);
    array_.events = first_events;
    array_.dev_roles = roster_.dev_roles();
    array_.bitmap_offset_sectors = places_.bitmap_offset_sectors;
    array_.ppl = places_.ppl;
  }

  Result<std::vector<std::unique_ptr<Metadata>>> make_superblocks() const {
    std::vector<std::unique_ptr<Metadata>> superblocks;
    for (const Placed& placed : roster_.placed()) {
      const NewMemberPlaces own = member_places(task_, places_, size_of(placed));
      NewArrayMember member;
      member.member_bytes = candidate(placed).metadata->size_bytes();
      member.device_uuid = placed.member->device_uuid;
      member.dev_number = placed.dev_number;
      member.data_offset = places_.data_offset;
      member.data_size = own.data_size;
      member.bad_block_log_offset_sectors = own.bad_block_log_offset_sectors;
      TRY(superblock, new_superblock(array_, member).in(candidate(placed).path));
      TRY(acceptable, check(candidate(placed), *superblock));
      superblocks.push_back(std::move(superblock));
    }
    return superblocks;
  }

  // Nothing that its own judges would call wrong is ever written.
  static Status check(const Candidate& candidate, const Metadata& superblock) {
    for (const Finding& finding : superblock.verify(candidate.metadata->size_bytes())) {
      if (finding.effect != Effect::none) {
        return Error{ErrorKind::usage, candidate.path + ": " + finding.text};
      }
    }
    return Done{};
  }

  void zero_data() {
    if (task_.initial != Initial::zeroed) {
      return;
    }
    for (const Placed& placed : roster_.placed()) {
      draft_.zero(candidate(placed), places_.data_offset.bytes(), data_size(placed).bytes());
    }
  }

  Sectors data_size(const Placed& placed) const {
    return task_.level > 0 ? places_.size : member_places(task_, places_, size_of(placed)).data_size;
  }

  Status remove_old() {
    for (const Placed& placed : roster_.placed()) {
      for (const FoundSuperblock& found : candidate(placed).superblocks) {
        TRY(removed, remove(placed, found));
      }
    }
    return Done{};
  }

  // The magic goes last, so that a run that was cut off finds all of the rest again.
  Status remove(const Placed& placed, const FoundSuperblock& found) {
    const std::uint64_t begin = found.metadata->offset_bytes();
    const std::uint64_t body = begin + Sectors::bytes_each;
    const std::uint64_t end = begin + killed_bytes(found);
    TRY(rest, remove_bytes(placed, body, end, {}));
    return remove_bytes(placed, begin, body, magic_gone(found));
  }

  // Without what is zeroed anyway.
  Status remove_bytes(const Placed& placed, std::uint64_t begin, std::uint64_t end, std::vector<FieldChange> fields) {
    std::uint64_t zeroed_begin = end;
    std::uint64_t zeroed_end = end;
    if (task_.initial == Initial::zeroed) {
      zeroed_begin = std::min(end, places_.data_offset.bytes());
      zeroed_end = std::max(begin, (places_.data_offset + data_size(placed)).bytes());
    }
    if (begin < zeroed_begin) {
      TRY(front, draft_.bytes(candidate(placed), "superblock", begin, std::vector<std::byte>(zeroed_begin - begin),
                              std::move(fields)));
    }
    if (zeroed_end < end) {
      TRY(back, draft_.bytes(candidate(placed), "superblock", zeroed_end, std::vector<std::byte>(end - zeroed_end)));
    }
    return Done{};
  }

  Status write_areas(const std::vector<std::unique_ptr<Metadata>>& superblocks) {
    const MemberDescription first = superblocks.front()->describe();
    if (task_.bitmap == Bitmap::file) {
      draft_.write_file({task_.bitmap_file, file_bitmap(first)});
    }
    for (std::size_t i = 0; i < superblocks.size(); ++i) {
      const MemberDescription d = superblocks[i]->describe();
      const Candidate& member = candidate(roster_.placed()[i]);
      if (d.bitmap_offset_bytes) {
        TRY(bitmap, draft_.bytes(member, "bitmap", *d.bitmap_offset_bytes, internal_bitmap(d)));
      }
      if (d.ppl) {
        TRY(ppl, draft_.bytes(member, "ppl", d.ppl->offset_bytes, empty_ppl(d)));
      }
    }
    return Done{};
  }

  bitmap::NewBitmap new_bitmap(const MemberDescription& d) const {
    bitmap::NewBitmap bitmap;
    bitmap.uuid = d.bitmap_uuid;
    bitmap.events = first_events;  // the array's: behind it, the kernel would call it stale, as it does mdadm's of 0.90
    bitmap.sync_size = places_.sync_size;
    bitmap.chunk_bytes = places_.bitmap_chunk_bytes;
    return bitmap;
  }

  std::vector<std::byte> internal_bitmap(const MemberDescription& d) const {
    bitmap::NewBitmap bitmap = new_bitmap(d);
    if (task_.bitmap == Bitmap::lockless) {
      bitmap.sectors_reserved = bitmap::lockless_room_sectors;
      // Zeroed members, too, become Clean as after mdadm's --write-zeroes, not CleanUnwritten: a recovery would skip
      // that on a new member, whose content nobody knows, once a discard has taken chunk 0.
      return bitmap::first_use_lockless(
          bitmap, task_.initial == Initial::resync ? bitmap::Content::unknown : bitmap::Content::assumed_clean);
    }
    bitmap.events_cleared = first_events;
    std::vector<std::byte> area = bitmap::new_classic(bitmap, bitmap::Bits::set);
    if (task_.metadata == "0.90") {
      area.resize(md0::bitmap_bytes, filler);
    }
    return area;
  }

  // No more than the kernel reads: CreateBitmap() of mdadm 4.2.
  std::vector<std::byte> file_bitmap(const MemberDescription& d) const {
    bitmap::NewBitmap bitmap = new_bitmap(d);
    bitmap.events_cleared = first_events;
    std::vector<std::byte> file = bitmap::new_classic(bitmap, bitmap::Bits::set);
    const Sectors chunk = Sectors::from_bytes(places_.bitmap_chunk_bytes);
    const std::uint64_t bits = (places_.sync_size + chunk - Sectors(1)) / chunk;
    file.resize(bitmap::header_bytes + (bits + 7) / 8);
    return file;
  }

  // All zero, an empty header in front: write_init_ppl1() of mdadm.
  static std::vector<std::byte> empty_ppl(const MemberDescription& d) {
    ppl::Header header{};
    header.reserved.fill(std::to_integer<unsigned char>(filler));
    header.signature = ppl::expected_signature(d.set_uuid);
    header.checksum = ppl::expected_checksum(header);
    std::vector<std::byte> area = ppl::encode(header);
    area.resize(d.ppl->length_bytes);
    return area;
  }

  void explain() {
    draft_.step(std::string("make a ") + level_name(task_.level).value_or("") + " array of " +
                std::to_string(task_.slots.size()) + " slots, " + task_.set_uuid.text() + ", " + geometry_text());
    for (const Placed& placed : roster_.placed()) {
      draft_.step(candidate(placed).path + ": " + slot_text(placed.role) + ", data from byte " +
                  std::to_string(places_.data_offset.bytes()) + " on");
    }
    explain_old_content();
    explain_areas();
    explain_sizes();
    explain_initial();
  }

  std::string geometry_text() const {
    std::string text = task_.metadata + " metadata";
    if (const auto name = layout_name(task_.level, places_.layout)) {
      text += ", layout " + *name;
    }
    if (!places_.chunk.is_zero()) {
      text += ", chunks of " + bytes_text(places_.chunk);
    }
    if (task_.level > 0) {
      text += ", " + bytes_text(places_.size) + " of each member";
    }
    std::vector<Sectors> data_sizes;
    for (const Placed& placed : roster_.placed()) {
      data_sizes.push_back(data_size(placed));
    }
    return text + ": " + bytes_text(array_size(task_, places_, data_sizes));
  }

  void explain_areas() {
    const std::string chunk = std::to_string(places_.bitmap_chunk_bytes) + " bytes";
    switch (task_.bitmap) {
      case Bitmap::none:
        break;
      case Bitmap::internal:
        draft_.step("write a bitmap with chunks of " + chunk + " to every member");
        break;
      case Bitmap::lockless:
        draft_.step("write the header of a lockless bitmap to every member");
        break;
      case Bitmap::file:
        draft_.step("write a bitmap with chunks of " + chunk + " to the file " + task_.bitmap_file);
        draft_.cost("nothing on the members says that there is a bitmap in " + task_.bitmap_file +
                    ": it counts only where it is named; mdadm up to 4.2 can, later ones cannot");
        break;
    }
    if (task_.ppl) {
      draft_.step("write an empty partial parity log to every member");
    }
    if (places_.bitmap_reach > places_.bitmap_area) {
      draft_.find({Severity::note, "bad-block-log-moved", "bblog_offset",
                   "mdadm would put the bad-block log where this lockless bitmap has its states; here it lies behind "
                   "them, or there is none where the data follows",
                   Effect::none});
    }
  }

  void explain_old_content() {
    for (const Placed& placed : roster_.placed()) {
      for (const std::string& content : placed.member->content) {
        draft_.cost(candidate(placed).path + ": the " + content + " is overwritten by the array's use");
      }
      for (const FoundSuperblock& found : candidate(placed).superblocks) {
        draft_.step("remove the " + found.description.metadata + " superblock of array " +
                    found.description.set_uuid.text() + " from " + candidate(placed).path);
        draft_.cost(candidate(placed).path + ": no longer a member of array " + found.description.set_uuid.text());
      }
    }
    if (task_.initial == Initial::zeroed) {
      draft_.cost(
          "all that the members hold where the array's data will be is overwritten with zeroes; no undo "
          "brings it back");
    }
  }

  // mdadm asks here.
  void explain_sizes() {
    constexpr std::uint64_t percent = 100;
    const Sectors largest = places_.largest;
    if (task_.level > 0 && (largest - places_.size).count() > largest.count() / percent) {
      draft_.find({Severity::note, "members-differ", "size",
                   "the largest member has room for " + bytes_text(largest) + ", of which " + bytes_text(places_.size) +
                       " are used: more than 1 % is left over",
                   Effect::none});
    }
  }

  void explain_initial() {
    if (task_.initial == Initial::assume_clean && task_.level > 0) {
      draft_.cost(is_456(task_.level)
                      ? "parity is taken for right, and nothing is computed: that is true only where it is, as on "
                        "members full of zeroes; elsewhere a lost member reads back wrong"
                      : "the copies are taken for equal, and nothing is copied");
    }
    explain_missing();
    if (roster_.moved() != nullptr) {
      draft_.next("the array starts with two slots empty; the kernel then fills one with " +
                  roster_.moved()->candidate->path);
    } else if (!starts_clean(task_)) {
      draft_.next(resync_text());
    }
  }

  void explain_missing() {
    std::string slots;
    for (std::size_t slot = 0; slot < task_.slots.size(); ++slot) {
      if (task_.slots[slot].candidate == nullptr) {
        slots += (slots.empty() ? "" : ", ") + std::to_string(slot);
      }
    }
    if (slots.empty()) {
      return;
    }
    draft_.find({Severity::warning, "created-degraded", "", "without a member: slot " + slots, Effect::none,
                 "mdtool add makes further members spares, and the kernel fills them"});
    if (task_.bitmap == Bitmap::lockless && is_456(task_.level)) {
      draft_.find({Severity::warning, "lockless-degraded", "",
                   "a member that is added later is not filled where nothing was written yet; kernels that zeroed the "
                   "others at their first start count its parity as right all the same",
                   Effect::none});
    }
  }

  std::string resync_text() const {
    if (task_.bitmap == Bitmap::lockless) {
      return "nothing is synchronised beforehand: what is needed is done when a chunk is first written" +
             std::string(is_456(task_.level) ? "; mdtool build-parity does it all at once" : "") + zeroing_text();
    }
    return "a resync of " + bytes_text(places_.sync_size) + (task_.level == 10 ? " of the array" : " of every member") +
           " is due: " + (is_456(task_.level) ? "mdtool resync does it, or the kernel" : "the kernel does it") +
           " when it first starts the array" + zeroing_text();
  }

  std::string zeroing_text() const {
    return is_456(task_.level) ? "; mdtool zero-init zeroes all instead, which makes parity right" : "";
  }

  const CreateTask& task_;
  const NewPlaces& places_;
  const Roster roster_;
  NewArray array_;
  EditDraft draft_;
};

}  // namespace

Result<EditPlan> plan_create(const CreateTask& task) {
  TRY(possible, check_task(task));
  TRY(members, check_members(task));
  TRY(places, choose_places(task));
  return Creator(task, places).plan();
}

}  // namespace mdtool
