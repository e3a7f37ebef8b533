// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/overlay.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace mdtool {

using namespace overlay_disk;

namespace {

constexpr std::uint64_t sector_bytes = Sectors::bytes_each;
constexpr std::uint64_t records_per_sector = sector_bytes / sizeof(Entry);
constexpr std::uint64_t sectors_per_page = page_bytes / sector_bytes;

// Sectors `first` to `end` (excluded) of a block.
std::uint64_t sectors_mask(std::uint64_t first, std::uint64_t end) {
  const std::uint64_t below_end = end == overlay_block_sectors ? ~std::uint64_t{0} : (std::uint64_t{1} << end) - 1;
  return below_end & (~std::uint64_t{0} << first);
}

// Which sector of all index sectors an entry lies in.
std::uint32_t index_sector_of(std::uint64_t number) {
  const std::uint64_t record = number % entries_each + 1;
  return static_cast<std::uint32_t>(number / entries_each * sectors_per_page + record / records_per_sector);
}

}  // namespace

// Neighbouring bytes that come from one place.
struct OverlayStore::Segment {
  enum class From { below, file, nowhere } from;
  std::uint64_t length_bytes;
  std::uint64_t file_offset;

  friend bool continues(const Segment& a, const Segment& b) {
    return a.from == b.from && (a.from != From::file || a.file_offset + a.length_bytes == b.file_offset);
  }
};

// The blocks that a part of one request touches. Bounded, so that a request of any size needs no memory.
struct OverlayStore::Pieces {
  static constexpr std::size_t most = 32;
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
  std::array<std::uint32_t, most> numbers{};

  struct Piece {
    std::uint32_t number;
    std::uint64_t first_byte;  // in the block
    std::uint64_t length_bytes;
  };
  template <typename Visit>
  void each(Visit visit) const {
    std::uint64_t done = 0;
    for (std::size_t i = 0; done < length_bytes; ++i) {
      const std::uint64_t inside = (offset_bytes + done) % overlay_block_bytes;
      const std::uint64_t length = std::min(overlay_block_bytes - inside, length_bytes - done);
      visit(Piece{numbers[i], inside, length});
      done += length;
    }
  }
};

OverlayStore::OverlayStore(std::unique_ptr<BlockDevice> file, OverlayContents contents, std::uint64_t groups_bytes)
    : file_(std::move(file)),
      members_(std::move(contents.members)),
      commit_(std::move(contents.commit)),
      groups_bytes_(groups_bytes),
      index_(std::move(contents.index)),
      is_dirty_(index_.size()),
      pages_on_disk_(contents.pages) {
  durable_.reserve(index_.size());
  for (std::size_t i = 0; i < index_.size(); ++i) {
    durable_.push_back({index_[i].valid, index_[i].zeroed});
  }
}

Result<std::unique_ptr<OverlayStore>> OverlayStore::over(std::unique_ptr<BlockDevice> file, OverlayContents contents) {
  const std::uint64_t groups = groups_offset(encode_overlay_members(contents.members).size());
  const std::uint64_t end = page_offset(groups, contents.pages);
  // Pages that a cut left behind one that is missing: an entry of theirs would come back with other data.
  if (!contents.commit && file->size_bytes() > end) {
    TRY(zeroed, file->zero(end, file->size_bytes() - end));
    TRY(flushed, file->flush());
  }
  return std::unique_ptr<OverlayStore>(new OverlayStore(std::move(file), std::move(contents), groups));
}

Status OverlayStore::check_usable() const {
  if (failed_) {
    return Error{ErrorKind::io, "the overlay file is in an unknown state: an earlier flush of it failed"};
  }
  if (commit_) {
    return Error{ErrorKind::refused, "a commit of this overlay has begun: it is not written any more"};
  }
  return Done{};
}

Status OverlayStore::begin_commit(OverlayCommit commit) {
  TRY(usable, check_usable());
  TRY(flushed, flush());
  const std::vector<std::byte> record = encode_overlay_commit(commit);
  if (record.size() > most_commit_bytes) {
    return Error{ErrorKind::refused, "the metadata of this commit has more than 28 MiB"};
  }
  Status recorded = record_commit(record);
  failed_ = !recorded;
  commit_ = std::move(commit);
  return recorded;
}

Status OverlayStore::record_commit(std::span<const std::byte> record) {
  const std::uint64_t at = page_offset(groups_bytes_, pages_on_disk_);
  const CommitHead head = make_commit_head(at, record);
  TRY(recorded, file_->write(at, record));
  TRY(durable, file_->flush());
  TRY(headed, file_->write(commit_head_offset, std::as_bytes(std::span(&head, 1))));
  return file_->flush();
}

OverlayStore::Segment OverlayStore::segment_at(std::uint32_t member, std::uint64_t offset_bytes,
                                               std::uint64_t most_bytes) const {
  using From = Segment::From;
  const std::uint64_t inside = offset_bytes % overlay_block_bytes;
  const std::uint64_t length = std::min(overlay_block_bytes - inside, most_bytes);
  const auto number = index_.find(member, offset_bytes / overlay_block_bytes);
  if (!number) {
    return {From::below, length, 0};
  }
  const OverlayBlock& block = index_[*number];
  const std::uint64_t sector = inside / sector_bytes;
  const std::uint64_t bit = std::uint64_t{1} << sector;
  const From from = (block.valid & bit) == 0 ? From::below : (block.zeroed & bit) != 0 ? From::nowhere : From::file;
  const std::uint64_t alike = from == From::below     ? ~block.valid
                              : from == From::nowhere ? block.zeroed
                                                      : block.written();
  const auto run = static_cast<std::uint64_t>(std::countr_one(alike >> sector));
  return {from, std::min(length, (sector + run) * sector_bytes - inside),
          block_offset(groups_bytes_, *number) + inside};
}

Status OverlayStore::read(std::uint32_t member, const Source& below, std::uint64_t offset_bytes,
                          std::span<std::byte> out) const {
  while (!out.empty()) {
    Segment segment{};
    {
      const std::shared_lock lock(index_mutex_);
      segment = segment_at(member, offset_bytes, out.size());
      while (segment.length_bytes < out.size()) {
        const Segment next = segment_at(member, offset_bytes + segment.length_bytes, out.size() - segment.length_bytes);
        if (!continues(segment, next)) {
          break;
        }
        segment.length_bytes += next.length_bytes;
      }
    }
    const auto part = out.first(static_cast<std::size_t>(segment.length_bytes));
    if (segment.from == Segment::From::below) {
      TRY(got, below.read(offset_bytes, part));
    } else if (segment.from == Segment::From::file) {
      TRY(got, file_->read(segment.file_offset, part));
    } else {
      std::fill(part.begin(), part.end(), std::byte{0});
    }
    offset_bytes += segment.length_bytes;
    out = out.subspan(part.size());
  }
  return Done{};
}

Result<OverlayStore::Pieces> OverlayStore::claim(std::uint32_t member, std::uint64_t offset_bytes,
                                                 std::uint64_t most_bytes) {
  Pieces pieces;
  const std::uint64_t room = Pieces::most * overlay_block_bytes - offset_bytes % overlay_block_bytes;
  pieces.offset_bytes = offset_bytes;
  pieces.length_bytes = std::min(most_bytes, room);
  const std::uint64_t first = offset_bytes / overlay_block_bytes;
  const std::uint64_t last = (offset_bytes + pieces.length_bytes - 1) / overlay_block_bytes;
  const std::unique_lock lock(index_mutex_);
  for (std::uint64_t block = first; block <= last; ++block) {
    auto number = index_.find(member, block);
    if (!number) {
      number = index_.add({block, 0, 0, member});
      if (!number) {
        return Error{ErrorKind::out_of_range, "the overlay file has as many blocks as it can have"};
      }
      is_dirty_.push_back(false);
    }
    pieces.numbers[block - first] = static_cast<std::uint32_t>(*number);
  }
  return pieces;
}

Status OverlayStore::write_pieces(const Pieces& pieces, std::span<const std::byte> in) {
  // Blocks that were new to the overlay mostly lie side by side.
  std::uint64_t at = 0;
  std::size_t length = 0;
  Status written = Done{};
  const auto write_out = [&] {
    if (length != 0 && written) {
      written = file_->write(at, in.first(length));
      in = in.subspan(length);
    }
  };
  pieces.each([&](const Pieces::Piece& piece) {
    const std::uint64_t place = block_offset(groups_bytes_, piece.number) + piece.first_byte;
    if (length == 0 || at + length != place) {
      write_out();
      at = place;
      length = 0;
    }
    length += static_cast<std::size_t>(piece.length_bytes);
  });
  write_out();
  return written;
}

void OverlayStore::publish(const Pieces& pieces, Mark mark) {
  const std::unique_lock lock(index_mutex_);
  pieces.each([&](const Pieces::Piece& piece) {
    const std::uint64_t end = (piece.first_byte + piece.length_bytes + sector_bytes - 1) / sector_bytes;
    const std::uint64_t sectors = sectors_mask(piece.first_byte / sector_bytes, end);
    OverlayBlock& block = index_[piece.number];
    const std::uint64_t zeroed = mark == Mark::zeroed ? block.zeroed | sectors : block.zeroed & ~sectors;
    const bool news = (block.valid & sectors) != sectors || zeroed != block.zeroed;
    block.valid |= sectors;
    block.zeroed = zeroed;
    if (news && !is_dirty_[piece.number]) {
      is_dirty_[piece.number] = true;
      dirty_.push_back(piece.number);
    }
  });
}

// Whole sectors, but for the last one of a member that ends inside of one.
Status OverlayStore::write_sectors(std::uint32_t member, std::uint64_t offset_bytes, std::span<const std::byte> in) {
  while (!in.empty()) {
    TRY(pieces, claim(member, offset_bytes, in.size()));
    const auto part = in.first(static_cast<std::size_t>(pieces.length_bytes));
    TRY(written, write_pieces(pieces, part));
    publish(pieces, Mark::written);
    offset_bytes += part.size();
    in = in.subspan(part.size());
  }
  return Done{};
}

// A part of one sector: what else is in it is kept.
Status OverlayStore::write_part(std::uint32_t member, const Source& below, std::uint64_t offset_bytes,
                                std::span<const std::byte> in) {
  const std::lock_guard lock(part_mutex_);
  const std::uint64_t inside = offset_bytes % sector_bytes;
  const std::uint64_t first = offset_bytes - inside;
  std::array<std::byte, sector_bytes> bytes{};
  const auto sector =
      std::span(bytes).first(static_cast<std::size_t>(std::min(sector_bytes, below.size_bytes() - first)));
  TRY(kept, read(member, below, first, sector));
  std::copy(in.begin(), in.end(), sector.begin() + static_cast<std::ptrdiff_t>(inside));
  return write_sectors(member, first, sector);
}

Status OverlayStore::write(std::uint32_t member, const Source& below, std::uint64_t offset_bytes,
                           std::span<const std::byte> in) {
  TRY(usable, check_usable());
  const std::uint64_t end = offset_bytes + in.size();
  const std::uint64_t inside = offset_bytes % sector_bytes;
  if (inside != 0 && !in.empty()) {
    const auto part = in.first(static_cast<std::size_t>(std::min<std::uint64_t>(sector_bytes - inside, in.size())));
    TRY(written, write_part(member, below, offset_bytes, part));
    offset_bytes += part.size();
    in = in.subspan(part.size());
  }
  const std::size_t tail = end == below.size_bytes() ? 0 : static_cast<std::size_t>(in.size() % sector_bytes);
  TRY(written, write_sectors(member, offset_bytes, in.first(in.size() - tail)));
  return tail == 0 ? Status(Done{}) : write_part(member, below, end - tail, in.last(tail));
}

Status OverlayStore::zero(std::uint32_t member, const Source& below, std::uint64_t offset_bytes,
                          std::uint64_t length_bytes) {
  TRY(usable, check_usable());
  static constexpr std::array<std::byte, sector_bytes> zeroes{};
  std::uint64_t at = offset_bytes;
  const std::uint64_t end = offset_bytes + length_bytes;
  while (at < end) {
    const std::uint64_t whole_end = end == below.size_bytes() ? end : end / sector_bytes * sector_bytes;
    if (at % sector_bytes != 0 || at >= whole_end) {
      const std::uint64_t part = std::min(sector_bytes - at % sector_bytes, end - at);
      TRY(written, write_part(member, below, at, std::span(zeroes).first(static_cast<std::size_t>(part))));
      at += part;
      continue;
    }
    TRY(pieces, claim(member, at, whole_end - at));
    publish(pieces, Mark::zeroed);
    at += pieces.length_bytes;
  }
  return Done{};
}

Status OverlayStore::flush() {
  const std::uint64_t begun = flushes_begun_;
  const std::lock_guard lock(flush_mutex_);
  if (failed_) {
    return check_usable();
  }
  // A flush that began after this call came covers it, too.
  if (flushes_begun_ != begun) {
    return Done{};
  }
  ++flushes_begun_;
  Status flushed = flush_now();
  // The kernel reports a lost write once and then forgets it: a second flush would succeed.
  failed_ = !flushed;
  return flushed;
}

Status OverlayStore::flush_now() {
  take_dirty();
  TRY(data, file_->flush());
  if (flushing_.empty()) {
    return Done{};
  }
  TRY(indexed, write_index());
  return file_->flush();
}

// What is published now is what the index will say: its data was written before.
void OverlayStore::take_dirty() {
  const std::unique_lock lock(index_mutex_);
  flushing_.clear();
  flushing_.swap(dirty_);
  durable_.resize(index_.size());
  for (const std::uint32_t number : flushing_) {
    is_dirty_[number] = false;
    durable_[number] = {index_[number].valid, index_[number].zeroed};
  }
}

Status OverlayStore::write_index() {
  std::uint64_t pages = pages_on_disk_;
  for (std::uint32_t& entry : flushing_) {
    pages = std::max<std::uint64_t>(pages, entry / entries_each + 1);
    entry = index_sector_of(entry);
  }
  for (std::uint64_t page = pages_on_disk_; page < pages; ++page) {
    flushing_.push_back(static_cast<std::uint32_t>(page * sectors_per_page));
  }
  std::sort(flushing_.begin(), flushing_.end());
  flushing_.erase(std::unique(flushing_.begin(), flushing_.end()), flushing_.end());
  for (const std::uint32_t sector : flushing_) {
    TRY(written, write_index_sector(sector / sectors_per_page, sector % sectors_per_page));
  }
  pages_on_disk_ = pages;
  return Done{};
}

Status OverlayStore::write_index_sector(std::uint64_t page, std::uint64_t sector) {
  std::array<std::byte, sector_bytes> bytes{};
  {
    const std::shared_lock lock(index_mutex_);
    for (std::uint64_t i = 0; i < records_per_sector; ++i) {
      const std::uint64_t record = sector * records_per_sector + i;
      const auto out = std::span(bytes).subspan(static_cast<std::size_t>(i * sizeof(Entry)), sizeof(Entry));
      const std::uint64_t number = page * entries_each + record - 1;
      if (record == 0) {
        const PageHead head = make_page_head(page);
        std::memcpy(out.data(), &head, sizeof head);
      } else if (number < durable_.size() && durable_[number].valid != 0) {
        const Entry entry = make_entry(
            number, {index_[number].block, durable_[number].valid, durable_[number].zeroed, index_[number].member});
        std::memcpy(out.data(), &entry, sizeof entry);
      }
    }
  }
  return file_->write(page_offset(groups_bytes_, page) + sector * sector_bytes, bytes);
}

std::vector<OverlayBlock> OverlayStore::blocks_of(std::uint32_t member) const {
  std::vector<OverlayBlock> blocks;
  const std::shared_lock lock(index_mutex_);
  for (std::size_t i = 0; i < index_.size(); ++i) {
    if (index_[i].member == member && index_[i].valid != 0) {
      blocks.push_back(index_[i]);
    }
  }
  std::sort(blocks.begin(), blocks.end(),
            [](const OverlayBlock& a, const OverlayBlock& b) { return a.block < b.block; });
  return blocks;
}

Status OverlayDevice::check_inside(std::uint64_t offset_bytes, std::uint64_t length_bytes) const {
  if (fits(offset_bytes, length_bytes, size_bytes())) {
    return Done{};
  }
  return Error{ErrorKind::out_of_range, std::to_string(length_bytes) + " bytes at byte " +
                                            std::to_string(offset_bytes) + " lie beyond the end at byte " +
                                            std::to_string(size_bytes())};
}

Status OverlayDevice::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  TRY(inside, check_inside(offset_bytes, out.size()));
  return store_->read(member_, *below_, offset_bytes, out);
}

Status OverlayDevice::write(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  TRY(inside, check_inside(offset_bytes, in.size()));
  return store_->write(member_, *below_, offset_bytes, in);
}

Status OverlayDevice::zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  TRY(inside, check_inside(offset_bytes, length_bytes));
  return store_->zero(member_, *below_, offset_bytes, length_bytes);
}

}  // namespace mdtool
