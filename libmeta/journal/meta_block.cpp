// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/journal/meta_block.h"

#include <algorithm>
#include <utility>

#include "libmeta/checksum.h"
#include "libmeta/field_list.h"

namespace mdtool::journal {
namespace {

// Walks over packed values. Once something does not fit it only answers 0, and says so.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  bool failed() const { return failed_; }
  bool at_end() const { return failed_ || offset_ == bytes_.size(); }
  std::size_t offset() const { return offset_; }
  std::size_t left() const { return bytes_.size() - offset_; }

  template <DiskStructure T>
  T take() {
    Result<T> value = load<T>(bytes_, offset_);
    if (failed_ || !value) {
      failed_ = true;
      return T{};
    }
    offset_ += sizeof(T);
    return *value;
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t offset_ = 0;
  bool failed_ = false;
};

// struct r5l_payload_data_parity: a data block, or P and for RAID-6 Q.
bool read_blocks(Cursor& cursor, Payload& payload) {
  const std::uint64_t sectors = cursor.take<le32>();
  payload.location = Sectors(cursor.take<le64>());
  const std::uint64_t blocks_most = payload.type == PayloadType::parity ? 2 : 1;
  const std::uint64_t blocks = Sectors(sectors) / block_sectors;
  if (Sectors(sectors) % block_sectors != Sectors(0) || blocks == 0 || blocks > blocks_most) {
    return false;
  }
  for (std::uint64_t i = 0; i < blocks; ++i) {
    payload.checksums.push_back(cursor.take<le32>());
  }
  return true;
}

// struct r5l_payload_flush.
bool read_flush(Cursor& cursor, Payload& payload) {
  const std::uint32_t size = cursor.take<le32>();
  if (size % sizeof(le64) != 0 || size > cursor.left()) {
    return false;
  }
  for (std::size_t i = 0; i < size / sizeof(le64); ++i) {
    payload.flush_stripes.push_back(Sectors(cursor.take<le64>()));
  }
  return true;
}

Finding ends_scan(std::string id, std::string field, std::string text) {
  return {Severity::warning, std::move(id), std::move(field),
          std::move(text) + "; the kernel ends its scan of the journal here", Effect::none};
}

}  // namespace

Result<MetaBlock> MetaBlock::decode(std::span<const std::byte> bytes) {
  MetaBlock block;
  if (bytes.size() < block_bytes) {
    return Error{ErrorKind::out_of_range, "a journal's meta block has 4096 bytes, not " + std::to_string(bytes.size())};
  }
  std::copy_n(bytes.begin(), block_bytes, block.bytes_.begin());
  TRY(header, load<BlockHeader>(block.bytes_, 0));
  if (header.magic != magic_number) {
    return Error{ErrorKind::format, "no journal meta block: its magic is " + hexadecimal(header.magic)};
  }
  block.header_ = header;
  block.read_payloads();
  return block;
}

void MetaBlock::read_payloads() {
  if (header_.meta_size < sizeof(BlockHeader) || header_.meta_size > block_bytes) {
    damage_ = "meta_size is " + std::to_string(header_.meta_size.value()) + ", not from 32 to 4096";
    return;
  }
  Cursor cursor(
      std::span<const std::byte>(bytes_).subspan(sizeof(BlockHeader), header_.meta_size - sizeof(BlockHeader)));
  while (!cursor.at_end()) {
    const std::size_t start = sizeof(BlockHeader) + cursor.offset();
    const auto header = cursor.take<PayloadHeader>();
    Payload payload;
    payload.type = PayloadType(header.type.value());
    payload.flags = header.flags;
    const bool known = payload.type <= PayloadType::flush;
    const bool readable =
        known && (payload.type == PayloadType::flush ? read_flush(cursor, payload) : read_blocks(cursor, payload));
    if (!readable || cursor.failed()) {
      damage_ = "the payload at byte " + std::to_string(start) + " (type " + std::to_string(header.type.value()) +
                (known ? ") does not fit" : ") is of no known type");
      return;
    }
    payloads_.push_back(std::move(payload));
  }
}

Sectors MetaBlock::length() const {
  Sectors total = block_sectors;
  for (const Payload& payload : payloads_) {
    total += block_sectors * payload.checksums.size();
  }
  return total;
}

std::uint32_t checksum_seed(const Uuid& set_uuid) {
  return crc32c(~std::uint32_t{0}, std::as_bytes(std::span(set_uuid.bytes)));
}

std::uint32_t MetaBlock::expected_checksum(const Uuid& set_uuid) const {
  BlockHeader header = header_;
  header.checksum = 0;
  const std::uint32_t head = crc32c(checksum_seed(set_uuid), std::as_bytes(std::span(&header, 1)));
  return crc32c(head, std::span(bytes_).subspan(sizeof(BlockHeader)));
}

Findings MetaBlock::verify(const Expected& expected) const {
  Findings findings;
  if (header_.version != version_known) {
    findings.push_back(ends_scan("journal-version", "version",
                                 "the meta block's version is " + std::to_string(header_.version.value()) + ", not 1"));
  }
  if (const std::uint32_t sum = expected_checksum(expected.set_uuid); header_.checksum != sum) {
    findings.push_back(
        ends_scan("journal-checksum", "checksum",
                  "the meta block's checksum is " + hexadecimal(header_.checksum) + ", expected " + hexadecimal(sum)));
  }
  if (Sectors(header_.position) != expected.position) {
    findings.push_back(ends_scan("journal-position", "position",
                                 "the meta block lies at sector " + std::to_string(expected.position.count()) +
                                     " of the journal but says " + std::to_string(header_.position.value())));
  }
  if (expected.seq && header_.seq != *expected.seq) {
    findings.push_back(ends_scan("journal-sequence", "seq",
                                 "the meta block's sequence number is " + std::to_string(header_.seq.value()) +
                                     ", expected " + std::to_string(*expected.seq)));
  }
  if (!damage_.empty()) {
    findings.push_back(ends_scan("journal-payload", "payloads", damage_));
  }
  return findings;
}

Fields MetaBlock::fields() const {
  FieldList list;
  list.number("magic", header_.magic, Unit::hexadecimal);
  list.number("checksum", header_.checksum, Unit::hexadecimal);
  list.number("version", header_.version);
  list.number("zero_padding_1", header_.zero_padding_1);
  list.number("zero_padding_2", header_.zero_padding_2);
  list.number("meta_size", header_.meta_size, Unit::bytes);
  list.number("seq", header_.seq);
  list.number("position", header_.position, Unit::sectors);
  for (std::size_t i = 0; i < payloads_.size(); ++i) {
    const Payload& payload = payloads_[i];
    const std::string name = "payloads[" + std::to_string(i) + "]";
    list.number(name + ".type", static_cast<std::uint16_t>(payload.type));
    list.number(name + ".flags", payload.flags, Unit::hexadecimal);
    if (payload.type != PayloadType::flush) {
      list.number(name + ".location", payload.location.count(), Unit::sectors);
    }
    for (std::size_t j = 0; j < payload.checksums.size(); ++j) {
      list.number(name + ".checksum[" + std::to_string(j) + "]", payload.checksums[j], Unit::hexadecimal);
    }
    for (std::size_t j = 0; j < payload.flush_stripes.size(); ++j) {
      list.number(name + ".flush_stripes[" + std::to_string(j) + "]", payload.flush_stripes[j].count(), Unit::sectors);
    }
  }
  return std::move(list).take();
}

}  // namespace mdtool::journal
