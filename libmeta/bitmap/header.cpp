// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/bitmap/header.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <limits>
#include <optional>
#include <string>
#include <utility>

namespace mdtool::bitmap {
namespace {

constexpr std::uint32_t min_classic_chunk_bytes = 512;

// What makes the array start again, each checked with mdadm 4.6. mdadm divides by the chunk size before it does
// anything.
std::string cure_for(const Header& header) {
  std::string cure = "; the kernel does not start the array with it: ";
  if (header.magic == magic_number && header.chunksize == 0) {
    cure += "zero the bitmap's first sector on every member (mdadm crashes on a chunk size of 0), then ";
  }
  cure += "remove it with mdadm --assemble --update=no-bitmap";
  if (kind_of(header) == Kind::lockless || overwritten_by_states(header)) {
    cure += ", and have all parity rebuilt then, as chunks that were never written have none";
  }
  return cure;
}

Finding refusal(const Header& header, std::string id, std::string field, const std::string& text) {
  return {Severity::problem, std::move(id), std::move(field), text + cure_for(header), Effect::refuses_array};
}

Finding warning(std::string id, std::string field, std::string text) {
  return {Severity::warning, std::move(id), std::move(field), std::move(text), Effect::none};
}

Finding note(std::string id, std::string field, std::string text) {
  return {Severity::note, std::move(id), std::move(field), std::move(text), Effect::none};
}

bool has_flag(const Header& header, std::uint32_t flag) {
  return (header.state & flag) != 0;
}

bool first_use(const Header& header) {
  return kind_of(header) == Kind::lockless && has_flag(header, state_first_use);
}

bool clustered(const Header& header) {
  return header.version == version_clustered && header.nodes != 0;
}

Uuid uuid_of(const Header& header) {
  return Uuid{header.uuid};
}

Error too_many(std::uint64_t chunks, std::string_view where) {
  return {ErrorKind::format, std::to_string(chunks) + " chunks do not fit into " + std::string(where)};
}

// What is wrong with the chunk size in the kernel's eyes, before any room is looked at.
std::optional<std::string> classic_chunk_fault(const Header& header) {
  const std::uint32_t bytes = header.chunksize;
  if (bytes < min_classic_chunk_bytes) {
    return "a chunk of " + std::to_string(bytes) + " bytes is less than a sector";
  }
  if (!std::has_single_bit(bytes)) {
    return "a chunk of " + std::to_string(bytes) + " bytes is no power of two";
  }
  return std::nullopt;
}

// What llbitmap_read_sb() takes as the room; the header is not subtracted from it.
Sectors lockless_room(const Header& header) {
  return Sectors(header.sectors_reserved != 0 ? header.sectors_reserved.value() : lockless_default_room_sectors);
}

std::optional<std::string> lockless_chunk_fault(const Header& header, const Expected& expected) {
  const Sectors chunk(header.chunksize);
  if (!std::has_single_bit(chunk.count())) {
    return "a chunk of " + std::to_string(chunk.count()) + " sectors is no power of two";
  }
  const Sectors room = lockless_room(header);
  if (chunks_in(expected.sync_size, chunk) > room.bytes()) {
    return "a chunk of " + std::to_string(chunk.count()) + " sectors is too small for " +
           std::to_string(expected.sync_size.count()) + " sectors and a state byte per chunk in " +
           std::to_string(room.count()) + " reserved sectors";
  }
  return std::nullopt;
}

Result<Geometry> classic_geometry(const Header& header, const Expected& expected) {
  if (auto fault = classic_chunk_fault(header)) {
    return Error{ErrorKind::format, *fault};
  }
  const Sectors chunk = Sectors::from_bytes(header.chunksize);
  const Geometry geometry{chunk, chunks_in(expected.sync_size, chunk)};
  const std::uint64_t room = std::min(expected.room_bytes, max_area_bytes);
  if (room < header_bytes || geometry.chunks > (room - header_bytes) * 8) {
    return too_many(geometry.chunks, "the bitmap's " + std::to_string(room) + " bytes");
  }
  return geometry;
}

Result<Geometry> within_area_limit(Geometry geometry) {
  if (geometry.chunks > max_area_bytes - lockless_states_offset) {
    return too_many(geometry.chunks, std::to_string(max_area_bytes) + " bytes, the largest bitmap that is read");
  }
  return geometry;
}

Result<Geometry> lockless_geometry(const Header& header, const Expected& expected) {
  if (auto fault = lockless_chunk_fault(header, expected)) {
    return Error{ErrorKind::format, *fault};
  }
  const Sectors chunk(header.chunksize);
  return within_area_limit({chunk, chunks_in(expected.sync_size, chunk)});
}

// What llbitmap_init() chooses; the header's own chunk size is mdadm's placeholder.
Result<Geometry> first_use_geometry(const Header& header, const Expected& expected) {
  const std::uint64_t room = lockless_room(header).bytes();
  std::uint64_t chunk = lockless_min_chunk_sectors;
  while (chunks_in(expected.sync_size, Sectors(chunk)) > room) {
    chunk *= 2;
    if (chunk > std::numeric_limits<std::uint32_t>::max()) {
      return too_many(chunks_in(expected.sync_size, Sectors(chunk)), std::to_string(room) + " bytes");
    }
  }
  return within_area_limit({Sectors(chunk), chunks_in(expected.sync_size, Sectors(chunk))});
}

void check_daemon_sleep(const Header& header, Findings& findings) {
  if (header.daemon_sleep == 0) {
    findings.push_back(
        refusal(header, "bitmap-daemon-sleep", "daemon_sleep", "a daemon sleep of 0 seconds is out of range"));
  }
}

// The chunk size is fine, and yet the bits have no place. The kernel does not look at this when it starts.
void check_size(const Header& header, const Expected& expected, Findings& findings) {
  const auto geometry = geometry_of(header, expected);
  if (!geometry) {
    findings.push_back({Severity::problem, "bitmap-size", "chunksize",
                        "the bitmap cannot be used: " + geometry.error().text, Effect::stops_writing});
  }
}

void check_reserved_room(const Header& header, const Expected& expected, Findings& findings) {
  const auto geometry = geometry_of(header, expected);
  if (!geometry || header.sectors_reserved == 0) {
    return;
  }
  const std::uint64_t needed = header_bytes + (geometry->chunks + 7) / 8;
  if (needed > Sectors(header.sectors_reserved).bytes()) {
    findings.push_back(warning("bitmap-sectors-reserved", "sectors_reserved",
                               std::to_string(header.sectors_reserved) + " sectors are reserved, " +
                                   std::to_string(needed) + " bytes are in use"));
  }
}

void check_classic(const Header& header, const Expected& expected, Findings& findings) {
  if (auto fault = classic_chunk_fault(header)) {
    findings.push_back(refusal(header, "bitmap-chunk-size", "chunksize", *fault));
  } else {
    check_size(header, expected, findings);
    check_reserved_room(header, expected, findings);
  }
  check_daemon_sleep(header, findings);
  if (header.write_behind > write_behind_max) {
    findings.push_back(refusal(header, "bitmap-write-behind", "write_behind",
                               "a write-behind limit of " + std::to_string(header.write_behind) +
                                   " is above the kernel's " + std::to_string(write_behind_max)));
  }
  if (header.version == version_host_endian || has_flag(header, state_host_endian)) {
    findings.push_back(note("bitmap-host-endian", "version",
                            "the bits are in the byte order of the machine that wrote them; they are read as "
                            "little-endian, which is wrong if it was big-endian"));
  }
  if (clustered(header)) {
    findings.push_back({Severity::problem, "bitmap-clustered", "nodes",
                        "a bitmap for " + std::to_string(header.nodes) +
                            " cluster nodes, of which only that of node 0 is looked at: the kernel starts the array "
                            "only inside of its cluster",
                        Effect::refuses_array});
  }
}

void check_lockless(const Header& header, const Expected& expected, Findings& findings) {
  if (first_use(header)) {
    findings.push_back(note("bitmap-first-use", "state",
                            "the header is still mdadm's own: the kernel will initialise every chunk as " +
                                std::string(has_flag(header, state_clean) ? "clean" : "unwritten") +
                                " at the next start, whatever the state bytes say now"));
    check_size(header, expected, findings);
    return;
  }
  if (auto fault = lockless_chunk_fault(header, expected)) {
    findings.push_back(refusal(header, "bitmap-chunk-size", "chunksize", *fault));
  } else {
    check_size(header, expected, findings);
  }
  check_daemon_sleep(header, findings);
}

void check_events_cleared(const Header& header, Findings& findings) {
  if (kind_of(header) == Kind::lockless && header.events_cleared != 0) {
    findings.push_back(note("bitmap-events-cleared", "events_cleared",
                            "is " + std::to_string(header.events_cleared) + "; a lockless bitmap does not use it"));
  } else if (header.events_cleared > header.events) {
    findings.push_back(warning("bitmap-events-cleared", "events_cleared",
                               "bits were cleared at " + std::to_string(header.events_cleared) +
                                   " events, later than the bitmap's own " + std::to_string(header.events)));
  }
}

void check_events(const Header& header, const Expected& expected, Findings& findings) {
  if (first_use(header)) {
    return;  // the kernel does not look at them either
  }
  if (header.events < expected.events && !clustered(header)) {
    findings.push_back(warning("bitmap-stale", "events",
                               "the bitmap saw " + std::to_string(header.events) + " of the array's " +
                                   std::to_string(expected.events) + " events: every chunk counts as dirty"));
  } else if (header.events > expected.events) {
    const bool after_a_crash = header.events - expected.events == 1;
    findings.push_back(Finding{after_a_crash ? Severity::note : Severity::warning, "bitmap-events-ahead", "events",
                               "the bitmap is at " + std::to_string(header.events) + " events, the array at " +
                                   std::to_string(expected.events) +
                                   (after_a_crash ? ", as after a crash between the two writes" : ""),
                               Effect::none});
  }
  check_events_cleared(header, findings);
}

void check_write_error(const Header& header, Findings& findings) {
  const std::string text = "the bitmap is marked as having had a write error: it missed updates";
  if (kind_of(header) == Kind::classic) {
    // The flag is loaded with the rest and makes bitmap_load() return -EIO.
    findings.push_back(refusal(header, "bitmap-write-error", "state", text));
  } else {
    findings.push_back({Severity::problem, "bitmap-write-error", "state",
                        text + ", and the kernel starts the array without marking or cleaning anything in it; every "
                               "chunk counts as dirty",
                        Effect::none});
  }
}

std::uint32_t known_flags(const Header& header) {
  if (kind_of(header) == Kind::classic) {
    return state_stale | state_write_error | state_host_endian;
  }
  const std::uint32_t initial = first_use(header) ? state_first_use | state_clean : 0;
  return state_stale | state_write_error | state_daemon_busy | initial;
}

void check_flags(const Header& header, Findings& findings) {
  if (has_flag(header, state_stale)) {
    findings.push_back(
        warning("bitmap-stale", "state", "the bitmap is marked out of date: every chunk counts as dirty"));
  }
  if (has_flag(header, state_write_error)) {
    check_write_error(header, findings);
  }
  if ((header.state & ~known_flags(header)) != 0) {
    findings.push_back(warning("bitmap-state", "state", "holds flags that have no meaning in this bitmap"));
  }
}

void check_padding(const Header& header, Findings& findings) {
  const auto zero = [](auto byte) { return byte == 0; };
  const bool cluster_fields_clean =
      header.version == version_clustered || (header.nodes == 0 && std::ranges::all_of(header.cluster_name, zero));
  if (!cluster_fields_clean || !std::ranges::all_of(header.pad, zero)) {
    findings.push_back(note("bitmap-padding", "pad", "unused bytes of the header are not zero"));
  }
}

void check_sync_size(const Header& header, const Expected& expected, Findings& findings) {
  if (header.sync_size != expected.sync_size.count()) {
    findings.push_back(warning("bitmap-sync-size", "sync_size",
                               "is " + std::to_string(header.sync_size) + " sectors instead of " +
                                   std::to_string(expected.sync_size.count()) +
                                   ", which are used, as the kernel does"));
  }
}

Finding version_finding(const Header& header) {
  if (overwritten_by_states(header)) {
    return refusal(header, "bitmap-header-overwritten", "version",
                   "the header of a lockless bitmap was overwritten with chunk states, which kernels do on logical "
                   "blocks of 4 KiB");
  }
  return refusal(header, "bitmap-version", "version",
                 "version " + std::to_string(header.version) + " is neither classic (3, 4, 5) nor lockless (6)");
}

}  // namespace

std::uint64_t chunks_in(Sectors size, Sectors chunk) {
  return size / chunk + ((size % chunk).is_zero() ? 0 : 1);
}

Result<Header> read_header(const Source& source, std::uint64_t offset_bytes) {
  TRY(bytes, read_bytes(source, offset_bytes, header_bytes).in("write-intent bitmap header"));
  TRY(header, load<Header>(bytes, 0));
  if (header.magic != magic_number) {
    return Error{ErrorKind::format,
                 "no write-intent bitmap at byte " + std::to_string(offset_bytes) + ": the magic number is wrong"};
  }
  return header;
}

Kind kind_of(const Header& header) {
  switch (header.version) {
    case version_host_endian:
    case version_little_endian:
    case version_clustered:
      return Kind::classic;
    case version_lockless:
      return Kind::lockless;
    default:
      return Kind::none;
  }
}

bool overwritten_by_states(const Header& header) {
  // "Infection" makes zero bytes Dirty (2), or NeedSync (3) on RAID-4/5/6; the 6 itself is no state that it touches.
  constexpr std::uint32_t dirty_bytes = 0x02020200;
  constexpr std::uint32_t need_sync_bytes = 0x03030300;
  return header.magic == magic_number &&
         (header.version == (dirty_bytes | version_lockless) || header.version == (need_sync_bytes | version_lockless));
}

Result<Geometry> geometry_of(const Header& header, const Expected& expected) {
  switch (kind_of(header)) {
    case Kind::classic:
      return classic_geometry(header, expected);
    case Kind::lockless:
      return first_use(header) ? first_use_geometry(header, expected) : lockless_geometry(header, expected);
    case Kind::none:
      break;
  }
  return Error{ErrorKind::format, "unknown bitmap version " + std::to_string(header.version)};
}

bool missed_updates(const Header& header, const Expected& expected) {
  if (has_flag(header, state_stale | state_write_error)) {
    return true;
  }
  return !first_use(header) && !clustered(header) && header.events < expected.events;
}

Findings verify_header(const Header& header, const Expected& expected) {
  const Kind kind = kind_of(header);
  if (kind == Kind::none) {
    return {version_finding(header)};
  }
  Findings findings;
  if (header.magic != magic_number) {
    findings.push_back(refusal(header, "bitmap-magic", "magic", "the magic number is wrong"));
  }
  if (uuid_of(header) != expected.uuid) {
    findings.push_back(
        refusal(header, "bitmap-uuid", "uuid",
                "the bitmap belongs to array " + uuid_of(header).text() + ", not to " + expected.uuid.text()));
  }
  if (kind == Kind::classic) {
    check_classic(header, expected, findings);
  } else {
    check_lockless(header, expected, findings);
  }
  check_sync_size(header, expected, findings);
  check_events(header, expected, findings);
  check_flags(header, findings);
  check_padding(header, findings);
  return findings;
}

Finding unreadable_header(const Error& error) {
  switch (error.kind) {
    case ErrorKind::format:
      return refusal(Header{}, "bitmap-magic", "magic", error.text);
    case ErrorKind::out_of_range:
      return {Severity::problem, "bitmap-unreadable", "", error.text, Effect::stops_writing};
    default:
      // The kernel goes on with the next member's copy.
      return {Severity::problem, "bitmap-unreadable", "", error.text, Effect::none};
  }
}

Fields header_fields(const Header& header) {
  const auto name_end = std::ranges::find(header.cluster_name, '\0');
  const bool chunk_in_sectors = kind_of(header) == Kind::lockless && !first_use(header);
  const auto number = [](std::uint64_t value) { return value; };
  return {
      {"magic", number(header.magic), Unit::hexadecimal},
      {"version", number(header.version), Unit::none},
      {"uuid", uuid_of(header).text(), Unit::none},
      {"events", number(header.events), Unit::none},
      {"events_cleared", number(header.events_cleared), Unit::none},
      {"sync_size", number(header.sync_size), Unit::sectors},
      {"state", number(header.state), Unit::hexadecimal},
      {"chunksize", number(header.chunksize), chunk_in_sectors ? Unit::sectors : Unit::bytes},
      {"daemon_sleep", number(header.daemon_sleep), Unit::seconds},
      {"write_behind", number(header.write_behind), Unit::none},
      {"sectors_reserved", number(header.sectors_reserved), Unit::sectors},
      {"nodes", number(header.nodes), Unit::none},
      {"cluster_name", std::string(header.cluster_name.begin(), name_end), Unit::none},
  };
}

Result<std::vector<std::byte>> read_area(const Source& source, std::uint64_t offset_bytes, std::uint64_t used_bytes) {
  assert(used_bytes <= max_area_bytes);
  const std::uint64_t whole_sectors =
      (used_bytes + Sectors::bytes_each - 1) / Sectors::bytes_each * Sectors::bytes_each;
  const bool has_them = fits(offset_bytes, whole_sectors, source.size_bytes());
  return read_bytes(source, offset_bytes, has_them ? whole_sectors : used_bytes).in("write-intent bitmap");
}

std::vector<std::byte> area_with_header(const std::vector<std::byte>& area, const Header& header) {
  std::vector<std::byte> bytes = area;
  std::ranges::copy(std::as_bytes(std::span(&header, 1)), bytes.begin());
  return bytes;
}

void copy_with_header(std::span<const std::byte> area, const Header& header, std::uint64_t from_byte,
                      std::span<std::byte> out) {
  assert(fits(from_byte, out.size(), area.size()));
  std::ranges::copy(area.subspan(from_byte, out.size()), out.begin());
  if (from_byte < header_bytes) {
    const auto head = std::as_bytes(std::span(&header, 1)).subspan(from_byte);
    std::ranges::copy(head.first(std::min(head.size(), out.size())), out.begin());
  }
}

}  // namespace mdtool::bitmap
