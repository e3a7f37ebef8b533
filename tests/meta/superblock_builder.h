// SPDX-License-Identifier: GPL-2.0-or-later
// Superblocks made by hand for tests, on members that hold nothing else.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "libmeta/checksum.h"
#include "libmeta/finding.h"
#include "libmeta/md0/superblock.h"
#include "libmeta/md1/superblock.h"
#include "libmeta/source.h"

namespace mdtool::testing {

// A member of zeroes with some bytes in it.
class SparseMember final : public Source {
 public:
  explicit SparseMember(std::uint64_t size_bytes) : size_bytes_(size_bytes) {}

  void put(std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
    pieces_[offset_bytes].assign(bytes.begin(), bytes.end());
  }
  std::byte& at(std::uint64_t offset_bytes) {
    auto piece = std::prev(pieces_.upper_bound(offset_bytes));
    return piece->second.at(offset_bytes - piece->first);
  }
  void resize(std::uint64_t size_bytes) { size_bytes_ = size_bytes; }

  std::uint64_t size_bytes() const override { return size_bytes_; }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override {
    if (!fits(offset_bytes, out.size(), size_bytes_)) {
      return Error{ErrorKind::out_of_range, "read beyond the end"};
    }
    std::fill(out.begin(), out.end(), std::byte{0});
    for (const auto& [start, bytes] : pieces_) {
      for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (start + i >= offset_bytes && start + i < offset_bytes + out.size()) {
          out[start + i - offset_bytes] = bytes[i];
        }
      }
    }
    return Done{};
  }

 private:
  std::uint64_t size_bytes_;
  std::map<std::uint64_t, std::vector<std::byte>> pieces_;
};

template <typename T>
std::vector<std::byte> bytes_of(const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  return {bytes.begin(), bytes.end()};
}

inline const Finding* find(const Findings& findings, const std::string& id) {
  const auto at = std::find_if(findings.begin(), findings.end(), [&](const Finding& f) { return f.id == id; });
  return at == findings.end() ? nullptr : &*at;
}

inline std::string ids(const Findings& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    text += finding.id + " ";
  }
  return text;
}

constexpr std::uint64_t member_sectors = 20480;  // 10 MiB

// A clean 4-slot RAID-5 member in slot 1, dev_number 1, with an internal bitmap and an empty bad-block log.
struct Md1Member {
  explicit Md1Member(std::uint32_t minor) : minor_version(minor) {
    sb.magic = md1::magic_number;
    sb.major_version = 1;
    sb.feature_map = md1::feature_bitmap_offset;
    for (unsigned char i = 0; i < 16; ++i) {
      sb.set_uuid[i] = static_cast<unsigned char>(0x10 + i);
      sb.device_uuid[i] = static_cast<unsigned char>(0xa0 + i);
    }
    const std::string name = "host:one";
    std::copy(name.begin(), name.end(), sb.set_name.begin());
    sb.ctime = (std::uint64_t{77} << 40) | 1700000000;
    sb.utime = (std::uint64_t{78} << 40) | 1700000001;
    sb.level = 5;
    sb.layout = 2;
    sb.size = 16384;
    sb.chunksize = 128;
    sb.raid_disks = 4;
    sb.bitmap_offset = minor == 0 ? -24 : 8;
    sb.data_offset = minor == 0 ? 0 : 2048;
    sb.data_size = minor == 0 ? 20000 : member_sectors - 2048;
    sb.super_offset = super_offset().count();
    sb.dev_number = 1;
    sb.bblog_size = 8;
    sb.bblog_offset = minor == 0 ? -8 : 16;
    sb.events = 42;
    sb.resync_offset = Sectors::max().count();
    sb.max_dev = 128;
    roles.assign(128, role_spare);
    for (std::uint16_t i = 0; i < 4; ++i) {
      roles[i] = i;
    }
  }

  Sectors super_offset() const {
    return Sectors(minor_version == 0 ? (member_sectors - 16) & ~7ULL : minor_version == 1 ? 0 : 8);
  }
  const Format& format() const {
    return minor_version == 0 ? md1::version_1_0() : minor_version == 1 ? md1::version_1_1() : md1::version_1_2();
  }
  // 4096 bytes with a right checksum; behind the roles, bytes that are not the superblock's.
  std::vector<std::byte> superblock() const {
    std::vector<std::byte> bytes(4096, std::byte{0x5a});
    std::memcpy(bytes.data(), &sb, sizeof(sb));
    for (std::size_t i = 0; i < roles.size(); ++i) {
      const le16 role = roles[i];
      std::memcpy(bytes.data() + sizeof(sb) + 2 * i, &role, sizeof(role));
    }
    const std::span<const std::byte> summed = std::span(bytes).first(std::min<std::size_t>(256 + 2 * sb.max_dev, 4096));
    const le32 sum = superblock_sum<std::endian::little>(summed, offsetof(md1::Superblock, sb_csum));
    std::memcpy(bytes.data() + offsetof(md1::Superblock, sb_csum), &sum, sizeof(sum));
    return bytes;
  }
  SparseMember member() const {
    SparseMember source(member_sectors * 512);
    source.put(super_offset().bytes(), superblock());
    return source;
  }
  std::unique_ptr<Metadata> read() const { return format().read(member(), super_offset().bytes()).value(); }
  Findings verify() const { return read()->verify(member_sectors * 512); }

  md1::Superblock sb{};
  std::vector<std::uint16_t> roles;
  std::uint32_t minor_version;
};

// A clean 3-slot RAID-5 member in slot 1, with an internal bitmap.
template <std::endian Order>
struct Md0Member {
  static constexpr std::uint64_t super_sector = (member_sectors & ~127ULL) - 128;

  Md0Member() {
    sb.md_magic = md0::magic_number;
    sb.minor_version = md0::minor_version_normal;
    sb.set_uuid0 = 0x01020304;
    sb.set_uuid1 = 0x11121314;
    sb.set_uuid2 = 0x21222324;
    sb.set_uuid3 = 0x31323334;
    sb.ctime = 1700000000;
    sb.utime = 1700000001;
    sb.level = 5;
    sb.size = 8192;
    sb.nr_disks = 4;
    sb.raid_disks = 3;
    sb.state = md0::sb_clean | md0::sb_bitmap_present;
    sb.active_disks = 3;
    sb.working_disks = 4;
    sb.spare_disks = 1;
    sb.events = (std::uint64_t{7} << 32) | 9;
    sb.cp_events = sb.events.value();
    sb.recovery_cp = 0xffffffff;
    sb.layout = 2;
    sb.chunk_size = 65536;
    for (std::uint32_t i = 0; i < 4; ++i) {
      sb.disks[i].number = i;
      sb.disks[i].major = 8;
      sb.disks[i].minor = 16 * i;
      sb.disks[i].raid_disk = i;
      sb.disks[i].state = i < 3 ? md0::disk_active | md0::disk_sync : 0;
    }
    sb.this_disk = sb.disks[1];
  }

  const Format& format() const { return Order == std::endian::little ? md0::little_endian() : md0::big_endian(); }
  SparseMember member() const {
    md0::Superblock<Order> sealed = sb;
    sealed.sb_csum = superblock_sum<Order>(std::as_bytes(std::span(&sb, 1)), offsetof(md0::Superblock<Order>, sb_csum));
    SparseMember source(member_sectors * 512);
    source.put(super_sector * 512, bytes_of(sealed));
    return source;
  }
  std::unique_ptr<Metadata> read() const { return format().read(member(), super_sector * 512).value(); }
  Findings verify() const { return read()->verify(member_sectors * 512); }

  md0::Superblock<Order> sb{};
};

}  // namespace mdtool::testing
