// SPDX-License-Identifier: GPL-2.0-or-later
// An array in use against its own members: the array object in process on page-cached files, and the reads and writes
// that the same work costs at least, done directly on the same files by as many threads. Array and members by turns;
// the ratios' median is the claim, absolute figures are of this machine and minute.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <random>

#include "bench/scratch_array.h"
#include "bench/side_by_side.h"

namespace mdtool::bench {
namespace {

constexpr std::size_t random_bytes = 4096;
constexpr std::size_t partial_bytes = std::size_t{64} << 10;

struct Options {
  std::string folder;
  std::vector<int> levels = {5, 6};
  std::uint32_t members = 5;
  std::uint64_t mib = 512;
  std::uint64_t chunk_kib = 512;
  std::vector<unsigned> threads = {1, 2, 4};
  std::uint64_t operations = 100'000;
  int rounds = 7;
  std::string only;
};

// An array and its files; makes the loads.
class Bench {
 public:
  Bench(const Layout& layout, const ScratchFiles& files)
      : layout_(layout),
        files_(files),
        healthy_(scratch_array(layout, files, std::nullopt)),
        degraded_(scratch_array(layout, files, 0)),
        chunk_(layout.geometry().chunk.bytes()),
        width_(chunk_ * layout.data_disks()) {}

  std::vector<Load> loads(std::uint64_t operations) const {
    const double all = static_cast<double>(healthy_->size_bytes());
    const double count = static_cast<double>(operations);
    const Change small = change_of(1);
    return {
        {"full-stripe write", true, all, array_write(*healthy_, width_), member_stripes(Direction::write)},
        {"sequential read", true, all, array_read(*healthy_), member_stripes(Direction::read)},
        {"sequential 64 KiB write", true, all, array_write(*healthy_, partial_bytes), member_changes(small)},
        {"random 4 KiB read", false, count, array_random(*healthy_, Direction::read, operations),
         member_random({1, 0}, operations)},
        {"random 4 KiB write", false, count, array_random(*healthy_, Direction::write, operations),
         member_random(small, operations)},
        {"degraded read", true, all, array_read(*degraded_), member_stripes(Direction::read)},
        {"degraded random 4 KiB read", false, count, array_random(*degraded_, Direction::read, operations),
         member_random({1, 0}, operations)},
        {"degraded random 4 KiB write", false, count, array_random(*degraded_, Direction::write, operations),
         member_random(small, operations)},
    };
  }

 private:
  enum class Direction { read, write };
  // Blocks of one row, by as many slots from the first one: what is stored, and what has to be read before.
  struct Change {
    std::uint32_t reads, writes;
    std::uint32_t first_read = 0;  // 0: old content of what is stored
  };
  using Buffer = std::vector<std::byte>;

  // The fewest that an update of so many data blocks needs.
  Change change_of(std::uint32_t written) const {
    const std::uint32_t stored = written + layout_.parity_disks();
    const std::uint32_t kept = layout_.data_disks() - written;
    return kept <= stored ? Change{kept, stored, stored} : Change{stored, stored};
  }

  std::uint64_t first_stripe(unsigned thread, unsigned threads) const { return layout_.stripes() * thread / threads; }

  Work array_read(const LiveArray& array) const {
    return [this, &array](unsigned thread, unsigned threads) {
      Buffer buffer(width_);
      for (std::uint64_t s = first_stripe(thread, threads); s < first_stripe(thread + 1, threads); ++s) {
        require(array.read(s * width_, buffer));
      }
    };
  }

  Work array_write(LiveArray& array, std::size_t request) const {
    return [this, &array, request](unsigned thread, unsigned threads) {
      const Buffer buffer(width_, std::byte(thread + 1));
      const std::uint64_t end = first_stripe(thread + 1, threads) * width_;
      for (std::uint64_t at = first_stripe(thread, threads) * width_; at < end; at += request) {
        require(array.write(at, std::span(buffer).subspan(at % width_, request)));
      }
    };
  }

  Work member_stripes(Direction direction) const {
    return [this, direction](unsigned thread, unsigned threads) {
      Buffer buffer(width_, std::byte(thread + 1));
      for (std::uint64_t s = first_stripe(thread, threads); s < first_stripe(thread + 1, threads); ++s) {
        if (direction == Direction::write) {
          write_stripe(s, buffer);
        } else {
          read_stripe(s, buffer);
        }
      }
    };
  }

  void read_stripe(std::uint64_t stripe, std::span<std::byte> buffer) const {
    for (std::uint32_t i = 0; i < layout_.data_disks(); ++i) {
      require(files_[layout_.data_slot(stripe, i)].read(stripe * chunk_, buffer.subspan(i * chunk_, chunk_)));
    }
  }

  void write_stripe(std::uint64_t stripe, std::span<const std::byte> buffer) const {
    for (std::uint32_t slot = 0; slot < files_.count(); ++slot) {
      require(files_[slot].write(stripe * chunk_, buffer.subspan(slot % layout_.data_disks() * chunk_, chunk_)));
    }
  }

  void change_blocks(std::uint32_t slot, std::uint64_t offset_bytes, const Change& change,
                     std::span<std::byte> buffer) const {
    for (std::uint32_t i = 0; i < change.reads; ++i) {
      require(files_[(slot + change.first_read + i) % files_.count()].read(offset_bytes, buffer));
    }
    for (std::uint32_t i = 0; i < change.writes; ++i) {
      require(files_[(slot + i) % files_.count()].write(offset_bytes, buffer));
    }
  }

  Work member_changes(Change change) const {
    return [this, change](unsigned thread, unsigned threads) {
      Buffer buffer(width_, std::byte(thread + 1));
      for (std::uint64_t s = first_stripe(thread, threads); s < first_stripe(thread + 1, threads); ++s) {
        for (std::uint64_t at = 0; at < width_; at += partial_bytes) {
          change_blocks(layout_.data_slot(s, static_cast<std::uint32_t>(at / chunk_)), s * chunk_ + at % chunk_, change,
                        std::span(buffer).subspan(at, partial_bytes));
        }
      }
    };
  }

  Work array_random(LiveArray& array, Direction direction, std::uint64_t operations) const {
    return [&array, direction, operations](unsigned thread, unsigned threads) {
      std::mt19937_64 random(thread);
      Buffer buffer(random_bytes, std::byte(thread + 1));
      for (std::uint64_t i = 0; i < operations / threads; ++i) {
        const std::uint64_t at = random() % (array.size_bytes() / random_bytes) * random_bytes;
        require(direction == Direction::read ? array.read(at, buffer) : array.write(at, buffer));
      }
    };
  }

  Work member_random(Change change, std::uint64_t operations) const {
    return [this, change, operations](unsigned thread, unsigned threads) {
      std::mt19937_64 random(thread);
      Buffer buffer(random_bytes, std::byte(thread + 1));
      for (std::uint64_t i = 0; i < operations / threads; ++i) {
        const Sectors at = Sectors::from_bytes(random() % (healthy_->size_bytes() / random_bytes) * random_bytes);
        const Place place = layout_.data(at);
        change_blocks(place.slot, place.sector.bytes(), change, buffer);
      }
    };
  }

  Layout layout_;
  const ScratchFiles& files_;
  std::unique_ptr<LiveArray> healthy_, degraded_;
  std::uint64_t chunk_, width_;
};

void run(const Options& options) {
  const Sectors component = Sectors::from_bytes(options.mib << 20);
  const ScratchFiles files(options.folder, options.members, component.bytes());
  for (const int level : options.levels) {
    constexpr std::uint32_t left_symmetric = 2;
    const Sectors chunk = Sectors::from_bytes(options.chunk_kib << 10);
    const Layout layout = require(Layout::of({level, left_symmetric, options.members, chunk, component}));
    const Bench bench(layout, files);
    for (const Load& load : bench.loads(options.operations)) {
      for (const unsigned threads : options.threads) {
        if (load.name.find(options.only) != std::string::npos) {
          compare(load, {"raid" + std::to_string(level), "array", "members"}, threads, options.rounds);
        }
      }
    }
  }
}

}  // namespace
}  // namespace mdtool::bench

int main(int argc, char** argv) {
  mdtool::bench::Options options;
  const char* folder = std::getenv("MDTOOL_BENCH_DIR");
  options.folder = folder != nullptr ? folder : "/tmp";
  CLI::App app("An array in use against its own members");
  app.add_option("--folder", options.folder, "where the members are made: $MDTOOL_BENCH_DIR, else /tmp");
  app.add_option("--level", options.levels, "4, 5, 6")->delimiter(',');
  app.add_option("--members", options.members, "how many")->check(CLI::Range(4, 64));
  app.add_option("--mib", options.mib, "of each member");
  app.add_option("--chunk", options.chunk_kib, "KiB, at least 64")->check(CLI::Range(64, 65536));
  app.add_option("--threads", options.threads, "one run for each")->delimiter(',');
  app.add_option("--operations", options.operations, "of a random load");
  app.add_option("--rounds", options.rounds, "array and members by turns")->check(CLI::Range(1, 1000));
  app.add_option("--only", options.only, "loads whose names contain this");
  CLI11_PARSE(app, argc, argv);
  mdtool::bench::run(options);
}
