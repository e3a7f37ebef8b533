// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/progress.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "cli/output_text.h"

namespace mdtool::cli {

namespace {

constexpr std::chrono::milliseconds terminal_interval{100};
constexpr std::chrono::seconds log_interval{30};
constexpr std::chrono::seconds json_interval{1};

int percent(std::uint64_t done, std::uint64_t total) {
  return total == 0 ? 100 : static_cast<int>(static_cast<double>(done) * 100.0 / static_cast<double>(total));
}

double rate(std::uint64_t bytes, double seconds) {
  return seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
}

std::string eta(std::uint64_t left_bytes, double bytes_per_second) {
  if (bytes_per_second <= 0) {
    return "?";
  }
  const auto seconds = static_cast<std::uint64_t>(static_cast<double>(left_bytes) / bytes_per_second);
  return std::to_string(seconds / 60) + "m" + std::to_string(seconds % 60) + "s";
}

}  // namespace

Progress::Progress(Style style) : style_(style), terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::begin(std::string verb, std::uint64_t total_bytes) {
  verb_ = std::move(verb);
  total_bytes_ = total_bytes;
  done_bytes_ = 0;
  errors_ = 0;
  started_ = Clock::now();
  printed_ = started_;
}

void Progress::update(std::uint64_t done_bytes, std::uint64_t errors) {
  done_bytes_ = done_bytes;
  errors_ = errors;
  const auto now = Clock::now();
  if (now - printed_ >= interval()) {
    print(now);
  }
}

void Progress::end() {
  if (line_open_ || style_ == Style::json) {
    print(Clock::now());
  }
  if (line_open_) {
    std::fputc('\n', stderr);
    line_open_ = false;
  }
}

Progress::Clock::duration Progress::interval() const {
  if (style_ == Style::json) {
    return json_interval;
  }
  return terminal_ ? Clock::duration(terminal_interval) : Clock::duration(log_interval);
}

void Progress::print(Clock::time_point now) {
  printed_ = now;
  const double seconds = std::chrono::duration<double>(now - started_).count();
  if (style_ == Style::none) {
    return;
  }
  if (style_ == Style::json) {
    std::fprintf(stderr, "%s\n", json_line(seconds).c_str());
  } else if (terminal_) {
    std::fprintf(stderr, "\r%s\033[K", line(seconds).c_str());
    line_open_ = true;
  } else {
    std::fprintf(stderr, "%s\n", line(seconds).c_str());
  }
  std::fflush(stderr);
}

std::string Progress::line(double seconds) const {
  const double bytes_per_second = rate(done_bytes_, seconds);
  std::string text = verb_ + ": " + std::to_string(percent(done_bytes_, total_bytes_)) + "% of " +
                     human_size(total_bytes_) + ", " + human_size(static_cast<std::uint64_t>(bytes_per_second)) +
                     "/s, " + eta(total_bytes_ - done_bytes_, bytes_per_second) + " left";
  if (errors_ > 0) {
    text += ", " + std::to_string(errors_) + " errors";
  }
  return text;
}

std::string Progress::json_line(double seconds) const {
  return "{\"progress\": \"" + verb_ + "\", \"done_bytes\": " + std::to_string(done_bytes_) +
         ", \"total_bytes\": " + std::to_string(total_bytes_) + ", \"seconds\": " + std::to_string(seconds) +
         ", \"errors\": " + std::to_string(errors_) + "}";
}

}  // namespace mdtool::cli
