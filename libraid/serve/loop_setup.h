// SPDX-License-Identifier: GPL-2.0-or-later
// The two ways to give a file to an open loop device. Private to serve.
#pragma once

#include "libraid/io/descriptor.h"
#include "libraid/serve/loop.h"

namespace mdtool::serve {

// 0, or errno. ENOTTY or EINVAL from configure_at_once(): the kernel (before 5.8) knows only the steps.
int configure_at_once(const Descriptor& loop, const Descriptor& file, const std::string& name, const LoopOptions&);
int configure_in_steps(const Descriptor& loop, const Descriptor& file, const std::string& name, const LoopOptions&);

}  // namespace mdtool::serve
