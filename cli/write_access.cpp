// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/write_access.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "libraid/io/device_serial.h"
#include "libraid/io/file_place.h"

namespace mdtool::cli {

namespace {

constexpr std::string_view no_undo_word = "none";

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? std::nullopt : std::optional<std::string>(value);
}

std::string absolute(const std::string& path) {
  char* real = realpath(path.c_str(), nullptr);
  std::string out = real == nullptr ? path : real;
  std::free(real);
  return out;
}

LocatedFindings volatile_findings(const std::string& path) {
  const auto why = dies_with_power(path);
  if (!why) {
    return {};
  }
  return {{path,
           {Severity::warning, "undo-volatile", "",
            "this undo file dies with the power (" + *why + "): after a power cut nothing takes the run back",
            Effect::none}}};
}

}  // namespace

Result<WriteAccess::File*> WriteAccess::file_of(const Origin& origin) {
  for (const auto& file : files_) {
    if (file->identity == origin.identity) {
      return file.get();
    }
  }
  TRY(device, FileDevice::open(origin.file, Access::read_write));
  if (device->identity() != origin.identity) {
    return Error{ErrorKind::refused, origin.file + ": no longer the device that was examined; nothing was written"};
  }
  // The same number may be another disk's by now.
  if (device_serial(device->identity()) != origin.serial) {
    return Error{ErrorKind::refused, origin.file + ": no longer the disk that was examined; nothing was written"};
  }
  auto file = std::make_unique<File>();
  file->identity = origin.identity;
  file->device = std::move(device);
  file->past_cache = std::make_unique<UncachedSource>(*file->device);
  files_.push_back(std::move(file));
  return files_.back().get();
}

Status WriteAccess::add(const Origin& origin, const std::string& path, std::vector<PlannedExtent> extents) {
  TRY(file, file_of(origin));
  TRY(slice, Slice::of(*file->device, origin.offset_bytes, origin.size_bytes).in(path));
  TRY(past_cache, SourceSlice::of(*file->past_cache, origin.offset_bytes, origin.size_bytes).in(path));
  fences_.push_back(std::make_unique<FencedDevice>(std::move(slice), std::move(extents)));
  past_cache_.push_back(std::make_unique<SourceSlice>(past_cache));
  members_.push_back({path, fences_.back().get(), past_cache_.back().get()});
  undo_members_.push_back(
      {absolute(origin.file), origin.size_bytes, UndoIdentity{origin.offset_bytes, origin.serial}.text()});
  return Done{};
}

Status WriteAccess::zero_by(ZeroMethod wanted) {
  for (const auto& file : files_) {
    TRY(chosen, mdtool::zero_by(*file->device, wanted));
  }
  return Done{};
}

std::vector<FileIdentity> WriteAccess::identities() const {
  std::vector<FileIdentity> all;
  for (const auto& file : files_) {
    all.push_back(file->identity);
  }
  return all;
}

void UndoOption::add_to(Options& app) {
  app.add_option("--undo", word_, "Where the undo file goes (default: $XDG_STATE_HOME/mdtool/undo), or none")
      .type_name("FILE|none");
}

UndoOption::Kept UndoOption::kept() const {
  return word_ == no_undo_word ? Kept::nowhere : Kept::somewhere;
}

Result<UndoChoice> UndoOption::choose() const {
  if (kept() == Kept::nowhere) {
    return UndoChoice{};
  }
  if (!word_.empty()) {
    const std::filesystem::path folder = std::filesystem::path(word_).parent_path();
    std::error_code ignored;
    if (!folder.empty() && !std::filesystem::is_directory(folder, ignored)) {
      return Error{ErrorKind::refused,
                   word_ + ": there is no folder " + folder.string() + " (is the disk mounted?); nothing was written"};
    }
    return UndoChoice{word_, volatile_findings(word_)};
  }
  TRY(path, default_undo_path({environment("XDG_STATE_HOME"), environment("HOME"),
                               static_cast<std::uint64_t>(std::time(nullptr)), static_cast<std::uint64_t>(getpid())}));
  if (const auto why = dies_with_power(path)) {
    return Error{ErrorKind::refused, path + ": an undo file there would die with the power (" + *why +
                                         "): give --undo FILE on a disk that lasts, or --undo none"};
  }
  return UndoChoice{std::move(path), {}};
}

Result<std::unique_ptr<UndoSink>> open_undo(const UndoChoice& choice, const WriteAccess& access) {
  if (choice.path.empty()) {
    return std::unique_ptr<UndoSink>(std::make_unique<NoUndo>());
  }
  const std::vector<FileIdentity> below = stands_on(choice.path);
  for (const FileIdentity& member : access.identities()) {
    if (std::find(below.begin(), below.end(), member) != below.end()) {
      return Error{ErrorKind::refused,
                   choice.path + ": the file system there is on one of the members: give --undo FILE elsewhere"};
    }
  }
  TRY(file, UndoFile::create(choice.path, command_line(), access.undo_members()));
  return std::unique_ptr<UndoSink>(std::make_unique<UndoFile>(std::move(file)));
}

void remove_undo(const UndoSink& undo) {
  if (!undo.path().empty()) {
    std::remove(undo.path().c_str());
  }
}

void remove_undo_if_empty(const UndoSink& undo) {
  const auto contents = undo.path().empty() ? Result<UndoContents>(UndoContents{}) : read_undo_file(undo.path());
  if (contents && contents->records.empty()) {
    remove_undo(undo);
  }
}

Json undo_file_json(const UndoSink& undo) {
  return undo.path().empty() || ::access(undo.path().c_str(), F_OK) != 0 ? Json(nullptr) : Json(undo.path());
}

std::string command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  for (char& c : text) {
    c = c == '\0' ? ' ' : c;
  }
  while (!text.empty() && text.back() == ' ') {
    text.pop_back();
  }
  return text.empty() ? "mdtool" : text;
}

}  // namespace mdtool::cli
