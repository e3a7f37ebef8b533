// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/result.h"

#include <system_error>

namespace mdtool {

Error io_error(std::string_view what, int errno_value) {
  return {ErrorKind::io, std::string(what) + ": " + std::generic_category().message(errno_value)};
}

}  // namespace mdtool
