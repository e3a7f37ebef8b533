// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/ppl/header.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "libmeta/checksum.h"
#include "libmeta/field_list.h"
#include "libmeta/plausibility.h"

namespace mdtool::ppl {
namespace {

std::string name_of(std::size_t index) {
  return "entries[" + std::to_string(index) + "]";
}

Finding not_used(std::string id, std::string field, std::string text) {
  return {Severity::warning, std::move(id), std::move(field),
          std::move(text) + "; after an unclean stop the kernel does not use this header", Effect::none};
}

Findings verify_identity(const Header& header, const Expected& expected) {
  Findings findings;
  if (header.checksum != expected_checksum(header)) {
    findings.push_back(not_used("ppl-checksum", "checksum",
                                "the PPL header's checksum is " + hexadecimal(header.checksum) + ", expected " +
                                    hexadecimal(expected_checksum(header))));
  }
  if (header.signature != expected_signature(expected.set_uuid)) {
    findings.push_back(not_used("ppl-signature", "signature",
                                "the PPL header's signature is " + hexadecimal(header.signature) +
                                    ", this array's is " + hexadecimal(expected_signature(expected.set_uuid))));
  }
  if (header.padding != 0) {
    findings.push_back({Severity::note, "ppl-padding", "padding",
                        "the PPL header's padding is " + hexadecimal(header.padding) + ", not 0", Effect::none});
  }
  return findings;
}

}  // namespace

Result<Header> decode(std::span<const std::byte> bytes) {
  return load<Header>(bytes, 0).in("PPL header");
}

std::vector<std::byte> encode(const Header& header) {
  const auto bytes = std::as_bytes(std::span(&header, 1));
  return {bytes.begin(), bytes.end()};
}

std::span<const Entry> entries(const Header& header) {
  return std::span(header.entries).first(std::min<std::size_t>(header.entries_count, max_entries));
}

Fields fields(const Header& header) {
  FieldList list;
  list.text("reserved", hex_digits(header.reserved));
  list.number("signature", header.signature, Unit::hexadecimal);
  list.number("padding", header.padding, Unit::hexadecimal);
  list.number("generation", header.generation);
  list.number("entries_count", header.entries_count);
  list.number("checksum", header.checksum, Unit::hexadecimal);
  const std::span<const Entry> used = entries(header);
  for (std::size_t i = 0; i < used.size(); ++i) {
    list.number(name_of(i) + ".data_sector", used[i].data_sector, Unit::sectors);
    list.number(name_of(i) + ".pp_size", used[i].pp_size, Unit::bytes);
    list.number(name_of(i) + ".data_size", used[i].data_size, Unit::bytes);
    list.number(name_of(i) + ".parity_disk", used[i].parity_disk);
    list.number(name_of(i) + ".checksum", used[i].checksum, Unit::hexadecimal);
  }
  return std::move(list).take();
}

std::uint32_t expected_signature(const Uuid& set_uuid) {
  return crc32c_standard(std::as_bytes(std::span(set_uuid.bytes)));
}

std::uint32_t expected_checksum(const Header& header) {
  Header copy = header;
  copy.checksum = 0;
  return crc32c_standard(std::as_bytes(std::span(&copy, 1)));
}

bool intact(const Header& header, const Uuid& set_uuid) {
  return header.signature == expected_signature(set_uuid) && header.checksum == expected_checksum(header);
}

Findings verify(const Header& header, const Expected& expected) {
  Findings findings = verify_identity(header, expected);
  if (header.entries_count > max_entries) {
    findings.push_back(stops_writing("ppl-entries-count", "entries_count",
                                     "the PPL header counts " + std::to_string(header.entries_count.value()) +
                                         " entries, but only " + std::to_string(max_entries) + " fit"));
  }
  const std::span<const Entry> used = entries(header);
  std::uint64_t partial_parity_bytes = 0;
  for (std::size_t i = 0; i < used.size(); ++i) {
    partial_parity_bytes += used[i].pp_size;
    if (used[i].pp_size % Sectors::bytes_each != 0) {
      findings.push_back(stops_writing("ppl-partial-parity-size", name_of(i) + ".pp_size",
                                       "PPL entry " + std::to_string(i) + " has " +
                                           std::to_string(used[i].pp_size.value()) +
                                           " bytes of partial parity, not whole sectors"));
    }
    if (used[i].parity_disk != expected.slot) {
      findings.push_back(stops_writing("ppl-parity-disk", name_of(i) + ".parity_disk",
                                       "PPL entry " + std::to_string(i) + " is about the parity in slot " +
                                           std::to_string(used[i].parity_disk.value()) + ", but lies on slot " +
                                           std::to_string(expected.slot)));
    }
  }
  if (header_bytes + partial_parity_bytes > expected.room_bytes) {
    findings.push_back(stops_writing("ppl-room", "entries",
                                     "the PPL's partial parity of " + std::to_string(partial_parity_bytes) +
                                         " bytes does not fit into the " + std::to_string(expected.room_bytes) +
                                         " bytes of its area"));
  }
  return findings;
}

}  // namespace mdtool::ppl
