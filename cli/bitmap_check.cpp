// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/bitmap_check.h"

#include <algorithm>
#include <array>

#include "cli/output_text.h"
#include "cli/watched_run.h"
#include "libraid/assemble/bitmap_doubts.h"
#include "libraid/assemble/bitmap_ranges.h"
#include "libraid/assemble/shell_word.h"

namespace mdtool::cli {

namespace {

constexpr std::size_t ranges_shown = 20;  // in text, of each kind; JSON has them all

// Chunks side by side with the same doubt.
struct DoubtfulRange {
  Doubt doubt = Doubt::wrong_parity_clean;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};

// md-llbitmap.c and raid5.c in Linux 7.2, where these come from.
struct Meaning {
  Doubt doubt;
  ChunkMark mark;
  std::string_view sentence;
};
constexpr std::array meanings{
    Meaning{Doubt::wrong_parity_clean, ChunkMark::clean,
            "Clean, but the parity does not fit the data. Linux may end a sync after the first 4 KiB of a chunk and "
            "call all of the chunk Clean. A member that is lost now would be read back wrong there."},
    Meaning{Doubt::wrong_parity_clean_unwritten, ChunkMark::clean_unwritten,
            "CleanUnwritten, but the parity does not fit what is there. Linux leaves such chunks out when it fills a "
            "replaced member, or the spare that mdadm makes of the last member at creation: on that member is still "
            "what was there before."},
    Meaning{Doubt::data_in_unwritten, ChunkMark::unwritten,
            "Unwritten, but the data blocks are not zero. Linux calls a chunk Unwritten even if a discard covered only "
            "a part of it, and then leaves it out of every rebuild. (It is harmless where the members held something "
            "before the array was made and nothing was written since; nothing on disk tells the two apart.)"},
};

const Meaning& meaning_of(Doubt doubt) {
  return *std::find_if(meanings.begin(), meanings.end(), [&](const Meaning& m) { return m.doubt == doubt; });
}

std::vector<DoubtfulRange> ranges_in(const DoubtReport& report) {
  std::vector<DoubtfulRange> ranges;
  for (const DoubtfulChunk& c : report.chunks) {
    if (!ranges.empty() && ranges.back().doubt == c.doubt && ranges.back().last + 1 == c.chunk) {
      ranges.back().last = c.chunk;
    } else {
      ranges.push_back({c.doubt, c.chunk, c.chunk});
    }
  }
  return ranges;
}

ChunkBytes bytes_in(const DoubtfulRange& range, const BitmapView& view) {
  return bytes_of(range.first, range.last - range.first + 1, view.chunk(), view.expected.sync_size);
}

// Of each member: what the check reads.
std::uint64_t bytes_to_read(const BitmapView& view) {
  const auto marks = ChunkMarks::of(view);
  std::uint64_t bytes = 0;
  for (std::uint64_t chunk = 0; marks && chunk < marks->chunks(); ++chunk) {
    const auto is_marked = [&](const Meaning& m) { return m.mark == marks->at(chunk); };
    if (std::any_of(meanings.begin(), meanings.end(), is_marked)) {
      bytes += bytes_of(chunk, 1, view.chunk(), view.expected.sync_size).length_bytes;
    }
  }
  return bytes;
}

std::string cure_for(const Assembly& array) {
  std::string command = "mdtool build-parity --all";
  for (const Member& member : array.members) {
    command += member.candidate == nullptr ? "" : " " + quoted(member.candidate->path);
  }
  return command;
}

Json doubts_json(const std::vector<DoubtfulRange>& ranges, const BitmapView& view) {
  Json list = Json::array();
  for (const DoubtfulRange& range : ranges) {
    const ChunkBytes bytes = bytes_in(range, view);
    list.push_back({{"kind", doubt_name(range.doubt)},
                    {"state", chunk_mark_name(meaning_of(range.doubt).mark)},
                    {"first_chunk", range.first},
                    {"last_chunk", range.last},
                    {"offset_bytes", bytes.offset_bytes},
                    {"length_bytes", bytes.length_bytes}});
  }
  return list;
}

std::string range_text(const DoubtfulRange& range, const BitmapView& view) {
  const ChunkBytes bytes = bytes_in(range, view);
  const std::string chunks = range.first == range.last
                                 ? "chunk " + std::to_string(range.first)
                                 : "chunks " + std::to_string(range.first) + " to " + std::to_string(range.last);
  return "    " + chunks + ": bytes " + std::to_string(bytes.offset_bytes) + " + " +
         std::to_string(bytes.length_bytes) + "\n";
}

std::string doubt_text(const Meaning& meaning, const std::vector<DoubtfulRange>& ranges, const BitmapView& view) {
  std::string list;
  std::uint64_t chunks = 0;
  std::size_t count = 0;
  for (const DoubtfulRange& range : ranges) {
    if (range.doubt == meaning.doubt) {
      chunks += range.last - range.first + 1;
      list += ++count > ranges_shown ? "" : range_text(range, view);
    }
  }
  if (count == 0) {
    return "";
  }
  if (count > ranges_shown) {
    list += "    and " + std::to_string(count - ranges_shown) + " more (--json lists all)\n";
  }
  return folded(std::to_string(chunks) + (chunks == 1 ? " chunk: " : " chunks: ") + std::string(meaning.sentence), 2,
                "") +
         list;
}

std::string report_text(const DoubtReport& report, const std::vector<DoubtfulRange>& ranges, const Assembly& array) {
  std::string text;
  for (const Meaning& meaning : meanings) {
    text += doubt_text(meaning, ranges, array.bitmap);
  }
  const std::string read = std::to_string(report.chunks_read) + " of " + std::to_string(array.bitmap.chunks()) +
                           " chunks were read, in bytes of every member's data";
  text += folded("bitmap check: " + read + (ranges.empty() ? "; nothing contradicts their states" : ""), 2, "");
  if (report.interrupted) {
    text += "bitmap check: interrupted; of the rest nothing is known\n";
  }
  return ranges.empty()
             ? text
             : text + "Next: compute the parity there anew, from the data\n" + command_text(cure_for(array), 4, "  ");
}

Status tell(const Assembly& array, const Surroundings& around, Outcome& outcome) {
  const auto report = [&] {
    const WatchedRun watched(around, "bitmap check", bytes_to_read(array.bitmap));
    return find_doubts(array, *around.kernels, watched.run());
  }();
  if (!report) {
    return report.error();
  }
  const std::vector<DoubtfulRange> ranges = ranges_in(*report);
  outcome.document["doubts"] = doubts_json(ranges, array.bitmap);
  outcome.document["chunks"] = array.bitmap.chunks();
  outcome.document["chunks_read"] = report->chunks_read;
  outcome.document["interrupted"] = report->interrupted;
  outcome.document["cure"] = ranges.empty() ? Json(nullptr) : Json(cure_for(array));
  outcome.exit |= ranges.empty() ? exit_status::fine : exit_status::uncorrected;
  outcome.exit |= report->interrupted ? exit_status::interrupted : exit_status::fine;
  outcome.text = report_text(*report, ranges, array);
  return Done{};
}

}  // namespace

Outcome check_bitmap(const MemberSet& members, const std::optional<Uuid>& uuid, const Surroundings& around) {
  Outcome outcome;
  auto array = one_array(members, {}, uuid);
  if (!array) {
    outcome.findings = members.findings();
    outcome.error = std::move(array).error();
    return outcome;
  }
  outcome.findings = findings_of(members, std::span(&*array, 1));
  outcome.document["array"] = {{"uuid", array->array().set_uuid.text()}};
  if (auto told = tell(*array, around, outcome); !told) {
    outcome.error = std::move(told).error();
  }
  return outcome;
}

}  // namespace mdtool::cli
