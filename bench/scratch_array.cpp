// SPDX-License-Identifier: GPL-2.0-or-later
#include "bench/scratch_array.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace mdtool::bench {

namespace {

class NothingSaid final : public Intent {
 public:
  Status start_write(SectorRange) override { return Done{}; }
  void end_write(SectorRange, Written, Ticks) override {}
  Status start_discard(SectorRange) override { return Done{}; }
  void discard(SectorRange) override {}
  bool trusts_parity(SectorRange) const override { return true; }
  std::optional<SectorRange> start_sync(Sectors) override { return std::nullopt; }
  void end_sync(SectorRange, Synced, Ticks) override {}
  bool anything_due() const override { return false; }
  Sectors resync_offset() const override { return Sectors::max(); }
  bool prepare_to_clear(Ticks) override { return false; }
  Status clear_prepared(Ticks) override { return Done{}; }
  std::optional<Ticks> clears_in(Ticks) const override { return std::nullopt; }
  void degraded() override {}
  Status write_header(std::uint64_t) override { return Done{}; }
  Status write_all(std::uint64_t) override { return Done{}; }
};

class NoSuperblocks final : public Superblocks {
 public:
  std::uint64_t events() const override { return 1; }
  Status write(const ArrayState&) override { return Done{}; }
};

void fill(const std::string& path, std::uint64_t bytes) {
  constexpr std::uint64_t piece = 1U << 20;
  const std::vector<char> content(piece, 'm');
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  for (std::uint64_t done = 0; done < bytes && file; done += piece) {
    file.write(content.data(), piece);
  }
  if (!file.flush()) {
    require(Error{ErrorKind::io, path + ": cannot be written"});
  }
}

}  // namespace

void require(const Status& status) {
  if (!status) {
    std::fprintf(stderr, "%s\n", status.error().text.c_str());
    std::exit(EXIT_FAILURE);
  }
}

ScratchFiles::ScratchFiles(const std::string& folder, std::uint32_t count, std::uint64_t bytes_each) {
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::string path = folder + "/member" + std::to_string(::getpid()) + "." + std::to_string(i);
    fill(path, bytes_each);
    devices_.push_back(require(FileDevice::open(path, Access::read_write)));
  }
}

ScratchFiles::~ScratchFiles() {
  for (const auto& device : devices_) {
    ::unlink(device->path().c_str());
  }
}

std::unique_ptr<LiveArray> scratch_array(const Layout& layout, const ScratchFiles& files,
                                         std::optional<std::uint32_t> missing) {
  std::vector<SlotMember> members;
  for (std::uint32_t slot = 0; slot < files.count(); ++slot) {
    BlockDevice* device = missing == slot ? nullptr : &files[slot];
    members.push_back({device, files[slot].path(), Sectors(0), Sectors::max(), {}});
  }
  LiveParts parts{std::make_unique<LiveMembers>(std::move(members), layout.parity_disks()),
                  std::make_unique<NothingSaid>(), std::make_unique<NoSuperblocks>(), [] { return Ticks(0); }};
  return std::make_unique<LiveArray>(layout, std::move(parts), *require(parity::choose_kernels("")));
}

}  // namespace mdtool::bench
