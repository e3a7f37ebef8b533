// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool copy: an array's content to a file; what cannot be read is zero there, and named.
#include <algorithm>

#include "cli/command.h"
#include "cli/output_file.h"
#include "cli/output_json.h"
#include "cli/output_text.h"
#include "cli/reading.h"

namespace mdtool::cli {

namespace {

constexpr std::size_t piece_bytes = std::size_t{1} << 20;
constexpr std::size_t smallest_bytes = 4096;  // what is given up at once where reading fails
constexpr const char* overwrite = "overwrite";

struct Copied {
  std::uint64_t read_bytes = 0;
  std::uint64_t written_bytes = 0;
  std::vector<SectorRange> unreadable;
};

void add_unreadable(std::vector<SectorRange>& ranges, std::uint64_t offset_bytes, std::size_t length_bytes) {
  const Sectors first = Sectors::from_bytes(offset_bytes);
  const Sectors count = Sectors::from_bytes(length_bytes);
  if (!ranges.empty() && ranges.back().end() == first) {
    ranges.back().count += count;
  } else {
    ranges.push_back({first, count});
  }
}

// Fills `out`, with zeroes where the array cannot be read; returns those places.
std::vector<SectorRange> read_what_can_be_read(const Array& array, std::uint64_t offset_bytes,
                                               std::span<std::byte> out) {
  std::vector<SectorRange> unreadable;
  if (array.read(offset_bytes, out)) {
    return unreadable;
  }
  for (std::size_t at = 0; at < out.size(); at += smallest_bytes) {
    const auto part = out.subspan(at, std::min(smallest_bytes, out.size() - at));
    if (!array.read(offset_bytes + at, part)) {
      std::fill(part.begin(), part.end(), std::byte{0});
      add_unreadable(unreadable, offset_bytes + at, part.size());
    }
  }
  return unreadable;
}

Status copy_piece(const Array& array, OutputFile& to, std::span<std::byte> buffer, Copied& copied) {
  const std::uint64_t left = array.size_bytes() - copied.read_bytes;
  const auto piece = buffer.first(static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), left)));
  for (const SectorRange& lost : read_what_can_be_read(array, copied.read_bytes, piece)) {
    add_unreadable(copied.unreadable, lost.first.bytes(), static_cast<std::size_t>(lost.count.bytes()));
  }
  TRY(written, to.write(copied.read_bytes, piece));
  copied.read_bytes += piece.size();
  copied.written_bytes += written;
  return Done{};
}

class CopyCommand final : public Command {
 public:
  void set_up(Options& app) override {
    reading_.set_up(app, {overwrite});
    app.add_option("--to", to_, "The file that the content goes to").required();
  }

  Result<Outcome> run(const Surroundings& around) override {
    auto opened = open_array(reading_, around);
    if (auto* failed = std::get_if<OpenFailure>(&opened)) {
      return std::move(failed->outcome);
    }
    const auto& array = std::get<OpenedArray>(opened);
    Outcome outcome = reading_outcome(array);
    const auto existing = reading_.forces(overwrite) ? OutputFile::Existing::overwrite : OutputFile::Existing::refuse;
    auto to = OutputFile::create(to_, array.readable.array.size_bytes(), existing, *array.members);
    if (!to) {
      outcome.exit = exit_status::fine;
      outcome.error = std::move(to).error();
      return outcome;
    }
    Copied copied;
    const Status status = copy_all(array.readable.array, *to, around, copied);
    report(array, copied, status, outcome);
    return outcome;
  }

 private:
  Status copy_all(const Array& array, OutputFile& to, const Surroundings& around, Copied& copied) const {
    std::vector<std::byte> buffer(piece_bytes);
    Status status = Done{};
    around.progress->begin("copy", array.size_bytes());
    while (status && copied.read_bytes < array.size_bytes()) {
      status = around.interrupted() ? Status(Error{ErrorKind::interrupted, "interrupted"})
                                    : copy_piece(array, to, buffer, copied);
      around.progress->update(copied.read_bytes, copied.unreadable.size());
    }
    around.progress->end();
    const Status finished = to.finish();
    return status ? finished : status;
  }

  void report(const OpenedArray& array, const Copied& copied, const Status& status, Outcome& outcome) const {
    outcome.document["to"] = to_;
    outcome.document["bytes_copied"] = copied.read_bytes;
    outcome.document["bytes_written"] = copied.written_bytes;
    outcome.document["unreadable"] = json_of(copied.unreadable);
    outcome.exit |= copied.unreadable.empty() ? exit_status::fine : exit_status::uncorrected;
    if (!status) {
      outcome.error =
          Error(status.error()).in(to_ + " holds the first " + std::to_string(copied.read_bytes) + " bytes only");
      return;
    }
    outcome.text =
        reading_text(array) +
        labelled("copied", std::to_string(copied.read_bytes) + " bytes to " + printable(to_, terminal_charset()) +
                               ", " + std::to_string(copied.written_bytes) + " of them not in holes");
    if (!copied.unreadable.empty()) {
      outcome.text += labelled("unreadable", "zeroes in the copy:") + ranges_text(copied.unreadable);
    }
  }

  ReadingOptions reading_;
  std::string to_;
};

}  // namespace

std::unique_ptr<Command> make_copy() {
  return std::make_unique<CopyCommand>();
}

}  // namespace mdtool::cli
