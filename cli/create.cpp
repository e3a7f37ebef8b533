// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool create: a new array on files or devices, with mdadm's option words.
#include "libraid/edit/create.h"

#include <sys/random.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <limits>
#include <random>

#include "cli/create_words.h"
#include "cli/edit_command.h"
#include "cli/output_json.h"
#include "libraid/edit/sha1.h"
#include "libraid/edit/updates.h"
#include "libraid/io/signature.h"

namespace mdtool::cli {

namespace {

constexpr std::string_view missing_word = "missing";
constexpr std::string_view force_overwrite = "overwrite";
constexpr std::string_view force_old_content = "old-content";
constexpr std::string_view force_slow = "slow";
constexpr std::size_t longest_name = 31;  // set_name, with a zero byte behind it as mdadm has it
constexpr std::uint64_t most_seconds = (std::uint64_t{1} << 40) - 1;  // ctime: the low 40 bits
constexpr std::size_t homehost_begin = 8;                             // in the UUID of a 0.90 array

// The array's UUID and one for each member, drawn in the order in which they are asked for.
class Uuids {
 public:
  static Result<Uuids> of(const std::string& seed_word) {
    Uuids uuids;
    if (seed_word.empty()) {
      return uuids;
    }
    const auto seed = number_of(seed_word);
    if (!seed) {
      return Error{ErrorKind::usage, "--seed=" + seed_word + ": expected a whole number below 2^64"};
    }
    uuids.seeded_.emplace(*seed);
    return uuids;
  }

  Result<Uuid> next() {
    Uuid uuid;
    if (seeded_) {
      for (std::size_t i = 0; i < uuid.bytes.size(); ++i) {
        uuid.bytes[i] = static_cast<unsigned char>((*seeded_)() >> 56);
      }
    } else if (::getrandom(uuid.bytes.data(), uuid.bytes.size(), 0) != static_cast<ssize_t>(uuid.bytes.size())) {
      return io_error("random bytes for a UUID", errno);
    }
    return uuid;
  }

 private:
  std::optional<std::mt19937_64> seeded_;  // its numbers are fixed by the standard
};

// https://reproducible-builds.org/specs/source-date-epoch/
Result<std::uint64_t> creation_time(std::string_view metadata) {
  const char* epoch = std::getenv("SOURCE_DATE_EPOCH");
  if (epoch == nullptr || *epoch == '\0') {
    return static_cast<std::uint64_t>(std::time(nullptr));
  }
  const auto seconds = number_of(epoch);
  const std::uint64_t most = metadata == "0.90" ? std::numeric_limits<std::uint32_t>::max() : most_seconds;
  return seconds && *seconds <= most
             ? Result<std::uint64_t>(*seconds)
             : Error{ErrorKind::usage, "SOURCE_DATE_EPOCH=" + std::string(epoch) +
                                           ": expected whole seconds, at most " + std::to_string(most)};
}

// mdadm takes any byte; a control byte would reach terminals and device names.
bool is_usable_name(std::string_view name) {
  return std::none_of(name.begin(), name.end(),
                      [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; });
}

bool share_bytes(const Origin& a, const Origin& b) {
  return a.identity == b.identity && a.offset_bytes < b.offset_bytes + b.size_bytes &&
         b.offset_bytes < a.offset_bytes + a.size_bytes;
}

class CreateCommand final : public EditCommand {
 public:
  void set_up(Options& app) override {
    EditCommand::set_up(app);
    app.add_option("-l,--level", level_, "linear, 0, 1, 4, 5, 6, 10, or raid5 and so on").type_name("LEVEL").required();
    app.add_option("-n,--raid-devices", raid_devices_, "How many slots (default: all MEMBERs but the spares)")
        .type_name("N");
    app.add_option("-x,--spare-devices", spare_devices_, "How many of the last MEMBERs are spares").type_name("N");
    app.add_option("-c,--chunk", chunk_, "Chunk in KiB, or with K, M, G (default: 512)").type_name("SIZE");
    app.add_option("-p,--layout", layout_, "left-symmetric, ls, ..., n2, o2, f2, original, ...").type_name("LAYOUT");
    app.add_option("-z,--size", size_, "Used of each member, in KiB, or with K, M, G, T; or max").type_name("SIZE");
    app.add_option("--data-offset", data_offset_, "Where data begins, in KiB, or with K, M, G").type_name("SIZE");
    app.add_option("-e,--metadata", metadata_, "0.90, 1.0, 1.1, 1.2 (default)").type_name("VERSION");
    app.add_option("-b,--bitmap", bitmap_, "none (default), internal, lockless, or a file with a slash in its path")
        .type_name("BITMAP");
    app.add_option("--bitmap-chunk", bitmap_chunk_, "In KiB, or with K, M, G").type_name("SIZE");
    app.add_option("-k,--consistency-policy", policy_, "What tells which stripes to look at after a crash")
        .one_of({"resync", "bitmap", "ppl"});
    app.add_option("-N,--name", name_, "The array's name (default: none)").type_name("NAME");
    app.add_option("--homehost", homehost_, "The host that the array belongs to (default: none)").type_name("HOST");
    app.add_option("-u,--uuid", own_uuid_, "The array's UUID (default: a random one)").type_name("UUID");
    app.add_flag("--assume-clean", assume_clean_, "Take parity, or the copies, for right already");
    app.add_flag("--write-zeroes{auto}", write_zeroes_, "Zero the data first, so that parity is right")
        .one_of(zero_method_words());
    app.add_option("--seed", seed_, "Draw the UUIDs from this number: the same ones every time").type_name("N");
  }

 protected:
  std::string_view verb() const override { return "create"; }
  void add_arguments(Options& app) override {
    app.add_option("MEMBER", arguments(), "Devices, images, file@offset+size; or missing").required();
  }
  void add_uuid(Options&) override {}
  std::string dry_run_names() const override { return "--dry-run"; }
  std::vector<std::string> force_names() const override {
    return {std::string(force_old_content), std::string(force_overwrite), std::string(force_slow)};
  }
  std::vector<std::string> member_arguments() const override {
    std::vector<std::string> members = arguments();
    std::erase(members, missing_word);
    return members;
  }
  MemberSet::Partitions partitions() const override { return MemberSet::Partitions::ignored; }
  // That there is no array yet, and what is wrong with one that is going to be overwritten.
  bool worth_telling(const LocatedFinding& found) const override {
    return found.finding.id == "member-in-use" || found.finding.id == "member-unreadable" ||
           found.finding.id == "tried-in-memory";
  }
  Zeroes zeroes() const override {
    Zeroes how;
    how.method = zero_method_of(write_zeroes_);
    // Who names plain writes knows what they cost.
    const bool allowed = forces(force_slow) || how.method == ZeroMethod::write;
    how.slow = allowed ? Zeroes::Slow::allowed : Zeroes::Slow::refused;
    how.slow_allowed_by = "--force=slow or --write-zeroes=write";
    return how;
  }
  OutputFile::Existing existing_file() const override {
    return forces(force_overwrite) ? OutputFile::Existing::overwrite : OutputFile::Existing::refuse;
  }
  std::string without_member() const override { return "write missing in its place"; }
  AfterFailure after_failure() const override { return AfterFailure::put_back; }

  Result<EditPlan> plan(const MemberSet& members) const override {
    CreateTask task;
    TRY(shaped, set_shape(task));
    TRY(sized, set_sizes(task));
    TRY(guarded, set_consistency(task));
    TRY(now, creation_time(task.metadata));
    task.now_seconds = now;
    task.forces.old_content = forces(force_old_content);
    TRY(uuids, Uuids::of(seed_));
    TRY(drawn, uuids.next());
    task.set_uuid = drawn;
    TRY(named, set_identity(task));
    TRY(placed, set_members(task, members, uuids));
    return plan_create(task);
  }

  Json details(const EditPlan& plan, const PlanOutlook& outlook) const override {
    for (const ArrayChange& change : outlook.arrays()) {
      if (change.after != nullptr && in_plan(*change.after, plan)) {
        const MemberDescription& d = change.after->array();
        Json array = json_summary(*change.after);
        array["used_member_bytes"] = d.size.bytes();
        array["data_offset_bytes"] = d.data_offset.bytes();
        return {{"array", array}};
      }
    }
    return Json::object();
  }

 private:
  // The created array is on all of the plan's members, and no other is on any of them.
  static bool in_plan(const Assembly& array, const EditPlan& plan) {
    return std::any_of(array.members.begin(), array.members.end(), [&](const Member& m) {
      return m.candidate != nullptr && std::any_of(plan.members.begin(), plan.members.end(),
                                                   [&](const Candidate* c) { return c->path == m.candidate->path; });
    });
  }

  Status set_shape(CreateTask& task) const {
    TRY(level, level_of(level_));
    TRY(metadata, metadata_of(metadata_));
    task.level = level;
    task.metadata = metadata;
    if (layout_) {
      TRY(layout, layout_of(level, *layout_));
      task.layout = layout;
    }
    return Done{};
  }

  Status set_sizes(CreateTask& task) const {
    if (chunk_) {
      TRY(chunk, sectors_of("--chunk", *chunk_));
      task.chunk = chunk;
    }
    if (size_ && *size_ != "max") {
      TRY(size, sectors_of("--size", *size_));
      task.size = size;
    }
    if (data_offset_) {
      TRY(offset, sectors_of("--data-offset", *data_offset_));
      task.data_offset = offset;
    }
    if (bitmap_chunk_) {
      TRY(chunk, sectors_of("--bitmap-chunk", *bitmap_chunk_));
      task.bitmap_chunk_bytes = chunk.bytes();
    }
    return Done{};
  }

  Status set_consistency(CreateTask& task) const {
    const bool by_policy = policy_ == "bitmap" && !bitmap_;
    const std::string word = by_policy ? "internal" : bitmap_.value_or("none");
    if (word == "internal") {
      task.bitmap = CreateTask::Bitmap::internal;
    } else if (word == "lockless") {
      task.bitmap = CreateTask::Bitmap::lockless;
    } else if (word.find('/') != std::string::npos) {
      task.bitmap = CreateTask::Bitmap::file;
      task.bitmap_file = word;
    } else if (word != "none") {
      return Error{ErrorKind::usage,
                   "--bitmap=" + word + ": expected none, internal, lockless, or a file with a slash in its path"};
    }
    const bool has_bitmap = task.bitmap != CreateTask::Bitmap::none;
    if (!policy_.empty() && has_bitmap != (policy_ == "bitmap")) {
      return Error{ErrorKind::usage, "--consistency-policy=" + policy_ + " does not go with --bitmap=" + word};
    }
    task.ppl = policy_ == "ppl";
    if (assume_clean_ && !write_zeroes_.empty()) {
      return Error{ErrorKind::usage, "--assume-clean and --write-zeroes: one of both (zeroed members are clean)"};
    }
    task.initial = !write_zeroes_.empty() ? CreateTask::Initial::zeroed
                   : assume_clean_        ? CreateTask::Initial::assume_clean
                                          : CreateTask::Initial::resync;
    return Done{};
  }

  Status set_identity(CreateTask& task) const {
    const auto wanted = parse_uuid_option(own_uuid_);
    if (!wanted) {
      return wanted.error();
    }
    task.set_uuid = wanted->value_or(task.set_uuid);
    if (!is_usable_name(name_) || !is_usable_name(homehost_) || homehost_.find(':') != std::string::npos) {
      return Error{ErrorKind::usage, "--name and --homehost hold no control bytes, and a host's name no colon"};
    }
    if (task.metadata == "0.90") {
      return set_old_identity(task);
    }
    task.set_name = homehost_.empty() ? name_ : name_with_host(homehost_, name_);
    if (task.set_name.size() > longest_name) {
      return Error{ErrorKind::usage, "--name: longer than " + std::to_string(longest_name) + " bytes"};
    }
    return Done{};
  }

  // 0.90 has no name, and keeps a hash of the homehost in the last half of the UUID.
  Status set_old_identity(CreateTask& task) const {
    if (!name_.empty()) {
      return Error{ErrorKind::usage, "--name: 0.90 metadata keeps no name"};
    }
    if (!homehost_.empty() && own_uuid_.empty()) {
      const std::array<unsigned char, 20> hash = sha1(homehost_);
      for (std::size_t i = 0; i + homehost_begin < task.set_uuid.bytes.size(); ++i) {
        task.set_uuid.bytes[homehost_begin + i] = hash[i / 4 * 4 + 3 - i % 4];  // words, of which a UUID is printed
      }
    }
    return Done{};
  }

  Status set_members(CreateTask& task, const MemberSet& members, Uuids& uuids) const {
    const std::size_t given = arguments().size();
    const std::size_t spares = spare_devices_.value_or(0);
    const std::size_t slots = raid_devices_.value_or(static_cast<std::uint32_t>(given - std::min(spares, given)));
    if (slots + spares != given) {
      return Error{ErrorKind::usage, std::to_string(given) + " MEMBERs are given, for " + std::to_string(slots) +
                                         " slots and " + std::to_string(spares) +
                                         " spares (the word missing stands for a slot without a member)"};
    }
    for (std::size_t i = 0; i < given; ++i) {
      TRY(member, member_for(arguments()[i], members, uuids));
      TRY(alone, check_once(member, i, members));
      if (i >= slots && member.candidate == nullptr) {
        return Error{ErrorKind::usage, "a spare cannot be missing: leave it out"};
      }
      (i < slots ? task.slots : task.spares).push_back(std::move(member));
    }
    return check_apart(members);
  }

  // The argument at `index` is the first one for its member.
  Status check_once(const CreateMember& member, std::size_t index, const MemberSet& members) const {
    for (std::size_t i = 0; i < index && member.candidate != nullptr; ++i) {
      const std::string& earlier = arguments()[i];
      if (earlier != missing_word && *member_named(members, earlier) == member.candidate) {
        return Error{ErrorKind::refused,
                     earlier + " and " + arguments()[index] + " are the same member: each can have one place"};
      }
    }
    return Done{};
  }

  // One member given twice is one candidate; others can still lie over each other.
  static Status check_apart(const MemberSet& members) {
    const std::span all = members.candidates();
    for (std::size_t i = 0; i < all.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (share_bytes(members.origin(all[i]), members.origin(all[j]))) {
          return Error{ErrorKind::refused, all[j].path + " and " + all[i].path + " share bytes: no two members can"};
        }
      }
    }
    return Done{};
  }

  static Result<CreateMember> member_for(const std::string& argument, const MemberSet& members, Uuids& uuids) {
    CreateMember member;
    TRY(uuid, uuids.next());
    member.device_uuid = uuid;
    if (argument == missing_word) {
      return member;
    }
    std::error_code ignored;
    if (std::filesystem::is_directory(argument, ignored)) {
      return Error{ErrorKind::refused, argument + ": a directory: name its files, in the order of their slots"};
    }
    TRY(candidate, member_named(members, argument));
    const Origin& origin = members.origin(*candidate);
    if (origin.offset_bytes % Sectors::bytes_each != 0) {
      return Error{ErrorKind::refused, argument + ": begins within a sector, where no kernel can have a member"};
    }
    TRY(device, FileDevice::open(origin.file, Access::read_only));
    TRY(content, signatures(*device, origin.offset_bytes, origin.size_bytes));
    member.candidate = candidate;
    member.content = std::move(content);
    return member;
  }

  std::string level_, policy_, name_, homehost_, own_uuid_, write_zeroes_, seed_;
  std::string metadata_ = "default";
  std::optional<std::string> chunk_, layout_, size_, data_offset_, bitmap_, bitmap_chunk_;
  std::optional<std::uint32_t> raid_devices_, spare_devices_;
  bool assume_clean_ = false;
};

}  // namespace

std::unique_ptr<Command> make_create() {
  return std::make_unique<CreateCommand>();
}

}  // namespace mdtool::cli
