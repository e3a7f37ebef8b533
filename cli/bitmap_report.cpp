// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/bitmap_report.h"

#include <algorithm>
#include <array>

#include "cli/examine_text.h"
#include "cli/output_json.h"
#include "cli/output_text.h"

namespace mdtool::cli {

namespace {

constexpr std::size_t ranges_listed = 65536;      // in JSON, of a picture
constexpr std::size_t differences_listed = 4096;  // in JSON, of a copy
constexpr std::size_t differences_shown = 5;      // in text, of a copy
constexpr std::int32_t level_raid10 = 10;
constexpr std::int32_t level_raid4 = 4;
constexpr std::int32_t level_raid6 = 6;

std::string_view format_word(bitmap::Kind kind) {
  return kind == bitmap::Kind::classic ? "classic" : kind == bitmap::Kind::lockless ? "lockless" : "unknown";
}

struct FlagName {
  std::uint32_t flag;
  std::string_view name;
};
constexpr std::array flag_names{
    FlagName{bitmap::state_stale, "stale"},         FlagName{bitmap::state_write_error, "write-error"},
    FlagName{bitmap::state_first_use, "first-use"}, FlagName{bitmap::state_clean, "clean"},
    FlagName{bitmap::state_daemon_busy, "busy"},    FlagName{bitmap::state_host_endian, "host-endian"},
};

std::vector<std::string> flags_of(const bitmap::Header& header) {
  std::vector<std::string> flags;
  std::uint32_t left = header.state;
  for (const FlagName& f : flag_names) {
    if ((left & f.flag) != 0) {
      flags.emplace_back(f.name);
      left &= ~f.flag;
    }
  }
  if (left != 0) {
    flags.push_back("unknown bits " + std::to_string(left));
  }
  return flags;
}

std::string chunks_text(std::uint64_t chunks) {
  return std::to_string(chunks) + (chunks == 1 ? " chunk" : " chunks");
}

std::string flags_text(const bitmap::Header& header) {
  std::string text;
  for (const std::string& flag : flags_of(header)) {
    text += (text.empty() ? "" : ", ") + flag;
  }
  return text.empty() ? "none" : text;
}

const Candidate& candidate_of(const BitmapReport& report, const MemberBitmap& copy) {
  return *report.array->members[copy.member].candidate;
}

std::uint64_t used_bytes(const BitmapView& view) {
  return view.classic ? view.classic->used_bytes() : view.lockless ? view.lockless->used_bytes() : 0;
}

// A lockless bitmap brings its own room.
std::uint64_t room_bytes(const BitmapView& view) {
  const bool own = view.lockless && view.lockless->header().sectors_reserved != 0;
  return own ? Sectors(view.lockless->header().sectors_reserved).bytes() : view.expected.room_bytes;
}

Json counts_json(const ChunkMarks& marks) {
  const MarkCounts counts = counts_of(marks);
  Json json = Json::object();
  for (std::size_t i = 0; i < counts.size(); ++i) {
    json[std::string(chunk_mark_name(static_cast<ChunkMark>(i)))] = counts[i];
  }
  return json;
}

std::string counts_text(const ChunkMarks& marks) {
  const MarkCounts counts = counts_of(marks);
  std::string text;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] != 0) {
      text += (text.empty() ? "" : ", ") + std::to_string(counts[i]) + " " +
              std::string(chunk_mark_name(static_cast<ChunkMark>(i)));
    }
  }
  return text.empty() ? "no chunks" : text;
}

Json header_json(const std::optional<bitmap::Header>& header) {
  if (!header) {
    return nullptr;
  }
  return {{"uuid", Uuid{header->uuid}.text()},
          {"events", header->events.value()},
          {"events_cleared", header->events_cleared.value()},
          {"daemon_sleep_seconds", header->daemon_sleep.value()},
          {"write_behind", header->write_behind.value()},
          {"flags", flags_of(*header)}};
}

Json range_json(std::uint64_t first, std::uint64_t count, const BitmapView& view) {
  const ChunkBytes bytes = bytes_of(first, count, view.chunk(), view.expected.sync_size);
  return {{"first_chunk", first},
          {"chunks", count},
          {"offset_bytes", bytes.offset_bytes},
          {"length_bytes", bytes.length_bytes}};
}

std::optional<ChunkDifferences> differences_of(const MemberBitmap& copy, const BitmapView& view) {
  const auto own = copy.marks();
  const auto merged = ChunkMarks::of(view);
  if (!own || !merged || !own->comparable(*merged)) {
    return std::nullopt;
  }
  return differences(*own, *merged, differences_listed);
}

Json differences_json(const ChunkDifferences& found, const BitmapView& view) {
  Json list = Json::array();
  for (const ChunkDifference& d : found.listed) {
    Json json = range_json(d.first, d.count, view);
    json["state"] = chunk_mark_name(d.own);
    json["merged_state"] = chunk_mark_name(d.merged);
    list.push_back(std::move(json));
  }
  return list;
}

Json copy_json(const BitmapReport& report, const MemberBitmap& copy) {
  const Member& member = report.array->members[copy.member];
  const auto marks = copy.marks();
  const auto found = differences_of(copy, report.view);
  return {{"path", member.candidate->path},
          {"slot", member.slot ? Json(*member.slot) : Json(nullptr)},
          {"member_state", member_state_name(member.state)},
          {"used", copy.ignored.empty()},
          {"ignored", copy.ignored.empty() ? Json(nullptr) : Json(copy.ignored)},
          {"trust", trust_name(copy.trust)},
          {"version", copy.header ? Json(copy.header->version.value()) : Json(nullptr)},
          {"header", header_json(copy.header)},
          {"states", marks ? counts_json(*marks) : Json(nullptr)},
          {"differing_chunks", found ? Json(found->chunks) : Json(nullptr)},
          {"differences", found ? differences_json(*found, report.view) : Json::array()},
          {"differences_left_out", found ? found->left_out : 0}};
}

std::vector<std::string> copy_row(const BitmapReport& report, const MemberBitmap& copy) {
  const Member& member = report.array->members[copy.member];
  const auto marks = copy.marks();
  const auto found = differences_of(copy, report.view);
  std::uint64_t due = 0;
  for (std::uint64_t chunk = 0; marks && chunk < marks->chunks(); ++chunk) {
    due += is_due(marks->at(chunk)) ? 1 : 0;
  }
  return {member.slot ? std::to_string(*member.slot) : "-",
          copy.header ? std::to_string(copy.header->events) : "-",
          copy.header ? std::to_string(copy.header->events_cleared) : "-",
          marks ? std::to_string(due) : "-",
          found ? std::to_string(found->chunks) : "-",
          copy.ignored.empty() ? "yes" : "no",
          printable(member.candidate->path, terminal_charset())};
}

std::string differences_text(const MemberBitmap& copy, const BitmapReport& report) {
  const auto found = differences_of(copy, report.view);
  std::string text;
  for (std::size_t i = 0; found && i < std::min(found->listed.size(), differences_shown); ++i) {
    const ChunkDifference& d = found->listed[i];
    const ChunkBytes bytes = bytes_of(d.first, d.count, report.view.chunk(), report.view.expected.sync_size);
    text += folded("bytes " + std::to_string(bytes.offset_bytes) + " to " +
                       std::to_string(bytes.offset_bytes + std::max<std::uint64_t>(bytes.length_bytes, 1) - 1) + " (" +
                       human_size(bytes.length_bytes) + "): " + std::string(chunk_mark_name(d.own)) + " here, " +
                       std::string(chunk_mark_name(d.merged)) + " together",
                   10, "        ");
  }
  if (found && found->listed.size() + found->left_out > differences_shown) {
    text += "        and " + std::to_string(found->listed.size() + found->left_out - differences_shown) +
            " more (--json lists them)\n";
  }
  return text;
}

std::string copies_text(const BitmapReport& report) {
  std::vector<std::vector<std::string>> rows{{"slot", "events", "cleared", "due", "differs", "used", "copy on"}};
  std::string notes;
  for (const MemberBitmap& copy : report.copies) {
    rows.push_back(copy_row(report, copy));
    const std::string path = printable(candidate_of(report, copy).path, terminal_charset());
    const std::string differing = differences_text(copy, report);
    if (!copy.ignored.empty()) {
      notes += folded(path + " is not used: " + printable(copy.ignored, terminal_charset()), 6, "    ");
    } else if (!differing.empty()) {
      notes += folded(path + " differs from what the copies say together:", 6, "    ");
    }
    notes += differing;
  }
  return report.copies.empty() ? "" : table(rows, 4) + notes;
}

std::string header_text(const BitmapReport& report, const bitmap::Header& header) {
  const std::string array_events =
      report.array == nullptr ? "" : "; the array's are " + std::to_string(report.array->array().events);
  std::string text = labelled("uuid", Uuid{header.uuid}.text());
  text += labelled("events", std::to_string(header.events) + ", bits cleared up to " +
                                 std::to_string(header.events_cleared) + array_events);
  text += labelled("daemon", "every " + std::to_string(header.daemon_sleep) + " s; write-behind " +
                                 (header.write_behind == 0 ? "off" : "of " + std::to_string(header.write_behind)));
  return text + labelled("flags", flags_text(header));
}

std::string content_text(const BitmapReport& report, const ChunkMarks& marks) {
  const BitmapView& view = report.view;
  const Due due = due_in(view);
  std::string text =
      labelled("chunks", std::to_string(marks.chunks()) + " of " + human_size(marks.chunk().bytes()) + ", over " +
                             human_size(view.expected.sync_size.bytes()) + ", in " + std::string(report.counted()));
  text +=
      labelled("room", human_size(room_bytes(view)) + ", " + std::to_string(used_bytes(view)) + " bytes of it used");
  text += labelled("states", counts_text(marks));
  text += labelled("due", due.chunks == 0 ? "nothing"
                                          : chunks_text(due.chunks) + ", " + human_size(due.bytes) + " (" +
                                                std::to_string(due.bytes) + " bytes)");
  const std::uint64_t differing = report.differing_chunks();
  return text + labelled("copies", differing == 0 ? "say the same" : "differ in " + chunks_text(differing));
}

// What Linux 7.2 leaves behind now and then: md-llbitmap.c.
std::string promises_text(const Assembly* array) {
  const bool parity = array != nullptr && array->array().level >= level_raid4 && array->array().level <= level_raid6;
  return std::string("clean, clean_unwritten and unwritten are the kernel's word, which has known holes") +
         (parity ? ": mdtool bitmap check looks" : "");
}

std::string title_text(const BitmapReport& report) {
  if (report.array == nullptr) {
    return printable(report.file, terminal_charset()) + ": a bitmap file\n";
  }
  const MemberDescription& d = report.array->array();
  const std::string name = d.set_name.empty() ? "" : labelled("name", printable(d.set_name, terminal_charset()));
  return "array " + d.set_uuid.text() + ":\n" + name + labelled("shape", shape_text(*report.array));
}

std::string cures_text(const BitmapView& view) {
  std::string text;
  for (const std::string& cure : view.cures) {
    text += labelled("cure", printable(cure, terminal_charset()));
  }
  return text;
}

}  // namespace

std::uint64_t BitmapReport::differing_chunks() const {
  return static_cast<std::uint64_t>(std::count(differing.begin(), differing.end(), true));
}

std::string_view BitmapReport::counted() const {
  if (array == nullptr) {
    return "bytes of what the bitmap covers";
  }
  return array->array().level == level_raid10 ? "bytes of the array" : "bytes of every member's data";
}

BitmapReport report_of(const Assembly& array) {
  BitmapReport report{&array, "", array.bitmap, member_bitmaps(array), {}};
  report.differing = differing_chunks(report.view, report.copies);
  return report;
}

std::optional<BitmapReport> report_of_file(const Candidate& candidate) {
  const auto header = bitmap::read_header(*candidate.metadata, 0);
  if (!header) {
    return std::nullopt;
  }
  // Nothing else is known of its array: it is taken at its word.
  const bitmap::Expected expected{.uuid = Uuid{header->uuid},
                                  .events = header->events,
                                  .sync_size = Sectors(header->sync_size),
                                  .room_bytes = candidate.metadata->size_bytes(),
                                  .raid456 = true};
  const BitmapCopy place{0, candidate.path, candidate.metadata, 0, candidate.metadata->size_bytes()};
  return BitmapReport{nullptr, candidate.path, view_bitmap({place}, expected, bitmap::Kind::none), {}, {}};
}

int exit_status_of(const BitmapReport& report) {
  const BitmapView& view = report.view;
  if (view.trust == Trust::absent || view.trust == Trust::rejected) {
    return exit_status::uncorrected;
  }
  const bool attention = due_in(view).chunks != 0 || report.differing_chunks() != 0;
  return attention ? exit_status::attention : exit_status::fine;
}

std::string report_text(const BitmapReport& report) {
  const BitmapView& view = report.view;
  std::string text = title_text(report);
  if (view.trust == Trust::absent) {
    return text + labelled("bitmap", "none");
  }
  text += labelled("bitmap", std::string(format_word(view.kind)) + " (version " + std::to_string(view.version) + ")");
  text +=
      labelled("trust", std::string(trust_name(view.trust)) + ": " + printable(trust_reason(view), terminal_charset()));
  if (const auto header = header_of(view, report.copies)) {
    text += header_text(report, *header);
  }
  if (const auto marks = ChunkMarks::of(view)) {
    text += content_text(report, *marks);
  }
  if (view.kind == bitmap::Kind::lockless) {
    text += labelled("promises", promises_text(report.array));
  }
  return text + copies_text(report) + cures_text(view);
}

Json json_of(const BitmapReport& report) {
  const BitmapView& view = report.view;
  Json json = Json::object();
  json[report.array == nullptr ? "path" : "array"] =
      report.array == nullptr ? Json(report.file) : json_summary(*report.array);
  if (view.trust == Trust::absent) {
    json["bitmap"] = nullptr;
    return json;
  }
  const auto marks = ChunkMarks::of(view);
  const Due due = due_in(view);
  Json copies = Json::array();
  for (const MemberBitmap& copy : report.copies) {
    copies.push_back(copy_json(report, copy));
  }
  const bool of_array = report.array != nullptr && report.array->array().level == level_raid10;
  json["bitmap"] = {{"format", format_word(view.kind)},
                    {"version", view.version},
                    {"trust", trust_name(view.trust)},
                    {"trust_reason", trust_reason(view)},
                    {"header", header_json(header_of(view, report.copies))},
                    {"array_events", report.array == nullptr ? Json(nullptr) : Json(report.array->array().events)},
                    {"sync_range", report.array == nullptr ? Json(nullptr) : Json(of_array ? "array" : "member")},
                    {"sync_bytes", marks ? Json(view.expected.sync_size.bytes()) : Json(nullptr)},
                    {"chunk_bytes", marks ? Json(marks->chunk().bytes()) : Json(nullptr)},
                    {"chunks", marks ? Json(marks->chunks()) : Json(nullptr)},
                    {"room_bytes", room_bytes(view)},
                    {"used_bytes", marks ? Json(used_bytes(view)) : Json(nullptr)},
                    {"states", marks ? counts_json(*marks) : Json(nullptr)},
                    {"due_chunks", marks ? Json(due.chunks) : Json(nullptr)},
                    {"due_bytes", marks ? Json(due.bytes) : Json(nullptr)},
                    {"differing_chunks", report.differing_chunks()},
                    {"copies", copies},
                    {"cures", view.cures}};
  return json;
}

Result<BitmapPicture> picture_of(const BitmapReport& report, const MemberBitmap* copy) {
  const auto marks = copy == nullptr ? ChunkMarks::of(report.view) : copy->marks();
  if (!marks) {
    return Error{ErrorKind::format, (copy == nullptr ? "the bitmap" : "the copy") +
                                        std::string(" has no content that could be read: ") +
                                        (copy == nullptr ? trust_reason(report.view) : copy->ignored)};
  }
  const std::string of = report.array == nullptr ? report.file : "array " + report.array->array().set_uuid.text();
  const Trust trust = copy == nullptr ? report.view.trust : copy->trust;
  return BitmapPicture{of + ", " + std::string(format_word(report.view.kind)) + " bitmap" +
                           (copy == nullptr ? "" : ", the copy on " + candidate_of(report, *copy).path) +
                           (trust == Trust::believed ? "" : " (" + std::string(trust_name(trust)) + ")"),
                       std::string(report.counted()), *marks, report.view.expected.sync_size,
                       copy == nullptr ? report.differing : std::vector<bool>{}};
}

Json ranges_json(const BitmapPicture& picture) {
  Json list = Json::array();
  for (const ChunkRange& range : ranges_of(picture.marks, ranges_listed).listed) {
    const ChunkBytes bytes = bytes_of(range.first, range.count, picture.marks.chunk(), picture.sync_size);
    list.push_back({{"first_chunk", range.first},
                    {"chunks", range.count},
                    {"offset_bytes", bytes.offset_bytes},
                    {"length_bytes", bytes.length_bytes},
                    {"state", chunk_mark_name(range.mark)}});
  }
  return list;
}

std::uint64_t ranges_left_out(const BitmapPicture& picture) {
  return ranges_of(picture.marks, ranges_listed).left_out;
}

}  // namespace mdtool::cli
