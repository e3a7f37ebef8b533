// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/bundle_images.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <span>
#include <string_view>

#include "libraid/io/descriptor.h"
#include "libraid/io/folder.h"

namespace mdtool {

namespace {

constexpr std::size_t longest_name = 200;  // and a number behind it: NAME_MAX is 255
constexpr std::size_t hole_bytes = 4096;
constexpr mode_t image_mode = 0600;

std::string safe_name(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  std::string name(path.substr(slash == std::string_view::npos ? 0 : slash + 1, longest_name));
  for (char& c : name) {
    c = c > ' ' && c <= '~' ? c : '_';
  }
  if (name.empty()) {
    name = "member";
  }
  if (name.front() == '.' || name.front() == '-') {
    name.front() = '_';
  }
  return name;
}

Status write_all(int fd, std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset_bytes));
    if (n < 0 && errno != EINTR) {
      return io_error("writing at byte " + std::to_string(offset_bytes), errno);
    }
    const std::size_t done = n < 0 ? 0 : static_cast<std::size_t>(n);
    bytes = bytes.subspan(done);
    offset_bytes += done;
  }
  return Done{};
}

// What is zero stays a hole.
Status write_area(int fd, const BundleArea& area) {
  for (std::size_t at = 0; at < area.bytes.size(); at += hole_bytes) {
    const auto piece = std::span(area.bytes).subspan(at, std::min(hole_bytes, area.bytes.size() - at));
    if (std::any_of(piece.begin(), piece.end(), [](std::byte b) { return b != std::byte{0}; })) {
      TRY(written, write_all(fd, area.offset_bytes + at, piece));
    }
  }
  return Done{};
}

Status fill_image(int fd, const BundleMember& member) {
  if (::ftruncate(fd, static_cast<off_t>(member.size_bytes)) != 0) {
    return io_error("making it " + std::to_string(member.size_bytes) + " bytes long", errno);
  }
  for (const BundleArea& area : member.areas) {
    TRY(written, write_area(fd, area));
  }
  return ::fsync(fd) == 0 ? Status(Done{}) : Status(io_error("flushing", errno));
}

// Removes what it was told of, unless all went well.
class MadeFiles {
 public:
  MadeFiles() = default;
  MadeFiles(const MadeFiles&) = delete;
  MadeFiles& operator=(const MadeFiles&) = delete;
  ~MadeFiles() {
    for (const std::string& path : paths_) {
      ::unlink(path.c_str());
    }
  }
  void add(const std::string& path) { paths_.push_back(path); }
  std::vector<std::string> keep() { return std::move(paths_); }

 private:
  std::vector<std::string> paths_;
};

Status check_folder(const std::string& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    return io_error(folder, ENOTDIR);
  }
  const bool empty = std::filesystem::is_empty(folder, error);
  if (error) {
    return io_error(folder, error.value());
  }
  return empty ? Status(Done{})
               : Status(Error{ErrorKind::refused, folder + ": not empty; images go to a new or an empty folder"});
}

}  // namespace

std::vector<std::string> image_names(const Bundle& bundle) {
  std::set<std::string> taken;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < bundle.members.size(); ++i) {
    const std::string name = safe_name(bundle.members[i].path);
    std::string unique = name;
    for (std::size_t number = i; !taken.insert(unique).second; ++number) {
      unique = name + "-" + std::to_string(number);
    }
    names.push_back(std::move(unique));
  }
  return names;
}

Result<std::vector<std::string>> write_images(const Bundle& bundle, const std::string& folder) {
  TRY(made, make_folders(folder));
  TRY(checked, check_folder(folder));
  MadeFiles files;
  const std::vector<std::string> names = image_names(bundle);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string path = (std::filesystem::path(folder) / names[i]).string();
    const Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, image_mode));
    if (!fd) {
      return io_error(path, errno);
    }
    files.add(path);
    TRY(filled, fill_image(fd.get(), bundle.members[i]).in(path));
  }
  TRY(synced, sync_folder(folder));
  return files.keep();
}

}  // namespace mdtool
