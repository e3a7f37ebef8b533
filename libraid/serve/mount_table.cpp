// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/mount_table.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string_view>

namespace mdtool::serve {
namespace {

constexpr std::string_view prefix = "mdtool-";
constexpr std::size_t longest_name = 64;

bool is_harmless(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
}

struct FreeDeleter {
  void operator()(char* memory) const { std::free(memory); }  // NOLINT(cppcoreguidelines-no-malloc)
};

}  // namespace

std::string mount_source(pid_t server, const std::string& name) {
  std::string source = std::string(prefix) + std::to_string(server) + ":" + name.substr(0, longest_name);
  const auto begin = source.begin() + static_cast<std::ptrdiff_t>(source.find(':') + 1);
  std::replace_if(
      begin, source.end(), [](char c) { return !is_harmless(c); }, '_');
  return source;
}

std::optional<pid_t> server_of(const std::string& mount_source) {
  if (!mount_source.starts_with(prefix)) {
    return std::nullopt;
  }
  const std::string_view digits = std::string_view(mount_source).substr(prefix.size());
  pid_t server = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), server);
  const bool ends_well = end == digits.data() + digits.size() || *end == ':';
  return error == std::errc() && server > 0 && ends_well ? std::optional(server) : std::nullopt;
}

Result<std::string> canonical(const std::string& path) {
  const std::filesystem::path given(path);
  const std::string folder = given.has_parent_path() ? given.parent_path().string() : ".";
  const std::unique_ptr<char, FreeDeleter> real_folder(::realpath(folder.c_str(), nullptr));
  if (!real_folder) {
    return io_error(folder, errno);
  }
  const std::filesystem::path whole = std::filesystem::path(real_folder.get()) / given.filename();
  // A link to the file is followed; a mount whose server is dead is not a link, and stays as it is.
  std::error_code not_a_link;
  const std::filesystem::path target = std::filesystem::read_symlink(whole, not_a_link);
  return not_a_link ? whole.string() : (std::filesystem::path(real_folder.get()) / target).lexically_normal().string();
}

std::optional<Mount> topmost_mount(const std::string& path) {
  std::optional<Mount> last;
  for (Mount& mount : mounts()) {
    if (mount.mount_point == path) {
      last = std::move(mount);
    }
  }
  return last;
}

}  // namespace mdtool::serve
