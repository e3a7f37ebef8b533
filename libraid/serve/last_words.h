// SPDX-License-Identifier: GPL-2.0-or-later
// How a server left what it served, for the one who stops it. They stay in memory that the stopper has opened before
// the server ends: nothing is left behind. Knows text and three ways to end, not what was served.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "libraid/io/descriptor.h"

namespace mdtool {

enum class Left { in_order, with_losses, not_in_order };

struct ServerEnd {
  Left left = Left::not_in_order;
  std::string text;  // a sentence's end: "stopped, degraded"
};

// The server's side. Said by nobody: the server ended without closing what it served.
class LastWords {
 public:
  LastWords();
  void say(const ServerEnd&) const;

 private:
  Descriptor fd_;
};

// The other side. Best effort: a server that has no last words, or another user's, tells nothing.
class LastWordsOf {
 public:
  // While the server runs.
  explicit LastWordsOf(pid_t server);
  // After its end.
  std::optional<ServerEnd> read() const;

 private:
  Descriptor fd_;
};

}  // namespace mdtool
