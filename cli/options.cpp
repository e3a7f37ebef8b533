// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/options.h"

#include <CLI/CLI.hpp>

namespace mdtool::cli {

namespace {

// CLI11 reads "[a,b]" as a list; it may be a member's name.
std::string not_a_list(std::string argument) {
  const bool list = argument.size() >= 2 && argument.front() == '[' && argument.back() == ']';
  return list ? "./" + argument : argument;
}

constexpr const char* not_empty_name = "NOT_EMPTY";

// What is said is never taken for not said.
CLI::Option& not_empty(CLI::Option& option) {
  const CLI::Validator check([](const std::string& value) { return value.empty() ? "an empty word" : ""; }, "",
                             not_empty_name);
  return option.get_positional() ? option : *option.check(check);
}

// "--name=" with nothing behind it: CLI11 would take the next argument for the value.
const std::string* without_value(const std::vector<std::string>& arguments) {
  for (const std::string& argument : arguments) {
    if (argument == "--") {
      break;
    }
    if (argument.starts_with("--") && argument.find('=') == argument.size() - 1) {
      return &argument;
    }
  }
  return nullptr;
}

}  // namespace

Option& Option::required() {
  option_->required();
  return *this;
}

Option& Option::one_of(const std::vector<std::string>& values) {
  option_->check(CLI::IsMember(values));
  return *this;
}

Option& Option::in_range(std::uint32_t least, std::uint32_t most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

Option& Option::type_name(const std::string& name) {
  option_->type_name(name);
  return *this;
}

Option& Option::may_be_empty() {
  option_->get_validator(not_empty_name)->active(false);
  return *this;
}

Options::Options(const std::string& summary, const std::string& name)
    : app_(std::make_unique<CLI::App>(summary, name)) {}

Options::~Options() = default;

Option Options::add_option(const std::string& names, std::string& value, const std::string& description) {
  return Option(not_empty(*app_->add_option(names, value, description)));
}

Option Options::add_option(const std::string& names, std::vector<std::string>& values, const std::string& description) {
  return Option(not_empty(*app_->add_option(names, values, description)));
}

Option Options::add_option(const std::string& names, std::uint32_t& value, const std::string& description) {
  return Option(not_empty(*app_->add_option(names, value, description)));
}

Option Options::add_option(const std::string& names, std::optional<std::string>& value,
                           const std::string& description) {
  return Option(not_empty(*app_->add_option(names, value, description)));
}

Option Options::add_option(const std::string& names, std::optional<std::uint32_t>& value,
                           const std::string& description) {
  return Option(not_empty(*app_->add_option(names, value, description)));
}

Option Options::add_flag(const std::string& names, bool& value, const std::string& description) {
  return Option(*app_->add_flag(names, value, description));
}

Option Options::add_flag(const std::string& names, std::string& value, const std::string& description) {
  return Option(*app_->add_flag(names, value, description));
}

std::string Options::help() const {
  return app_->help();
}

bool Options::given(const std::string& name) const {
  return app_->count(name) != 0;
}

Result<Options::Parsed> Options::parse(std::vector<std::string> arguments) {
  if (const std::string* bare = without_value(arguments)) {
    return Error{ErrorKind::usage, *bare + " has nothing behind it"};
  }
  for (CLI::Option* option : app_->get_options()) {
    option->allow_extra_args(option->get_positional());
  }
  for (std::string& argument : arguments) {
    argument = not_a_list(std::move(argument));
  }
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app_->parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    return Parsed::help_wanted;
  } catch (const CLI::ParseError& error) {
    return Error{ErrorKind::usage, error.what()};
  }
  return Parsed::done;
}

}  // namespace mdtool::cli
