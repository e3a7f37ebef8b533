// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/last_words.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <filesystem>

namespace mdtool {
namespace {

namespace fs = std::filesystem;

constexpr const char* name = "mdtool-last-words";
constexpr std::size_t most_bytes = 4096;
// What stands in the memory: `first_way` and a Left, then the text.
constexpr char first_way = '0';

}  // namespace

LastWords::LastWords() : fd_(::memfd_create(name, MFD_CLOEXEC)) {}

void LastWords::say(const ServerEnd& end) const {
  const std::string all = static_cast<char>(first_way + static_cast<int>(end.left)) + end.text;
  static_cast<void>(::pwrite(fd_.get(), all.data(), std::min(all.size(), most_bytes), 0));
}

LastWordsOf::LastWordsOf(pid_t server) {
  const std::string wanted = std::string("/memfd:") + name + " (deleted)";
  std::error_code error;
  for (fs::directory_iterator it("/proc/" + std::to_string(server) + "/fd", error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    if (fs::read_symlink(it->path(), gone) == wanted) {
      fd_ = Descriptor(::open(it->path().c_str(), O_RDONLY | O_CLOEXEC));
      return;
    }
  }
}

std::optional<ServerEnd> LastWordsOf::read() const {
  if (!fd_) {
    return std::nullopt;
  }
  std::array<char, most_bytes> all{};
  const ssize_t got = ::pread(fd_.get(), all.data(), all.size(), 0);
  const int way = got > 0 ? all[0] - first_way : -1;
  if (way < 0 || way > static_cast<int>(Left::not_in_order)) {
    return ServerEnd{Left::not_in_order, "the server ended without closing the array"};
  }
  return ServerEnd{static_cast<Left>(way), std::string(all.data() + 1, static_cast<std::size_t>(got) - 1)};
}

}  // namespace mdtool
