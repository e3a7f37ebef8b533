// SPDX-License-Identifier: GPL-2.0-or-later
// Progress on stderr: one line on a terminal (at most 10 a second), a line per 30 seconds elsewhere, or JSON lines.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace mdtool::cli {

class Progress {
 public:
  enum class Style { automatic, json, none };

  explicit Progress(Style style);

  void set_style(Style style) { style_ = style; }
  // Starts a run of `total_bytes`; `verb` names it ("copy").
  void begin(std::string verb, std::uint64_t total_bytes);
  void update(std::uint64_t done_bytes, std::uint64_t errors = 0);
  // Ends the run; prints the last state and, on a terminal, leaves the line.
  void end();

 private:
  using Clock = std::chrono::steady_clock;
  void print(Clock::time_point now);
  std::string line(double seconds) const;
  std::string json_line(double seconds) const;
  Clock::duration interval() const;

  Style style_;
  bool terminal_;
  std::string verb_;
  std::uint64_t total_bytes_ = 0;
  std::uint64_t done_bytes_ = 0;
  std::uint64_t errors_ = 0;
  Clock::time_point started_{};
  Clock::time_point printed_{};
  bool line_open_ = false;
};

}  // namespace mdtool::cli
