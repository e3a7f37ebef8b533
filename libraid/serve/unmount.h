// SPDX-License-Identifier: GPL-2.0-or-later
// How a mount of ours is ended, and who keeps it from that. Private to serve.
#pragma once

#include <string>

#include "libraid/serve/loop.h"

namespace mdtool::serve {

// "; open in process 12 (cat), process 13 (dd)", as far as this user may see; empty where nobody is seen. Our own
// process counts.
std::string users_of(const std::string& path);

// The error of a file that is in use, naming the users.
Error busy(const std::string& path);

// What is mounted there is a file of ours. Forced, it is cut off from its server, and its users get errors.
enum class Unmounted { yes, busy };
Result<Unmounted> unmount(const std::string& path, Force force);

}  // namespace mdtool::serve
