// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/fixture_members.h"

#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>

namespace mdtool::fuzz {
namespace {

constexpr std::uint64_t head_bytes = 8U << 20;
constexpr std::uint64_t tail_bytes = 256U << 10;

[[noreturn]] void give_up(const std::filesystem::path& path, const char* why) {
  std::cerr << path << ": " << why << "\n";
  std::abort();
}

std::string file_content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    give_up(path, "cannot be opened");
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

// Takes the next bytes of the member, in order, and keeps what belongs to its ends.
class Ends {
 public:
  explicit Ends(MemberImage& image) : image_(&image) {}
  void take(std::span<const std::byte> piece) {
    const std::uint64_t to_head = std::min<std::uint64_t>(piece.size(), head_bytes - image_->head.size());
    image_->head.insert(image_->head.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(to_head));
    image_->tail.insert(image_->tail.end(), piece.begin() + static_cast<std::ptrdiff_t>(to_head), piece.end());
    if (image_->tail.size() > 16 * tail_bytes) {
      drop_middle();
    }
    image_->size_bytes += piece.size();
  }
  void drop_middle() {
    const std::size_t kept = std::min<std::size_t>(image_->tail.size(), tail_bytes);
    image_->tail.erase(image_->tail.begin(), image_->tail.end() - static_cast<std::ptrdiff_t>(kept));
  }

 private:
  MemberImage* image_;
};

}  // namespace

std::filesystem::path fixtures_folder() {
  return MDTOOL_FIXTURES;
}

MemberImage load_member(const std::filesystem::path& packed) {
  const std::string content = file_content(packed);
  const std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream(ZSTD_createDStream(), &ZSTD_freeDStream);
  std::vector<std::byte> piece(ZSTD_DStreamOutSize());
  MemberImage image;
  Ends ends(image);
  ZSTD_inBuffer in{content.data(), content.size(), 0};
  std::size_t left = 1;
  while (left != 0) {
    ZSTD_outBuffer out{piece.data(), piece.size(), 0};
    left = ZSTD_decompressStream(stream.get(), &out, &in);
    if (ZSTD_isError(left) != 0 || (left != 0 && in.pos == in.size && out.pos == 0)) {
      give_up(packed, "cannot be decompressed");
    }
    ends.take(std::span(piece).first(out.pos));
  }
  ends.drop_middle();
  return image;
}

std::vector<MemberImage> load_fixture(const std::string& name) {
  const std::filesystem::path folder = fixtures_folder() / name;
  std::vector<MemberImage> members;
  for (int i = 0; std::filesystem::exists(folder / ("m" + std::to_string(i) + ".img.zst")); ++i) {
    members.push_back(load_member(folder / ("m" + std::to_string(i) + ".img.zst")));
  }
  if (members.empty()) {
    give_up(folder, "holds no members");
  }
  return members;
}

std::vector<std::string> fixture_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(fixtures_folder())) {
    if (std::filesystem::exists(entry.path() / "m0.img.zst")) {
      names.push_back(entry.path().filename());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

Status ChangedMember::read_image(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  if (fits(offset_bytes, out.size(), image_->head.size())) {
    std::copy_n(image_->head.begin() + static_cast<std::ptrdiff_t>(offset_bytes), out.size(), out.begin());
    return Done{};
  }
  const std::uint64_t tail_at = image_->size_bytes - image_->tail.size();
  if (offset_bytes < tail_at) {
    return Error{ErrorKind::io, "the middle of this member is not kept"};
  }
  std::copy_n(image_->tail.begin() + static_cast<std::ptrdiff_t>(offset_bytes - tail_at), out.size(), out.begin());
  return Done{};
}

Status ChangedMember::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  if (!fits(offset_bytes, out.size(), size_bytes_)) {
    return Error{ErrorKind::out_of_range, "beyond the end"};
  }
  TRY(done, read_image(offset_bytes, out));
  for (const Patch& change : changes_) {
    const std::uint64_t first = std::max(change.offset_bytes, offset_bytes);
    const std::uint64_t end = std::min(change.offset_bytes + change.bytes.size(), offset_bytes + out.size());
    if (first < end) {
      std::copy_n(change.bytes.begin() + static_cast<std::ptrdiff_t>(first - change.offset_bytes), end - first,
                  out.begin() + static_cast<std::ptrdiff_t>(first - offset_bytes));
    }
  }
  return Done{};
}

void ChangedMember::write(std::uint64_t offset_bytes, std::vector<std::byte> bytes) {
  if (offset_bytes < size_bytes_) {
    bytes.resize(std::min<std::uint64_t>(bytes.size(), size_bytes_ - offset_bytes));
    changes_.push_back({offset_bytes, std::move(bytes)});
  }
}

void ChangedMember::flip(std::uint64_t offset_bytes, std::byte mask) {
  if (auto byte = read_bytes(*this, offset_bytes, 1)) {
    write(offset_bytes, {byte->front() ^ mask});
  }
}

void ChangedMember::truncate(std::uint64_t size_bytes) {
  size_bytes_ = std::min(size_bytes, size_bytes_);
}

void ChangedMember::restore() {
  changes_.clear();
  size_bytes_ = image_->size_bytes;
}

}  // namespace mdtool::fuzz
