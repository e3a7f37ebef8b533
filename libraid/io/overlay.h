// SPDX-License-Identifier: GPL-2.0-or-later
// A copy-on-write layer over members that are only read: writes go to blocks of one file and are found there again.
// Many threads may use it at once. Knows nothing of what the bytes mean, nor how the file came to be open.
//
// What a flush covered survives any cut. Of what it did not, each sector is as it was or as it was last written: the
// index names a sector only once its data is durable.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>

#include "libraid/io/block_device.h"
#include "libraid/io/overlay_format.h"

namespace mdtool {

class OverlayStore {
 public:
  // `file` grows when it is written beyond its end. `contents` is what is in it.
  static Result<std::unique_ptr<OverlayStore>> over(std::unique_ptr<BlockDevice> file, OverlayContents contents);

  const std::vector<OverlayMember>& members() const { return members_; }
  const std::optional<OverlayCommit>& commit() const { return commit_; }
  // Durable when it returns; from then on nothing else is written.
  Status begin_commit(OverlayCommit commit);

  Status read(std::uint32_t member, const Source& below, std::uint64_t offset_bytes, std::span<std::byte> out) const;
  Status write(std::uint32_t member, const Source& below, std::uint64_t offset_bytes, std::span<const std::byte> in);
  Status zero(std::uint32_t member, const Source& below, std::uint64_t offset_bytes, std::uint64_t length_bytes);
  // For all members at once.
  Status flush();

  // The blocks of a member that hold anything, sorted.
  std::vector<OverlayBlock> blocks_of(std::uint32_t member) const;

 private:
  // What the file's index says of a block.
  struct Durable {
    std::uint64_t valid = 0;
    std::uint64_t zeroed = 0;
  };
  struct Segment;
  struct Pieces;

  OverlayStore(std::unique_ptr<BlockDevice> file, OverlayContents contents, std::uint64_t groups_bytes);

  Status check_usable() const;
  Status record_commit(std::span<const std::byte> record);
  Segment segment_at(std::uint32_t member, std::uint64_t offset_bytes, std::uint64_t most_bytes) const;
  Result<Pieces> claim(std::uint32_t member, std::uint64_t offset_bytes, std::uint64_t most_bytes);
  Status write_pieces(const Pieces& pieces, std::span<const std::byte> in);
  enum class Mark { written, zeroed };
  void publish(const Pieces& pieces, Mark mark);
  Status write_sectors(std::uint32_t member, std::uint64_t offset_bytes, std::span<const std::byte> in);
  Status write_part(std::uint32_t member, const Source& below, std::uint64_t offset_bytes,
                    std::span<const std::byte> in);
  Status flush_now();
  void take_dirty();
  Status write_index();
  Status write_index_sector(std::uint64_t page, std::uint64_t sector);

  std::unique_ptr<BlockDevice> file_;
  std::vector<OverlayMember> members_;
  std::optional<OverlayCommit> commit_;
  std::uint64_t groups_bytes_;  // offset of the first group

  mutable std::shared_mutex index_mutex_;  // index_, dirty_, is_dirty_
  OverlayIndex index_;
  std::vector<bool> is_dirty_;
  std::vector<std::uint32_t> dirty_;  // blocks of which the file's index does not say what index_ does

  std::mutex part_mutex_;   // writes that keep a part of a sector
  std::mutex flush_mutex_;  // one flush at a time; what follows is its own
  std::vector<std::uint32_t> flushing_;
  std::vector<Durable> durable_;
  std::uint64_t pages_on_disk_ = 0;

  std::atomic<std::uint64_t> flushes_begun_ = 0;
  std::atomic<bool> failed_ = false;  // a flush or an index write failed: what the file holds is not known
};

// One member with the overlay above it. Store and member outlive it.
class OverlayDevice final : public BlockDevice {
 public:
  OverlayDevice(OverlayStore& store, std::uint32_t member, const Source& below)
      : store_(&store), member_(member), below_(&below) {}

  std::uint64_t size_bytes() const override { return below_->size_bytes(); }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) override;
  Status zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override;
  Status flush() override { return store_->flush(); }

 private:
  Status check_inside(std::uint64_t offset_bytes, std::uint64_t length_bytes) const;

  OverlayStore* store_;
  std::uint32_t member_;
  const Source* below_;
};

}  // namespace mdtool
