// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <functional>
#include <map>

#include "libraid/assemble/account_parts.h"
#include "libraid/geometry/layout.h"

namespace mdtool {

namespace {

// Members of one update carry one time; a clock that was set is no reason to alarm anybody.
constexpr std::uint64_t same_update_seconds = 60;
constexpr std::size_t most_findings_of_a_kind = 8;

class Contradictions {
 public:
  Contradictions(const Assembly& a, const std::vector<ViewGroup>& groups, const Account& account)
      : a_(a), groups_(groups), account_(account), members_(all_members(a)) {}

  Findings all() {
    split_brain();
    others_failed();
    different_views();
    one_event_apart();
    other_times();
    all_spare();
    shapes();
    names();
    block_size();
    lockless_on_large_blocks();
    zeroed_before_a_member_came();
    return std::move(findings_);
  }

 private:
  void find(Severity severity, std::string id, std::string field, std::string text, std::string next) {
    const auto same = [&](const Finding& f) { return f.id == id; };
    if (std::count_if(findings_.begin(), findings_.end(), same) <
        static_cast<std::ptrdiff_t>(most_findings_of_a_kind)) {
      findings_.push_back({severity, std::move(id), std::move(field), std::move(text), Effect::none, std::move(next)});
    }
  }
  std::string path(std::size_t index) const { return a_.members[index].candidate->path; }
  const MemberDescription& described(std::size_t index) const { return a_.members[index].description(); }

  void split_brain() {
    if (account_.halves.empty()) {
      return;
    }
    std::string text = "split brain: ";
    for (const auto& half : account_.halves) {
      text += (&half == account_.halves.data() ? "" : " on one side, ") + names_text(a_, half);
    }
    find(Severity::problem, "split-brain", "dev_roles",
         text +
             " on another: each was started without the other, so each may hold writes that the other lacks, and a "
             "higher event count proves nothing",
         "copy what each side holds and compare, then keep one of them: see the choices");
  }

  bool in_a_half(std::size_t index) const {
    return std::any_of(account_.halves.begin(), account_.halves.end(),
                       [&](const auto& half) { return std::find(half.begin(), half.end(), index) != half.end(); });
  }

  // Members that the viewers' superblocks have out, and that count themselves in.
  std::vector<std::size_t> called_gone_by(const ViewGroup& group) const {
    std::vector<std::size_t> gone;
    for (std::size_t i : members_) {
      const MemberDescription& d = described(i);
      if (d.role == Role::active &&
          !std::binary_search(group.dev_numbers.begin(), group.dev_numbers.end(), d.dev_number)) {
        gone.push_back(i);
      }
    }
    return gone;
  }

  void others_failed() {
    // Members that failed one after the other leave a chain of such views, of which the last says it all.
    const auto dead =
        std::find_if(groups_.begin(), groups_.end(), [&](const ViewGroup& g) { return !could_run(a_, g); });
    if (dead != groups_.end()) {
      say_cut_off(*dead, called_gone_by(*dead));
    }
    for (std::size_t i : members_) {
      if (calls_freshest_failed(i) && !in_a_half(i)) {
        find(Severity::warning, "others-failed", "dev_roles",
             path(i) + ": has as many events as the array, and in its view " + path(a_.freshest) + " has failed",
             "compare the two: mdtool examine -v " + quoted(path(i)) + " " + quoted(path(a_.freshest)));
      }
    }
  }

  void say_cut_off(const ViewGroup& group, const std::vector<std::size_t>& gone) {
    if (gone.empty()) {
      return;
    }
    const bool one = group.members.size() == 1;
    find(Severity::warning, "others-failed", "dev_roles",
         names_text(a_, group.members) + (one ? " counts" : " count") + " only slot " + slots_text(group.filled_slots) +
             " as working, too few for this level to run, and " + names_text(a_, gone) +
             " as failed or gone: such a view comes from a controller, a cable or a power supply "
             "that takes several at once",
         "check those first; then see the choices, or what the others make without it: mdtool examine" +
             arguments_text(a_, gone));
  }

  bool calls_freshest_failed(std::size_t index) const {
    const MemberDescription& d = described(index);
    const MemberDescription& fresh = a_.array();
    return a_.members[index].state == MemberState::stale && d.role == Role::active && d.events + 1 >= fresh.events &&
           d.events <= fresh.events + 1 && fresh.dev_number < d.dev_roles.size() &&
           d.dev_roles[fresh.dev_number] >= role_max_regular;
  }

  void different_views() {
    if (!account_.halves.empty()) {
      return;
    }
    std::map<std::uint64_t, std::vector<const ViewGroup*>> by_events;
    for (const ViewGroup& group : groups_) {
      std::vector<std::uint64_t> counts;
      for (std::size_t i : group.members) {
        counts.push_back(described(i).events);
      }
      std::sort(counts.begin(), counts.end());
      counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
      for (std::uint64_t events : counts) {
        by_events[events].push_back(&group);
      }
    }
    for (const auto& [events, views] : by_events) {
      if (views.size() > 1 && a_.array().level > 0) {
        say_different(events, views);
      }
    }
  }

  void say_different(std::uint64_t events, const std::vector<const ViewGroup*>& views) {
    std::string text = "superblocks of " + std::to_string(events) + " events disagree about who is in the array:";
    for (std::size_t v = 0; v < views.size() && v < most_findings_of_a_kind; ++v) {
      std::vector<std::size_t> those;
      std::copy_if(views[v]->members.begin(), views[v]->members.end(), std::back_inserter(those),
                   [&](std::size_t i) { return described(i).events == events; });
      text += (v == 0 ? " slots " : "; slots ") + slots_text(views[v]->filled_slots) + " say" +
              (those.size() == 1 ? "s " : " ") + names_text(a_, those);
    }
    find(Severity::warning, "equal-events-different-views", "dev_roles",
         text +
             "; one update writes the same to all, so an event count was forced here, or a member is from another "
             "time",
         "trust update times and bitmaps rather than events (see the table), and try each set: mdtool copy");
  }

  void one_event_apart() {
    const MemberDescription& fresh = a_.array();
    for (const Departure& left : account_.departures) {
      const MemberDescription& d = described(left.member);
      const std::uint16_t seen = d.dev_number < fresh.dev_roles.size() ? fresh.dev_roles[d.dev_number] : role_spare;
      const bool nothing_between = left.source == Departure::Source::standstill;
      if (left.events_behind != 1 || seen < role_max_regular || nothing_between) {
        continue;
      }
      const bool old_format = d.metadata == "0.90";
      const std::string kernel =
          old_format ? "the kernel looks no further with 0.90 and would take it as in sync, stale content included"
                     : "the kernel takes it back only as what the freshest superblock calls it";
      find(old_format ? Severity::problem : Severity::warning, "one-event-apart", "events",
           path(left.member) +
               ": only one event behind, but the array went on without it: events step back with every "
               "dirty-clean cycle, so that writes lie between (" +
               left.text + "); " + kernel,
           "leave it out, and let it be filled again afterwards: mdtool re-add" + arguments_text(a_, members_) +
               " --target " + quoted(path(left.member)));
    }
  }

  // One update writes one time to all; so the same events with another time are from before or after a dirty-clean
  // cycle that this member did not see, or were set by hand.
  void other_times() {
    const MemberDescription& fresh = a_.array();
    for (std::size_t i : members_) {
      const MemberDescription& d = described(i);
      const std::uint64_t apart = d.utime_seconds > fresh.utime_seconds ? d.utime_seconds - fresh.utime_seconds
                                                                        : fresh.utime_seconds - d.utime_seconds;
      const bool both_clean_one_apart = d.events + 1 == fresh.events && d.clean() && fresh.clean();
      if (a_.members[i].state == MemberState::in_sync && apart > same_update_seconds &&
          (d.events == fresh.events || both_clean_one_apart)) {
        find(Severity::warning, "same-events-other-times", "utime",
             path(i) + ": " + std::to_string(d.events) + " events where the array has " + std::to_string(fresh.events) +
                 ", but its superblock is " + duration_text(apart) +
                 (d.utime_seconds < fresh.utime_seconds ? " older" : " newer") +
                 ": an older copy of a disk that happens to have that count, or a forced one; the kernel would take "
                 "its content as in sync",
             "was it copied, restored or forced? If in doubt leave it out, and let it be filled again");
      }
    }
  }

  void all_spare() {
    const bool all =
        std::all_of(members_.begin(), members_.end(), [&](std::size_t i) { return described(i).role == Role::spare; });
    if (all && !members_.empty()) {
      find(
          Severity::problem, "all-members-spare", "dev_roles",
          "every superblock that was found calls its member a spare: no slot is known, and nothing starts",
          "are all members named? If so, give them their slots in the order that you remember, in memory first: mdtool "
          "set --slot DEV=N ... --dry-run --json > PLAN, then mdtool copy --with PLAN");
    }
  }

  void disagreement(const char* field, const char* what,
                    const std::function<std::string(const MemberDescription&)>& value) {
    std::map<std::string, std::vector<std::size_t>> by_value;
    for (std::size_t i : members_) {
      by_value[value(described(i))].push_back(i);
    }
    if (by_value.size() < 2) {
      return;
    }
    std::string text = std::string("the members disagree about the ") + what + ":";
    std::size_t shown = 0;
    for (const auto& [said, by] : by_value) {
      if (++shown <= most_findings_of_a_kind) {
        text += (shown == 1 ? " " : "; ") + said + (by.size() == 1 ? " says " : " say ") + names_text(a_, by);
      }
    }
    find(Severity::problem, "members-disagree", field, text,
         "leave out the wrong ones: mdtool examine and copy of the others alone; or try another value with mdtool set "
         "--dry-run");
  }

  void shapes() {
    const bool reshaping =
        std::any_of(members_.begin(), members_.end(), [&](std::size_t i) { return described(i).reshape.has_value(); });
    const auto number = [](std::uint64_t value) { return std::to_string(value); };
    disagreement("level", "level",
                 [](const MemberDescription& d) { return level_name(d.level).value_or(std::to_string(d.level)); });
    disagreement("ctime", "time of creation",
                 [&](const MemberDescription& d) { return "@" + number(d.ctime_seconds); });
    if (reshaping) {
      return;
    }
    disagreement("layout", "layout",
                 [&](const MemberDescription& d) { return layout_name(d.level, d.layout).value_or(number(d.layout)); });
    disagreement("chunksize", "chunk", [](const MemberDescription& d) { return size_text(d.chunk.bytes()); });
    disagreement("raid_disks", "number of slots", [&](const MemberDescription& d) { return number(d.raid_disks); });
    disagreement("size", "used size per member",
                 [&](const MemberDescription& d) { return number(d.size.count()) + " sectors"; });
  }

  void names() {
    const auto differs = [&](std::size_t i) { return described(i).set_name != a_.array().set_name; };
    std::vector<std::size_t> others;
    std::copy_if(members_.begin(), members_.end(), std::back_inserter(others), differs);
    if (!others.empty()) {
      find(Severity::note, "names-differ", "set_name",
           "the array is called \"" + a_.array().set_name + "\", but \"" + described(others.front()).set_name +
               "\" on " + names_text(a_, others) + "; the kernel does not care",
           "give them one name: mdtool set" + arguments_text(a_, members_) + " --name NAME");
    }
  }

  void block_size() {
    if (const std::uint32_t bytes = a_.array().logical_block_size; bytes != 0) {
      find(Severity::note, "logical-block-size-recorded", "logical_block_size",
           "logical_block_size is " + std::to_string(bytes) + ": kernels up to 6.18 refuse an array that carries it",
           "");
    }
  }

  // llbitmap_infect_dirty_bits() in drivers/md/md-llbitmap.c takes all of a logical block for states.
  void lockless_on_large_blocks() {
    const std::uint32_t bytes = a_.array().logical_block_size;
    const bool lockless = std::any_of(members_.begin(), members_.end(), [&](std::size_t i) {
      const MemberDescription& d = described(i);
      const auto header = d.bitmap_offset_bytes
                              ? bitmap::read_header(*a_.members[i].candidate->metadata, *d.bitmap_offset_bytes)
                              : Result<bitmap::Header>(Error{ErrorKind::format, "no bitmap"});
      return header && (bitmap::kind_of(*header) == bitmap::Kind::lockless || bitmap::overwritten_by_states(*header));
    });
    if (lockless && bytes > bitmap::lockless_states_offset) {
      find(Severity::warning, "lockless-on-large-blocks", "logical_block_size",
           "a lockless bitmap on logical blocks of " + std::to_string(bytes) +
               " bytes: its header shares a block with states, and Linux 7.2 overwrites it with states when it marks "
               "chunks side by side; the array does not start any more then",
           "use another format there: mdtool bitmap convert --bitmap=internal" + arguments_text(a_, members_));
    }
  }

  // At creation a number is its slot, but for the spare that mdadm makes of the last member, which is filled later.
  void zeroed_before_a_member_came() {
    if (!a_.bitmap.lockless || a_.bitmap.trust != Trust::believed) {
      return;
    }
    const std::uint64_t chunks =
        a_.bitmap.lockless->counts().by_state[static_cast<std::size_t>(bitmap::ChunkState::clean_unwritten)];
    std::vector<std::size_t> later;
    std::copy_if(members_.begin(), members_.end(), std::back_inserter(later), [&](std::size_t i) {
      return a_.members[i].state == MemberState::in_sync && described(i).slot != described(i).dev_number;
    });
    if (chunks != 0 && !later.empty()) {
      find(Severity::warning, "clean-unwritten-after-replacement", "dev_number",
           std::to_string(chunks) + " chunks are CleanUnwritten, and " + names_text(a_, later) +
               " came into the array after the others: the kernel leaves such chunks out when it fills a member, so "
               "that their parity may be wrong and later writes may build on that",
           "see whether it is: mdtool bitmap check" + arguments_text(a_, members_) +
               "; what is wrong is settled by mdtool build-parity --all --state=clean with the same members");
    }
  }

  const Assembly& a_;
  const std::vector<ViewGroup>& groups_;
  const Account& account_;
  std::vector<std::size_t> members_;
  Findings findings_;
};

}  // namespace

Findings contradictions_of(const Assembly& array, const std::vector<ViewGroup>& groups, const Account& account) {
  return Contradictions(array, groups, account).all();
}

}  // namespace mdtool
