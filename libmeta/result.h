// SPDX-License-Identifier: GPL-2.0-or-later
// Result<T>: a value, or the reason why there is none. Knows nothing of metadata; `Error` gains context on its way up.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace mdtool {

enum class ErrorKind {
  io,            // a device or the system said no
  format,        // bytes cannot be interpreted
  out_of_range,  // beyond the end of something
  refused,       // a safety check, or too few members: nothing was written
  usage,         // the caller asked for something that does not exist
  interrupted,   // stopped at a checkpoint
};

struct Error {
  ErrorKind kind = ErrorKind::io;
  std::string text;

  // The same error with "context: " in front.
  Error in(std::string_view context) && {
    text.insert(0, ": ").insert(0, context);
    return std::move(*this);
  }
};

Error io_error(std::string_view what, int errno_value);

// What a function returns that has nothing to say but success.
struct Done {};

template <typename T>
class [[nodiscard]] Result {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error& error() & { return std::get<1>(state_); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

  // The same result, its error with context in front.
  Result in(std::string_view context) && {
    if (!has_value()) {
      return std::move(*this).error().in(context);
    }
    return std::move(*this);
  }

 private:
  std::variant<T, Error> state_;
};

using Status = Result<Done>;

// Declares `name` as the value of a Result, or returns its error from the enclosing function.
#define TRY(name, ...)                       \
  auto name##_result = (__VA_ARGS__);        \
  if (!name##_result) {                      \
    return std::move(name##_result).error(); \
  }                                          \
  [[maybe_unused]] auto& name = *name##_result

}  // namespace mdtool
