// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/mount_point.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libraid/io/descriptor.h"
#include "libraid/serve/mount_table.h"

namespace mdtool::serve {

Result<MountPoint> MountPoint::prepare(const std::string& at) {
  TRY(path, canonical(at));
  if (const auto mount = topmost_mount(path)) {
    const std::string what_next = mount->type == mount_type ? "an array is served there, or its server was killed: "
                                                              "mdtool stop " +
                                                                  at + " ends that"
                                                            : "give another path to serve at";
    return Error{ErrorKind::refused, at + ": is a mount point already (" + mount->type + "); " + what_next};
  }
  const Descriptor made(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (made) {
    return MountPoint(path, path);
  }
  struct stat status {};
  if (errno != EEXIST || ::stat(path.c_str(), &status) != 0) {
    return io_error(at, errno);
  }
  if (!S_ISREG(status.st_mode) || status.st_size != 0) {
    return Error{ErrorKind::refused, at + ": exists, and is not an empty file; give another path to serve at"};
  }
  return MountPoint(path, "");
}

MountPoint::~MountPoint() {
  if (!made_.empty() && !topmost_mount(made_)) {
    ::unlink(made_.c_str());
  }
}

}  // namespace mdtool::serve
