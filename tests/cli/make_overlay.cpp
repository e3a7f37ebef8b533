// SPDX-License-Identifier: GPL-2.0-or-later
// make_overlay OVERLAY SECTORS MEMBER...: an overlay over the members of one array, as using it leaves it behind: the
// first SECTORS of every member's data area written, parity right, the superblocks some events later.
#include <cstdlib>
#include <iostream>
#include <random>

#include "libraid/assemble/open_array.h"
#include "libraid/assemble/overlay_base.h"
#include "libraid/engine/sync.h"
#include "libraid/io/file.h"

namespace mdtool {
namespace {

constexpr std::uint64_t events_later = 5;

std::vector<std::byte> random_bytes(std::uint64_t length, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> bytes(static_cast<std::size_t>(length));
  for (std::byte& b : bytes) {
    b = static_cast<std::byte>(random());
  }
  return bytes;
}

Status write_through(const OverlayFile& overlay, const Assembly& array, Sectors count) {
  TRY(layout, workable_layout(array));
  std::vector<std::unique_ptr<BlockDevice>> devices;
  std::vector<SyncMember> members;
  for (std::uint32_t slot = 0; slot < array.slots(); ++slot) {
    const Member& m = *array.in_slot(slot);
    devices.push_back(overlay.device(slot));
    members.push_back({devices.back().get(), m.description().data_offset, Sectors::max(), {}});
    TRY(written, devices.back()->write(m.description().data_offset.bytes(), random_bytes(count.bytes(), slot)));
  }
  ParitySync sync(layout, members, *parity::supported_kernels().front());
  TRY(synced, sync.sync({Sectors(), count}));
  for (std::uint32_t slot = 0; slot < array.slots(); ++slot) {
    const Metadata& superblock = *array.in_slot(slot)->candidate->chosen()->metadata;
    SuperblockChange change;
    change.events = array.array().events + events_later;
    TRY(marked, devices[slot]->write(superblock.offset_bytes(), superblock.changed(change)->encode()));
  }
  return sync.flush();
}

Status make(const std::string& path, Sectors count, std::span<char*> arguments) {
  std::vector<std::unique_ptr<FileDevice>> files;
  std::vector<Candidate> candidates;
  for (const char* argument : arguments) {
    TRY(file, FileDevice::open(argument, Access::read_only));
    files.push_back(std::move(file));
    TRY(candidate, inspect(argument, argument, *files.back(), *files.back()));
    candidates.push_back(std::move(candidate));
  }
  const std::vector<Assembly> arrays = assemble(candidates);
  if (arrays.size() != 1 || !arrays.front().complete) {
    return Error{ErrorKind::refused, "not the members of one complete array"};
  }
  std::vector<OverlayBase> bases;
  for (std::uint32_t slot = 0; slot < arrays.front().slots(); ++slot) {
    TRY(base, overlay_base(*arrays.front().in_slot(slot)->candidate));
    bases.push_back(std::move(base));
  }
  TRY(overlay, OverlayFile::create(path, bases));
  return write_through(overlay, arrays.front(), count);
}

}  // namespace
}  // namespace mdtool

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: make_overlay OVERLAY SECTORS MEMBER...\n";
    return EXIT_FAILURE;
  }
  const auto made =
      mdtool::make(argv[1], mdtool::Sectors(std::strtoull(argv[2], nullptr, 10)), {argv + 3, argv + argc});
  if (!made) {
    std::cerr << made.error().text << "\n";
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
