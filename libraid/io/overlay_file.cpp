// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/overlay_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "libraid/io/descriptor.h"
#include "libraid/io/file.h"
#include "libraid/io/folder.h"

namespace mdtool {
namespace {

constexpr std::uint64_t sector_bytes = Sectors::bytes_each;
constexpr std::uint64_t most_bound_bytes = 64U << 10;  // per area; none that is known has more than 4096

// A file that grows where it is written.
class GrowingFile final : public BlockDevice {
 public:
  GrowingFile(std::string path, Descriptor fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::uint64_t size_bytes() const override {
    const off_t end = ::lseek(fd_.get(), 0, SEEK_END);
    return end < 0 ? 0 : static_cast<std::uint64_t>(end);
  }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override {
    while (!out.empty()) {
      const ssize_t n = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset_bytes));
      if (n == 0 || (n < 0 && errno != EINTR)) {
        return io_error(path_ + ": reading at byte " + std::to_string(offset_bytes), n == 0 ? EIO : errno);
      }
      const std::size_t got = n < 0 ? 0 : static_cast<std::size_t>(n);
      offset_bytes += got;
      out = out.subspan(got);
    }
    return Done{};
  }
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) override {
    while (!in.empty()) {
      const ssize_t n = ::pwrite(fd_.get(), in.data(), in.size(), static_cast<off_t>(offset_bytes));
      if (n == 0 || (n < 0 && errno != EINTR)) {
        return io_error(path_ + ": writing at byte " + std::to_string(offset_bytes), n == 0 ? EIO : errno);
      }
      const std::size_t done = n < 0 ? 0 : static_cast<std::size_t>(n);
      offset_bytes += done;
      in = in.subspan(done);
    }
    return Done{};
  }
  // Only ever the end of the file: what is cut off comes back as zeroes when the file grows again.
  Status zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override {
    if (offset_bytes + length_bytes != size_bytes()) {
      return BlockDevice::zero(offset_bytes, length_bytes);
    }
    if (::ftruncate(fd_.get(), static_cast<off_t>(offset_bytes)) != 0) {
      return io_error(path_ + ": cutting off what was never flushed", errno);
    }
    return Done{};
  }
  Status flush() override {
    if (::fdatasync(fd_.get()) != 0) {
      return io_error(path_ + ": flushing", errno);
    }
    return Done{};
  }

 private:
  std::string path_;
  Descriptor fd_;
};

Status lock(const std::string& path, int fd) {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(fd, F_OFD_SETLK, &whole) == 0) {
    return Done{};
  }
  if (errno == EAGAIN || errno == EACCES) {
    return Error{ErrorKind::refused, path + ": in use by another mdtool: an overlay file has one user at a time"};
  }
  return io_error(path + ": locking it", errno);
}

Result<std::unique_ptr<BlockDevice>> open_locked(const std::string& path) {
  // O_NONBLOCK: a FIFO would wait for its other end.
  Descriptor fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    return io_error(path, errno);
  }
  if (!S_ISREG(status.st_mode)) {
    return Error{ErrorKind::usage, path + ": no regular file"};
  }
  TRY(locked, lock(path, fd.get()));
  return std::unique_ptr<BlockDevice>(std::make_unique<GrowingFile>(path, std::move(fd)));
}

Result<std::vector<OverlayMember>> described(std::span<const OverlayBase> bases) {
  std::vector<OverlayMember> members;
  for (const OverlayBase& base : bases) {
    OverlayMember member{base.path, base.identity, base.data->size_bytes(), {}};
    for (const Area& area : base.bound) {
      if (area.length_bytes > most_bound_bytes) {
        return Error{ErrorKind::usage, base.path + ": an area of " + std::to_string(area.length_bytes) +
                                           " bytes cannot be kept in an overlay"};
      }
      TRY(bytes,
          read_bytes(*base.metadata, area.offset_bytes, static_cast<std::size_t>(area.length_bytes)).in(base.path));
      member.binding.push_back({area.name, area.offset_bytes, std::move(bytes)});
    }
    members.push_back(std::move(member));
  }
  return members;
}

Status write_new(BlockDevice& file, std::span<const OverlayMember> members) {
  const std::vector<std::byte> table = encode_overlay_members(members);
  if (table.size() > overlay_disk::most_table_bytes) {
    return Error{ErrorKind::refused, "these members need more than the 12 MiB that an overlay file has for them"};
  }
  const overlay_disk::Head head = overlay_disk::make_head(members, table);
  std::vector<std::byte> first(overlay_disk::table_offset);
  TRY(stored, store(std::span(first), 0, head));
  TRY(tabled, file.write(overlay_disk::table_offset, table));
  TRY(headed, file.write(0, first));
  return file.flush();
}

// One sector of bound bytes, or less at their ends: as it was, or as a commit that was cut may have left it.
bool is_known_version(const KnownVersions& known, std::uint32_t member, std::uint64_t offset_bytes,
                      std::span<const std::byte> was, std::span<const std::byte> now) {
  if (std::ranges::equal(was, now)) {
    return true;
  }
  return known.commit && std::ranges::any_of(known.commit->patches, [&](const OverlayPatch& patch) {
           if (patch.member != member || offset_bytes < patch.offset_bytes ||
               !fits(offset_bytes - patch.offset_bytes, now.size(), patch.bytes.size())) {
             return false;
           }
           const auto from = static_cast<std::size_t>(offset_bytes - patch.offset_bytes);
           return std::ranges::equal(std::span(patch.bytes).subspan(from, now.size()), now);
         });
}

// What keeps this base from being that member; none if nothing does.
Result<std::optional<std::string>> difference(const KnownVersions& known, std::uint32_t index,
                                              const OverlayBase& base) {
  const OverlayMember& member = known.members[index];
  if (base.data->size_bytes() != member.size_bytes) {
    return std::optional("it has " + std::to_string(base.data->size_bytes()) + " bytes and had " +
                         std::to_string(member.size_bytes));
  }
  for (const BoundBytes& bound : member.binding) {
    TRY(now, read_bytes(*base.metadata, bound.offset_bytes, bound.bytes.size()).in(base.path));
    for (std::size_t at = 0; at < now.size();) {
      const std::uint64_t place = bound.offset_bytes + at;
      const std::size_t length =
          static_cast<std::size_t>(std::min<std::uint64_t>(sector_bytes - place % sector_bytes, now.size() - at));
      if (!is_known_version(known, index, place, std::span(bound.bytes).subspan(at, length),
                            std::span(now).subspan(at, length))) {
        return std::optional("its " + bound.name + " is another one (from byte " + std::to_string(place) + ")");
      }
      at += length;
    }
  }
  return std::optional<std::string>();
}

Error fits_nowhere(const KnownVersions& known, const OverlayBase& base, const std::string& why) {
  const auto same = std::ranges::find_if(known.members, [&](const OverlayMember& member) {
    return !base.identity.empty() && member.identity == base.identity;
  });
  if (same == known.members.end()) {
    return {ErrorKind::refused, base.path + ": is none of the members that the overlay was made over"};
  }
  return {ErrorKind::refused, base.path + ": has changed since the overlay was made over it: " + why +
                                  ". What the overlay holds does not belong to what is there now"};
}

}  // namespace

Result<std::vector<std::uint32_t>> match_overlay(const KnownVersions& known, std::span<const OverlayBase> bases) {
  std::vector<std::uint32_t> found;
  for (const OverlayBase& base : bases) {
    std::string why;
    std::optional<std::uint32_t> match;
    for (std::uint32_t i = 0; i < known.members.size() && !match; ++i) {
      if (std::ranges::find(found, i) != found.end() || known.members[i].identity != base.identity) {
        continue;
      }
      TRY(differs, difference(known, i, base));
      if (!differs) {
        match = i;
      } else if (why.empty()) {
        why = *differs;
      }
    }
    if (!match) {
      return fits_nowhere(known, base, why);
    }
    found.push_back(*match);
  }
  return found;
}

Result<OverlayFile> OverlayFile::create(const std::string& path, std::span<const OverlayBase> bases) {
  TRY(members, described(bases));
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  TRY(made, make_folders(folder).in("making a folder for the overlay file"));
  Descriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) {
    if (errno == EEXIST) {
      return Error{ErrorKind::refused, path + ": exists already"};
    }
    return io_error(path, errno);
  }
  TRY(locked, lock(path, fd.get()));
  std::unique_ptr<BlockDevice> file = std::make_unique<GrowingFile>(path, std::move(fd));
  if (auto written = write_new(*file, members); !written) {
    ::unlink(path.c_str());
    return std::move(written).error().in(path);
  }
  TRY(synced, sync_folder(folder));
  std::vector<Placed> placed;
  for (const OverlayBase& base : bases) {
    placed.push_back({static_cast<std::uint32_t>(placed.size()), base.data});
  }
  TRY(store, OverlayStore::over(std::move(file), {std::move(members), {}, 0, {}}).in(path));
  return OverlayFile(path, std::move(store), std::move(placed));
}

Result<OverlayFile> OverlayFile::open(const std::string& path, std::span<const OverlayBase> bases, OverlayUse use) {
  TRY(file, open_locked(path));
  TRY(contents, read_overlay(*file).in(path));
  if (contents.commit && use == OverlayUse::serve) {
    return Error{ErrorKind::refused,
                 path + ": a commit of this overlay has begun: finish it with mdtool overlay commit"};
  }
  TRY(matched, match_overlay({contents.members, contents.commit}, bases).in(path));
  std::vector<Placed> placed;
  for (std::size_t i = 0; i < bases.size(); ++i) {
    placed.push_back({matched[i], bases[i].data});
  }
  TRY(store, OverlayStore::over(std::move(file), std::move(contents)).in(path));
  return OverlayFile(path, std::move(store), std::move(placed));
}

std::unique_ptr<BlockDevice> OverlayFile::device(std::size_t base) const {
  return std::make_unique<OverlayDevice>(*store_, bases_[base].member, *bases_[base].data);
}

Status OverlayFile::check_unchanged(std::size_t base, const Source& now) const {
  const OverlayMember& member = members()[bases_[base].member];
  TRY(differs, difference({members(), commit()}, bases_[base].member, {member.path, {}, &now, &now, {}}));
  if (differs) {
    return Error{ErrorKind::refused, member.path + ": has changed since it was looked at: " + *differs};
  }
  return Done{};
}

Status OverlayFile::remove() {
  if (::unlink(path_.c_str()) != 0) {
    return io_error(path_ + ": removing it", errno);
  }
  return sync_folder(std::filesystem::path(path_).parent_path());
}

Result<OverlayContents> read_overlay_file(const std::string& path) {
  TRY(file, FileDevice::open(path, Access::read_only));
  return read_overlay(*file).in(path);
}

}  // namespace mdtool
