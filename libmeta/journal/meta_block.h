// SPDX-License-Identifier: GPL-2.0-or-later
// One meta block of a RAID-4/5/6 journal: what the blocks behind it are. Knows this block, not the ring, and not what
// to do with the stripes that it names.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libmeta/field.h"
#include "libmeta/finding.h"
#include "libmeta/ondisk.h"
#include "libmeta/sectors.h"
#include "libmeta/uuid.h"

namespace mdtool::journal {

constexpr std::uint32_t magic_number = 0x6433c509;  // R5LOG_MAGIC
constexpr std::uint8_t version_known = 1;           // R5LOG_VERSION
constexpr std::size_t block_bytes = 4096;
constexpr Sectors block_sectors{8};  // BLOCK_SECTORS

// struct r5l_meta_block, without its payloads.
struct BlockHeader {
  le32 magic;
  le32 checksum;  // crc32c() of the block with this field 0, seeded with the array's
  u8 version;
  u8 zero_padding_1;
  le16 zero_padding_2;
  le32 meta_size;  // bytes in use, this header included
  le64 seq;
  le64 position;  // sectors from data_offset
};
static_assert(offsetof(BlockHeader, version) == 8 && offsetof(BlockHeader, meta_size) == 12);
static_assert(offsetof(BlockHeader, seq) == 16 && sizeof(BlockHeader) == 32);

// struct r5l_payload_header.
struct PayloadHeader {
  le16 type;
  le16 flags;
};
static_assert(sizeof(PayloadHeader) == 4);

enum class PayloadType : std::uint16_t {
  data = 0,    // R5LOG_PAYLOAD_DATA
  parity = 1,  // R5LOG_PAYLOAD_PARITY
  flush = 2,   // R5LOG_PAYLOAD_FLUSH
};

struct Payload {
  PayloadType type = PayloadType::data;
  std::uint16_t flags = 0;               // not used by Linux 7.2
  Sectors location;                      // data: array sector; parity: member sector from data_offset
  std::vector<std::uint32_t> checksums;  // one for each block that follows the meta block; none for flush
  std::vector<Sectors> flush_stripes;    // flush: member sectors of stripes that are on the members now
};

// Where the array and the ring say that this block is.
struct Expected {
  Uuid set_uuid;
  Sectors position;
  std::optional<std::uint64_t> seq;  // none for the block at the tail
};

class MetaBlock {
 public:
  // Of 4096 bytes. Fails if there are fewer or the magic is wrong; payloads are read as far as they make sense.
  static Result<MetaBlock> decode(std::span<const std::byte>);

  const BlockHeader& header() const { return header_; }
  const std::vector<Payload>& payloads() const { return payloads_; }
  // Payloads, or a damaged rest that may be some: the members alone may not be the array.
  bool holds_content() const { return !payloads_.empty() || !damage_.empty(); }
  // This block and the blocks that its payloads describe: where the next meta block is.
  Sectors length() const;

  std::uint32_t expected_checksum(const Uuid& set_uuid) const;
  Findings verify(const Expected&) const;
  Fields fields() const;
  std::vector<std::byte> encode() const { return {bytes_.begin(), bytes_.end()}; }

 private:
  MetaBlock() = default;
  void read_payloads();

  std::array<std::byte, block_bytes> bytes_{};
  BlockHeader header_;
  std::vector<Payload> payloads_;
  std::string damage_;  // why reading payloads ended early, or empty
};

// The seed of every checksum of an array's journal.
std::uint32_t checksum_seed(const Uuid& set_uuid);

}  // namespace mdtool::journal
