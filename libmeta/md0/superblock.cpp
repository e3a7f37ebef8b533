// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/md0/superblock.h"

#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "libmeta/checksum.h"
#include "libmeta/md0/edit.h"

namespace mdtool::md0 {
namespace {

constexpr Sectors reserved{128};  // MD_RESERVED_SECTORS

template <std::endian Order>
class Metadata0 final : public Metadata {
 public:
  Metadata0(const Format& format, const Record<Order>& record) : format_(format), record_(record) {}

  const Format& format() const override { return format_; }
  std::uint64_t offset_bytes() const override { return record_.offset_bytes; }
  MemberDescription describe() const override { return md0::describe(record_); }
  Findings verify(std::uint64_t member_bytes) const override { return md0::verify(record_, member_bytes); }
  Fields fields() const override { return md0::fields(record_); }

  std::vector<std::byte> encode() const override {
    std::vector<std::byte> bytes(sizeof(record_.fixed));
    std::memcpy(bytes.data(), &record_.fixed, bytes.size());
    return bytes;
  }

  std::unique_ptr<Metadata> changed(const SuperblockChange& change) const override {
    return metadata(md0::changed(record_, change));
  }
  Result<std::unique_ptr<Metadata>> with_field(std::string_view name, std::string_view value) const override {
    TRY(record, md0::with_field(record_, name, value));
    return metadata(record);
  }
  Result<std::unique_ptr<Metadata>> for_member(const NewMember& member) const override {
    TRY(record, md0::for_member(record_, member));
    return metadata(record);
  }

 private:
  const Format& format_;
  Record<Order> record_;
};

template <std::endian Order>
class Format0 final : public Format {
 public:
  explicit Format0(std::string_view name) : name_(name) {}

  std::string_view name() const override { return name_; }

  Result<std::vector<std::uint64_t>> probe(const Source& source) const override {
    const std::optional<Sectors> sector = superblock_place(Sectors::from_bytes(source.size_bytes()));
    if (!sector) {
      return std::vector<std::uint64_t>{};
    }
    TRY(bytes, read_bytes(source, sector->bytes(), sizeof(Word)));
    TRY(magic, load<Word>(bytes, 0));
    return magic == magic_number ? std::vector<std::uint64_t>{sector->bytes()} : std::vector<std::uint64_t>{};
  }

  Result<std::unique_ptr<Metadata>> read(const Source& source, std::uint64_t offset_bytes) const override {
    TRY(bytes, read_bytes(source, offset_bytes, sizeof(Superblock<Order>)).in("superblock 0.90"));
    Record<Order> record;
    TRY(fixed, load<Superblock<Order>>(bytes, 0));
    if (fixed.md_magic != magic_number) {
      return Error{ErrorKind::format, "no 0.90 superblock of this byte order at byte " + std::to_string(offset_bytes)};
    }
    record.fixed = fixed;
    record.offset_bytes = offset_bytes;
    record.member_bytes = source.size_bytes();
    return metadata(record);
  }

 private:
  using Word = OnDisk<std::uint32_t, Order>;
  std::string_view name_;
};

}  // namespace

template <std::endian Order>
std::uint32_t Record<Order>::expected_checksum() const {
  return superblock_sum<Order>(std::as_bytes(std::span(&fixed, 1)), offsetof(Superblock<Order>, sb_csum));
}

template std::uint32_t Record<std::endian::little>::expected_checksum() const;
template std::uint32_t Record<std::endian::big>::expected_checksum() const;

std::optional<Sectors> superblock_place(Sectors member) {
  if (member < reserved * 2) {
    return std::nullopt;
  }
  return Sectors(member.count() & ~(reserved.count() - 1)) - reserved;
}

template <std::endian Order>
std::unique_ptr<Metadata> metadata(const Record<Order>& record) {
  const Format& format = Order == std::endian::little ? little_endian() : big_endian();
  return std::make_unique<Metadata0<Order>>(format, record);
}

template std::unique_ptr<Metadata> metadata(const Record<std::endian::little>&);
template std::unique_ptr<Metadata> metadata(const Record<std::endian::big>&);

const Format& little_endian() {
  static const Format0<std::endian::little> format("0.90");
  return format;
}

const Format& big_endian() {
  static const Format0<std::endian::big> format("0.90-big-endian");
  return format;
}

}  // namespace mdtool::md0
