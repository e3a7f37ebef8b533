// SPDX-License-Identifier: GPL-2.0-or-later
#include <charconv>

#include "cli/command.h"
#include "cli/write_access.h"

namespace mdtool::cli {

namespace {

// Where a member was, as WriteAccess wrote it into the undo file.
Result<Origin> origin_of(const UndoMember& member) {
  Origin origin;
  origin.file = member.path;
  origin.size_bytes = member.size_bytes;
  const char* end = member.identity.data() + member.identity.size();
  const auto parsed = std::from_chars(member.identity.data(), end, origin.offset_bytes);
  if (parsed.ec != std::errc() || parsed.ptr != end) {
    return Error{ErrorKind::format, member.path + ": the undo file does not say where on it the member starts"};
  }
  TRY(identity, identify(member.path));
  origin.identity = identity;
  return origin;
}

class UndoCommand final : public Command {
 public:
  void set_up(CLI::App& app) override {
    app.add_option("file", file_, "The undo file that a run of mdtool left")->required();
    app.add_flag("-n,--dry-run", dry_run_, "Print what would be put back and write nothing");
    app.add_flag("-y,--yes", yes_, "Do not ask");
  }

  Result<Outcome> run(const Surroundings& around) override {
    TRY(contents, read_undo_file(file_));
    TRY(records, plan(contents));
    Outcome outcome;
    outcome.document = document(contents, records);
    if (contents.tail_dropped) {
      outcome.findings.push_back({file_,
                                  {Severity::note, "undo-tail-dropped", "",
                                   "the last record is torn: what it announced was never written", Effect::none}});
    }
    if (records.empty()) {
      outcome.text = "undo: the members are as they were before; nothing was written\n";
      return outcome;
    }
    const std::string text = describe(contents, records);
    if (dry_run_) {
      outcome.text = text;
      return outcome;
    }
    if (!yes_) {
      TRY(confirmed, around.confirm(text + "Go on?"));
    }
    TRY(done, put_back(contents, records));
    outcome.document["written"] = true;
    outcome.text = text + "undo: done\n";
    return outcome;
  }

 private:
  // What there is to write, as the members are now.
  static Result<std::vector<UndoRecord>> plan(const UndoContents& contents) {
    std::vector<std::unique_ptr<FileDevice>> devices;
    std::vector<std::unique_ptr<UncachedSource>> uncached;
    std::vector<SourceSlice> slices;
    for (const UndoMember& member : contents.members) {
      TRY(origin, origin_of(member));
      TRY(device, FileDevice::open(member.path, Access::read_only));
      devices.push_back(std::move(device));
      uncached.push_back(std::make_unique<UncachedSource>(*devices.back()));
      TRY(slice, SourceSlice::of(*uncached.back(), origin.offset_bytes, origin.size_bytes).in(member.path));
      slices.push_back(slice);
    }
    std::vector<const Source*> sources;
    for (const SourceSlice& slice : slices) {
      sources.push_back(&slice);
    }
    return undo_plan(contents, sources);
  }

  static Status put_back(const UndoContents& contents, const std::vector<UndoRecord>& records) {
    WriteAccess access;
    for (std::uint32_t i = 0; i < contents.members.size(); ++i) {
      std::vector<PlannedExtent> extents;
      for (const UndoRecord& r : records) {
        if (r.member == i) {
          extents.push_back({r.offset_bytes, r.before.size(), "metadata"});
        }
      }
      TRY(origin, origin_of(contents.members[i]));
      TRY(added, access.add(origin, contents.members[i].path, std::move(extents)));
    }
    for (const UndoRecord& r : records) {
      const WritableMember& m = access.members()[r.member];
      TRY(now, read_bytes(*m.past_cache, r.offset_bytes, r.before.size()).in(m.path));
      if (now != r.before) {
        return Error{ErrorKind::refused, m.path + ": changed since it was looked at"};
      }
      TRY(written, m.device->write_verified(r.offset_bytes, r.after, *m.past_cache).in(m.path));
    }
    return Done{};
  }

  static std::string describe(const UndoContents& contents, const std::vector<UndoRecord>& records) {
    std::string text = "To be put back, as it was before \"" + contents.command_line + "\":\n";
    for (const UndoRecord& r : records) {
      text += "  " + contents.members[r.member].path + ": " + std::to_string(r.before.size()) + " bytes at byte " +
              std::to_string(r.offset_bytes) + "\n";
    }
    return text;
  }

  Json document(const UndoContents& contents, const std::vector<UndoRecord>& records) const {
    Json list = Json::array();
    for (const UndoRecord& r : records) {
      list.push_back({{"path", contents.members[r.member].path},
                      {"offset_bytes", r.offset_bytes},
                      {"length_bytes", r.before.size()}});
    }
    return {{"undo_file", file_},
            {"command_line", contents.command_line},
            {"dry_run", dry_run_},
            {"records", list},
            {"written", false}};
  }

  std::string file_;
  bool dry_run_ = false;
  bool yes_ = false;
};

}  // namespace

std::unique_ptr<Command> make_undo() {
  return std::make_unique<UndoCommand>();
}

}  // namespace mdtool::cli
