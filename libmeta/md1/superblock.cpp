// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/md1/superblock.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

#include "libmeta/checksum.h"
#include "libmeta/md1/edit.h"

namespace mdtool::md1 {
namespace {

class Metadata1 final : public Metadata {
 public:
  Metadata1(const Format& format, Record record) : format_(format), record_(std::move(record)) {}

  const Format& format() const override { return format_; }
  std::uint64_t offset_bytes() const override { return record_.offset_bytes; }
  MemberDescription describe() const override { return md1::describe(record_); }
  Findings verify(std::uint64_t member_bytes) const override { return md1::verify(record_, member_bytes); }
  Fields fields() const override { return md1::fields(record_); }
  std::vector<std::byte> encode() const override { return record_.encode(); }

  std::unique_ptr<Metadata> changed(const SuperblockChange& change) const override {
    return metadata(md1::changed(record_, change));
  }
  Result<std::unique_ptr<Metadata>> with_field(std::string_view name, std::string_view value) const override {
    TRY(record, md1::with_field(record_, name, value));
    return metadata(std::move(record));
  }
  Result<std::unique_ptr<Metadata>> for_member(const NewMember& member) const override {
    TRY(record, md1::for_member(record_, member));
    return metadata(std::move(record));
  }

 private:
  const Format& format_;
  Record record_;
};

class Format1 final : public Format {
 public:
  Format1(std::string_view name, std::uint32_t minor_version) : name_(name), minor_version_(minor_version) {}

  std::string_view name() const override { return name_; }

  Result<std::vector<std::uint64_t>> probe(const Source& source) const override {
    const std::optional<Sectors> sector = superblock_place(minor_version_, Sectors::from_bytes(source.size_bytes()));
    if (!sector || !fits(sector->bytes(), sizeof(Superblock), source.size_bytes())) {
      return std::vector<std::uint64_t>{};
    }
    TRY(bytes, read_bytes(source, sector->bytes(), sizeof(le32)));
    TRY(magic, load<le32>(bytes, 0));
    return magic == magic_number ? std::vector<std::uint64_t>{sector->bytes()} : std::vector<std::uint64_t>{};
  }

  Result<std::unique_ptr<Metadata>> read(const Source& source, std::uint64_t offset_bytes) const override {
    const std::uint64_t size = source.size_bytes();
    const std::uint64_t available = offset_bytes < size ? size - offset_bytes : 0;
    const std::size_t wanted =
        std::min<std::uint64_t>(std::max(available, std::uint64_t{sizeof(Superblock)}), superblock_limit_bytes);
    TRY(bytes, read_bytes(source, offset_bytes, wanted).in(std::string("superblock ") + std::string(name_)));
    Record record;
    TRY(fixed, load<Superblock>(bytes, 0));
    if (fixed.magic != magic_number) {
      return Error{ErrorKind::format, "no md superblock at byte " + std::to_string(offset_bytes)};
    }
    record.fixed = fixed;
    record.rest.assign(bytes.begin() + sizeof(Superblock), bytes.end());
    record.minor_version = minor_version_;
    record.offset_bytes = offset_bytes;
    record.member_bytes = size;
    return metadata(std::move(record));
  }

 private:
  std::string_view name_;
  std::uint32_t minor_version_;
};

}  // namespace

PplPlace ppl_place(const Superblock& superblock) {
  return std::bit_cast<PplPlace>(superblock.bitmap_offset);
}

std::vector<std::uint16_t> Record::dev_roles() const {
  const std::size_t count = std::min<std::size_t>(fixed.max_dev, most_dev_roles());
  std::vector<std::uint16_t> roles(count);
  for (std::size_t i = 0; i < count; ++i) {
    le16 role;
    std::memcpy(&role, rest.data() + i * sizeof(le16), sizeof(role));
    roles[i] = role;
  }
  return roles;
}

void Record::set_dev_role(std::size_t dev_number, std::uint16_t role) {
  const le16 stored = role;
  std::memcpy(rest.data() + dev_number * sizeof(le16), &stored, sizeof(stored));
}

std::size_t Record::most_dev_roles() const {
  return std::min<std::size_t>(max_dev_limit, rest.size() / sizeof(le16));
}

std::size_t Record::io_bytes() const {
  const std::size_t max_dev = std::min<std::size_t>(fixed.max_dev, max_dev_limit);
  const std::size_t used = sizeof(Superblock) + max_dev * sizeof(le16);
  const std::size_t rounded = (used + Sectors::bytes_each - 1) / Sectors::bytes_each * Sectors::bytes_each;
  return std::min(rounded, sizeof(Superblock) + rest.size());
}

std::vector<std::byte> Record::encode() const {
  std::vector<std::byte> bytes(sizeof(Superblock) + rest.size());
  std::memcpy(bytes.data(), &fixed, sizeof(Superblock));
  std::copy(rest.begin(), rest.end(), bytes.begin() + sizeof(Superblock));
  bytes.resize(io_bytes());
  return bytes;
}

std::uint32_t Record::expected_checksum() const {
  std::vector<std::byte> bytes = encode();
  const std::size_t max_dev = std::min<std::size_t>(fixed.max_dev, max_dev_limit);
  bytes.resize(std::min(bytes.size(), sizeof(Superblock) + max_dev * sizeof(le16)));
  return superblock_sum<std::endian::little>(bytes, offsetof(Superblock, sb_csum));
}

std::optional<Sectors> superblock_place(std::uint32_t minor_version, Sectors member) {
  switch (minor_version) {
    case 1:
      return Sectors(0);
    case 2:
      return Sectors(8);
    default: {
      // From 16 on: below, no room for the 10 sectors of data that the kernel demands, and 1.2 has its place there.
      if (member < Sectors(32)) {
        return std::nullopt;
      }
      return Sectors((member.count() - 16) & ~std::uint64_t{7});
    }
  }
}

std::unique_ptr<Metadata> metadata(Record record) {
  const Format& format = record.minor_version == 0   ? version_1_0()
                         : record.minor_version == 1 ? version_1_1()
                                                     : version_1_2();
  return std::make_unique<Metadata1>(format, std::move(record));
}

const Format& version_1_0() {
  static const Format1 format("1.0", 0);
  return format;
}

const Format& version_1_1() {
  static const Format1 format("1.1", 1);
  return format;
}

const Format& version_1_2() {
  static const Format1 format("1.2", 2);
  return format;
}

}  // namespace mdtool::md1
