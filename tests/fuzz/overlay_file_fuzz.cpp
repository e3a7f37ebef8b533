// SPDX-License-Identifier: GPL-2.0-or-later
// Any bytes as an overlay file, and as the parts of one whose checksums are right: they are refused, or give a layer
// that can be read and written over members of the size it names, and reads the same when it is opened again.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "libraid/io/memory.h"
#include "libraid/io/overlay.h"
#include "tests/raid/sealed_overlay.h"

namespace {

using namespace mdtool;

constexpr std::uint64_t largest_member = 1 << 20;
constexpr std::size_t most_members = 4;

std::vector<std::byte> all_of(const Source& source) {
  auto bytes = read_bytes(source, 0, static_cast<std::size_t>(source.size_bytes()));
  if (!bytes) {
    std::abort();
  }
  return std::move(*bytes);
}

// Keeps the bytes where the next opening finds them.
class SharedFile final : public BlockDevice {
 public:
  explicit SharedFile(MemoryDevice& memory) : memory_(&memory) {}
  std::uint64_t size_bytes() const override { return memory_->size_bytes(); }
  Status read(std::uint64_t offset, std::span<std::byte> out) const override { return memory_->read(offset, out); }
  Status write(std::uint64_t offset, std::span<const std::byte> in) override { return memory_->write(offset, in); }
  Status zero(std::uint64_t offset, std::uint64_t length) override { return memory_->zero(offset, length); }
  Status flush() override { return Done{}; }

 private:
  MemoryDevice* memory_;
};

void use(MemoryDevice& file, OverlayContents contents) {
  const bool writable = !contents.commit;
  const std::size_t members = contents.members.size();
  for (const OverlayMember& member : contents.members) {
    if (member.size_bytes > largest_member || members > most_members) {
      return;
    }
  }
  auto store = OverlayStore::over(std::make_unique<SharedFile>(file), std::move(contents));
  std::vector<std::vector<std::byte>> seen;
  for (std::uint32_t i = 0; i < members; ++i) {
    const MemoryDevice below(std::vector<std::byte>(static_cast<std::size_t>((*store)->members()[i].size_bytes)));
    OverlayDevice device(**store, i, below);
    // A block's sectors are in the file already: writing there needs no room.
    for (const OverlayBlock& block : (*store)->blocks_of(i)) {
      const std::uint64_t at = block.block * overlay_block_bytes;
      const std::vector<std::byte> bytes(
          static_cast<std::size_t>(std::min<std::uint64_t>(700, below.size_bytes() - at)), std::byte{7});
      if (writable && !device.write(at, bytes)) {
        std::abort();
      }
    }
    seen.push_back(all_of(device));
  }
  if (writable && !(*store)->flush()) {
    std::abort();
  }
  auto again = read_overlay(file);
  if (!again || again->members.size() != members) {
    std::abort();
  }
  auto second = OverlayStore::over(std::make_unique<SharedFile>(file), std::move(*again));
  for (std::uint32_t i = 0; i < members; ++i) {
    const MemoryDevice below(std::vector<std::byte>(seen[i].size()));
    if (all_of(OverlayDevice(**second, i, below)) != seen[i]) {
      std::abort();
    }
  }
}

void decode(std::vector<std::byte> bytes) {
  MemoryDevice file(std::move(bytes));
  auto contents = read_overlay(file);
  if (contents) {
    // Room for the blocks that lie behind a file which was cut at its last zero.
    const std::uint64_t groups = overlay_disk::groups_offset(encode_overlay_members(contents->members).size());
    std::vector<std::byte> grown = file.bytes();
    const std::uint64_t end = overlay_disk::page_offset(groups, contents->pages);
    grown.resize(std::max<std::size_t>(grown.size(), static_cast<std::size_t>(end)));
    MemoryDevice whole(std::move(grown));
    use(whole, std::move(*contents));
  }
}

// Members, entries, length of the table; then table, entries, and a commit's record.
void decode_sealed(std::span<const std::byte> bytes) {
  constexpr std::size_t head_bytes = 4;
  if (bytes.size() < head_bytes) {
    return;
  }
  const auto take = [&](std::size_t length) {
    const auto taken = bytes.first(std::min(length, bytes.size()));
    bytes = bytes.subspan(taken.size());
    return std::vector<std::byte>(taken.begin(), taken.end());
  };
  const auto head = take(head_bytes);
  mdtool::test::OverlayParts parts;
  parts.members = std::to_integer<std::uint8_t>(head[0]);
  parts.table = take(*load<le16>(head, 2));
  parts.entries = take(std::to_integer<std::size_t>(head[1]) * mdtool::test::unsealed_entry_bytes);
  parts.commit.assign(bytes.begin(), bytes.end());
  decode(mdtool::test::sealed_overlay(parts));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  decode({bytes.begin(), bytes.end()});
  decode_sealed(bytes);
  return 0;
}
