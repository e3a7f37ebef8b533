// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/undo_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>

#include "libmeta/checksum.h"
#include "libmeta/ondisk.h"
#include "libraid/io/compress.h"
#include "libraid/io/file.h"
#include "libraid/io/folder.h"

namespace mdtool {
namespace {

constexpr std::uint64_t most_bytes = 64U << 20;  // of the file, and of all frames uncompressed
constexpr std::uint32_t most_members = 4096;
constexpr std::size_t most_records = 128U << 10;
constexpr std::uint32_t format_version = 1;
constexpr std::string_view serial_mark = " serial=";
constexpr std::array<char, 8> undo_tag = {'m', 'd', 't', 'l', 'u', 'n', 'd', 'o'};

// A zstd skippable frame, in front of each frame that holds something.
struct FrameHead {
  le32 skippable_magic;
  le32 skippable_bytes;  // of what follows
  std::array<char, 8> tag{};
  le32 version;
  le32 sequence;  // 0: the description; then one for each append()
  le64 frame_bytes;
  le64 raw_bytes;
  le32 check;  // CRC-32C of everything before it
};
static_assert(sizeof(FrameHead) == 44);

constexpr std::uint32_t skippable_head_bytes = 8;

std::uint32_t check_of(const FrameHead& head) {
  const auto bytes = std::as_bytes(std::span(&head, 1));
  return crc32c_standard(bytes.first(sizeof(FrameHead) - sizeof(head.check)));
}

FrameHead make_head(std::uint32_t sequence, std::uint64_t frame_bytes, std::uint64_t raw_bytes) {
  FrameHead head;
  head.skippable_magic = ZSTD_MAGIC_SKIPPABLE_START;
  head.skippable_bytes = sizeof(FrameHead) - skippable_head_bytes;
  head.tag = undo_tag;
  head.version = format_version;
  head.sequence = sequence;
  head.frame_bytes = frame_bytes;
  head.raw_bytes = raw_bytes;
  head.check = check_of(head);
  return head;
}

bool is_valid(const FrameHead& head) {
  return head.skippable_magic == ZSTD_MAGIC_SKIPPABLE_START && head.tag == undo_tag && head.check == check_of(head);
}

class Writer {
 public:
  template <DiskStructure T>
  void put(const T& value) {
    put_bytes(std::as_bytes(std::span(&value, 1)));
  }
  void put_bytes(std::span<const std::byte> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void put_text(std::string_view text) {
    put(le32(static_cast<std::uint32_t>(text.size())));
    put_bytes(std::as_bytes(std::span(text)));
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// Reads in order; once something does not fit, everything after is empty and ok() is false.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> rest) : rest_(rest) {}

  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }
  void fail() {
    ok_ = false;
    rest_ = {};
  }
  std::span<const std::byte> take(std::uint64_t length) {
    if (length > rest_.size()) {
      fail();
      return {};
    }
    const auto taken = rest_.first(static_cast<std::size_t>(length));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  template <DiskStructure T>
  T take() {
    const auto value = load<T>(take(sizeof(T)), 0);
    return value ? *value : T{};
  }
  std::string take_text() {
    const auto bytes = take(take<le32>());
    std::string text(bytes.size(), '\0');
    std::transform(bytes.begin(), bytes.end(), text.begin(), [](std::byte b) { return static_cast<char>(b); });
    return text;
  }
  std::vector<std::byte> take_vector(std::uint64_t length) {
    const auto bytes = take(length);
    return {bytes.begin(), bytes.end()};
  }

 private:
  std::span<const std::byte> rest_;
  bool ok_ = true;
};

std::vector<std::byte> encode_description(std::string_view command_line, std::span<const UndoMember> members) {
  Writer out;
  out.put_text(command_line);
  out.put(le32(static_cast<std::uint32_t>(members.size())));
  for (const UndoMember& member : members) {
    out.put_text(member.path);
    out.put(le64(member.size_bytes));
    out.put_text(member.identity);
  }
  return out.bytes();
}

bool decode_description(std::span<const std::byte> raw, UndoContents& contents) {
  Cursor in(raw);
  contents.command_line = in.take_text();
  const std::uint32_t count = in.take<le32>();
  if (count > most_members) {
    return false;
  }
  for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
    UndoMember member;
    member.path = in.take_text();
    member.size_bytes = in.take<le64>();
    member.identity = in.take_text();
    contents.members.push_back(std::move(member));
  }
  return in.ok() && in.at_end();
}

bool is_sound(const UndoRecord& record, std::span<const UndoMember> members) {
  return record.member < members.size() && !record.before.empty() && record.before.size() == record.after.size() &&
         fits(record.offset_bytes, record.before.size(), members[record.member].size_bytes);
}

std::vector<std::byte> encode_records(std::span<const UndoRecord> records) {
  Writer out;
  for (const UndoRecord& record : records) {
    out.put(le32(record.member));
    out.put(le64(record.offset_bytes));
    out.put(le32(static_cast<std::uint32_t>(record.before.size())));
    out.put_bytes(record.before);
    out.put_bytes(record.after);
  }
  return out.bytes();
}

bool decode_records(std::span<const std::byte> raw, std::uint32_t stage, UndoContents& contents) {
  Cursor in(raw);
  while (!in.at_end()) {
    UndoRecord record;
    record.stage = stage;
    record.member = in.take<le32>();
    record.offset_bytes = in.take<le64>();
    const std::uint32_t length = in.take<le32>();
    record.before = in.take_vector(length);
    record.after = in.take_vector(length);
    if (!in.ok() || !is_sound(record, contents.members) || contents.records.size() == most_records) {
      return false;
    }
    contents.records.push_back(std::move(record));
  }
  return true;
}

std::optional<std::vector<std::byte>> decompressed(std::span<const std::byte> frame, std::uint64_t raw_bytes) {
  if (ZSTD_getFrameContentSize(frame.data(), frame.size()) != raw_bytes) {
    return std::nullopt;
  }
  std::vector<std::byte> raw(static_cast<std::size_t>(raw_bytes));
  const std::size_t length = ZSTD_decompress(raw.data(), raw.size(), frame.data(), frame.size());
  return length == raw_bytes ? std::optional(std::move(raw)) : std::nullopt;
}

Error damaged(std::uint64_t at, std::string_view what) {
  return {ErrorKind::format, "undo file damaged at byte " + std::to_string(at) + ": " + std::string(what)};
}

// True if a frame with a later number begins anywhere in there: then what is before it is not the tail.
bool holds_later_frame(std::span<const std::byte> bytes, std::uint32_t sequence) {
  const auto tag = std::as_bytes(std::span(undo_tag));
  for (auto from = bytes.begin();; ++from) {
    from = std::search(from, bytes.end(), tag.begin(), tag.end());
    if (from == bytes.end()) {
      return false;
    }
    const std::ptrdiff_t head_at = from - bytes.begin() - skippable_head_bytes;
    const auto head = load<FrameHead>(bytes, head_at < 0 ? bytes.size() : static_cast<std::size_t>(head_at));
    if (head && is_valid(*head) && head->sequence > sequence) {
      return true;
    }
  }
}

class Reader {
 public:
  explicit Reader(std::span<const std::byte> file) : file_(file) {}

  Result<UndoContents> read() {
    while (at_ < file_.size() && !contents_.tail_dropped) {
      TRY(frame, read_frame());
    }
    if (sequence_ == 0) {
      return Error{ErrorKind::format, "not an undo file, or cut off before it was of use"};
    }
    return std::move(contents_);
  }

 private:
  Status read_frame() {
    const auto head = load<FrameHead>(file_, at_);
    if (!head || !is_valid(*head)) {
      return drop_tail("no frame begins there");
    }
    if (head->version != format_version) {
      return damaged(at_, "version " + std::to_string(head->version) + "; this mdtool reads version 1");
    }
    const std::size_t body = at_ + sizeof(FrameHead);
    if (head->sequence != sequence_ || head->raw_bytes > most_bytes - raw_bytes_) {
      return damaged(at_, "a frame out of order, or too large");
    }
    if (!fits(body, head->frame_bytes, file_.size())) {
      return drop_tail("a frame that does not end");
    }
    const auto raw = decompressed(file_.subspan(body, static_cast<std::size_t>(head->frame_bytes)), head->raw_bytes);
    if (!raw) {
      return drop_tail("a frame whose checksum is wrong");
    }
    if (!(sequence_ == 0 ? decode_description(*raw, contents_) : decode_records(*raw, sequence_, contents_))) {
      return damaged(at_, "a frame that makes no sense");
    }
    raw_bytes_ += head->raw_bytes;
    at_ = body + static_cast<std::size_t>(head->frame_bytes);
    ++sequence_;
    return Done{};
  }

  Status drop_tail(std::string_view why) {
    if (holds_later_frame(file_.subspan(at_), sequence_)) {
      return damaged(at_, why);
    }
    contents_.tail_dropped = true;
    return Done{};
  }

  std::span<const std::byte> file_;
  std::size_t at_ = 0;
  std::uint32_t sequence_ = 0;
  std::uint64_t raw_bytes_ = 0;
  UndoContents contents_;
};

}  // namespace

UndoFile::UndoFile(std::string path, Descriptor fd, std::vector<UndoMember> members)
    : path_(std::move(path)), fd_(std::move(fd)), members_(std::move(members)) {}

Result<UndoFile> UndoFile::create(const std::string& path, const std::string& command_line,
                                  std::vector<UndoMember> members) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  TRY(made, make_folders(folder).in("making a folder for the undo file"));
  Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) {
    if (errno == EEXIST) {
      return Error{ErrorKind::refused, path + ": exists already; an undo file is never overwritten"};
    }
    return io_error(path, errno);
  }
  UndoFile file(path, std::move(fd), std::move(members));
  Status described = file.append_frame(encode_description(command_line, file.members_));
  Status synced = described ? sync_folder(folder) : std::move(described);
  if (!synced) {
    ::unlink(path.c_str());
    return std::move(synced).error();
  }
  return file;
}

Status UndoFile::append(std::span<const UndoRecord> records) {
  const bool sound = std::all_of(records.begin(), records.end(),
                                 [this](const UndoRecord& record) { return is_sound(record, members_); });
  if (!sound) {
    return Error{ErrorKind::usage, path_ + ": a record that does not lie inside of a member"};
  }
  return append_frame(encode_records(records));
}

Status UndoFile::append_frame(std::span<const std::byte> raw) {
  if (failed_) {
    return Error{ErrorKind::io, path_ + ": an earlier write to this undo file failed"};
  }
  if (raw.size() > most_bytes - raw_bytes_) {
    return Error{ErrorKind::refused, path_ + ": the undo file would pass 64 MiB"};
  }
  TRY(frame, compressed(raw).in(path_));
  Writer out;
  out.put(make_head(frames_, frame.size(), raw.size()));
  out.put_bytes(frame);
  failed_ = true;
  std::size_t done = 0;
  while (done < out.bytes().size()) {
    const ssize_t n = ::pwrite(fd_.get(), out.bytes().data() + done, out.bytes().size() - done,
                               static_cast<off_t>(file_bytes_ + done));
    if (n < 0 && errno != EINTR) {
      return io_error(path_ + ": writing at byte " + std::to_string(file_bytes_ + done), errno);
    }
    done += n < 0 ? 0 : static_cast<std::size_t>(n);
  }
  if (::fdatasync(fd_.get()) != 0) {
    return io_error(path_ + ": flushing", errno);
  }
  failed_ = false;
  ++frames_;
  raw_bytes_ += raw.size();
  file_bytes_ += out.bytes().size();
  return Done{};
}

std::string UndoIdentity::text() const {
  return std::to_string(offset_bytes) + (serial ? std::string(serial_mark) + *serial : "");
}

std::optional<UndoIdentity> UndoIdentity::parse(std::string_view text) {
  UndoIdentity identity;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, identity.offset_bytes);
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  if (error != std::errc() || (!text.empty() && !text.starts_with(serial_mark))) {
    return std::nullopt;
  }
  if (!text.empty()) {
    identity.serial = std::string(text.substr(serial_mark.size()));
  }
  return identity;
}

Result<UndoContents> read_undo_file(const std::string& path) {
  TRY(file, FileDevice::open(path, Access::read_only));
  if (file->size_bytes() > most_bytes) {
    return Error{ErrorKind::format, path + ": larger than any undo file"};
  }
  TRY(bytes, read_bytes(*file, 0, static_cast<std::size_t>(file->size_bytes())));
  return decode_undo_file(bytes).in(path);
}

Result<UndoContents> decode_undo_file(std::span<const std::byte> file) {
  if (file.size() > most_bytes) {
    return Error{ErrorKind::format, "larger than any undo file"};
  }
  return Reader(file).read();
}

}  // namespace mdtool
