// SPDX-License-Identifier: GPL-2.0-or-later
// A verb's options and arguments, bound to the fields that take them. The one door to the command-line parser: its
// header costs more to compile than most verbs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libmeta/result.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace mdtool::cli {

// One of them, while it is set up.
class Option {
 public:
  explicit Option(CLI::Option& option) : option_(&option) {}
  Option& required();
  Option& one_of(const std::vector<std::string>& values);
  Option& in_range(std::uint32_t least, std::uint32_t most);
  Option& type_name(const std::string& name);
  // Otherwise an empty word as its value is a usage error.
  Option& may_be_empty();

 private:
  CLI::Option* option_;
};

class Options {
 public:
  Options(const std::string& summary, const std::string& name);
  ~Options();
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  // Names as "-n,--dry-run"; without dashes: an argument. A list takes every further one.
  Option add_option(const std::string& names, std::string& value, const std::string& description);
  Option add_option(const std::string& names, std::vector<std::string>& values, const std::string& description);
  Option add_option(const std::string& names, std::uint32_t& value, const std::string& description);
  Option add_option(const std::string& names, std::optional<std::string>& value, const std::string& description);
  Option add_option(const std::string& names, std::optional<std::uint32_t>& value, const std::string& description);
  Option add_flag(const std::string& names, bool& value, const std::string& description);
  // "--name{default}": alone it gives the default, as --name=VALUE the value.
  Option add_flag(const std::string& names, std::string& value, const std::string& description);

  std::string help() const;
  enum class Parsed { done, help_wanted };
  // Usage error where the arguments do not fit.
  Result<Parsed> parse(std::vector<std::string> arguments);
  // Once parsed: whether the option of this name ("--dry-run") was on the command line, by any of its names.
  bool given(const std::string& name) const;

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace mdtool::cli
