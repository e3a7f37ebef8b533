// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libraid/io/descriptor.h"

namespace mdtool {

Status make_folders(const std::filesystem::path& folder) {
  struct stat status {};
  if (folder.empty() || ::stat(folder.c_str(), &status) == 0) {
    return Done{};
  }
  TRY(above, make_folders(folder.parent_path()));
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return io_error(folder.string(), errno);
  }
  return sync_folder(folder.parent_path());
}

Status sync_folder(const std::filesystem::path& folder) {
  const std::string name = folder.empty() ? "." : folder.string();
  const Descriptor fd(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) {
    return io_error(name, errno);
  }
  return Done{};
}

}  // namespace mdtool
