// SPDX-License-Identifier: GPL-2.0-or-later
// Members of the fixture arrays as sources whose bytes can be changed and taken back, one change on top of the other.
// Of large members only both ends are kept in memory; what lies between answers like a bad sector.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "libmeta/format.h"

namespace mdtool::fuzz {

struct MemberImage {
  std::uint64_t size_bytes = 0;
  std::vector<std::byte> head;
  std::vector<std::byte> tail;  // empty if the head is all of it
};

std::filesystem::path fixtures_folder();
// Ends the process where a fixture cannot be read: nothing can be tested then.
MemberImage load_member(const std::filesystem::path& packed);
// m0.img, m1.img, ... of tests/fixtures/NAME.
std::vector<MemberImage> load_fixture(const std::string& name);
// Every folder of tests/fixtures that holds members, sorted.
std::vector<std::string> fixture_names();

class ChangedMember final : public Source {
 public:
  // The image outlives the member.
  explicit ChangedMember(const MemberImage& image) : image_(&image), size_bytes_(image.size_bytes) {}

  std::uint64_t size_bytes() const override { return size_bytes_; }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;

  // Bytes beyond the end are dropped.
  void write(std::uint64_t offset_bytes, std::vector<std::byte> bytes);
  void flip(std::uint64_t offset_bytes, std::byte mask);
  void truncate(std::uint64_t size_bytes);
  void restore();

 private:
  Status read_image(std::uint64_t offset_bytes, std::span<std::byte> out) const;

  const MemberImage* image_;
  std::uint64_t size_bytes_;
  std::vector<Patch> changes_;
};

}  // namespace mdtool::fuzz
