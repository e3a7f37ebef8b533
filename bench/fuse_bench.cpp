// SPDX-License-Identifier: GPL-2.0-or-later
// What FUSE costs: the served file, past the page cache, against the array object behind it. The same requests, by
// turns, in one process.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <random>

#include "bench/scratch_array.h"
#include "bench/side_by_side.h"
#include "libraid/io/descriptor.h"
#include "libraid/serve/fuse.h"

namespace mdtool::bench {
namespace {

constexpr std::size_t small_bytes = 4096;
constexpr std::size_t large_bytes = std::size_t{1} << 20;
constexpr std::size_t alignment = 4096;

struct Options {
  std::string folder;
  int level = 5;
  std::uint32_t members = 5;
  std::uint64_t mib = 128;
  std::vector<unsigned> threads = {1, 4};
  std::uint64_t operations = 10'000;
  int rounds = 5;
};

struct Freed {
  void operator()(std::byte* memory) const { std::free(memory); }
};

// The served file as a device.
class ServedFile final : public BlockDevice {
 public:
  ServedFile(const std::string& path, std::uint64_t size_bytes)
      : file_(::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC)), size_bytes_(size_bytes) {
    if (!file_) {
      require(io_error(path, errno));
    }
  }
  std::uint64_t size_bytes() const override { return size_bytes_; }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override {
    return whole(::pread(file_.get(), out.data(), out.size(), static_cast<off_t>(offset_bytes)), out.size());
  }
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) override {
    return whole(::pwrite(file_.get(), in.data(), in.size(), static_cast<off_t>(offset_bytes)), in.size());
  }
  Status flush() override { return whole(::fdatasync(file_.get()), 0); }

 private:
  static Status whole(ssize_t done, std::size_t wanted) {
    if (done == static_cast<ssize_t>(wanted)) {
      return Done{};
    }
    return io_error("the served file", done < 0 ? errno : EIO);
  }
  Descriptor file_;
  std::uint64_t size_bytes_;
};

enum class Direction { read, write };
enum class Order { sequential, random };

Work requests(BlockDevice& device, Direction direction, Order order, std::size_t bytes, std::uint64_t count) {
  return [&device, direction, order, bytes, count](unsigned thread, unsigned threads) {
    const std::unique_ptr<std::byte, Freed> memory(static_cast<std::byte*>(std::aligned_alloc(alignment, bytes)));
    const std::span<std::byte> buffer(memory.get(), bytes);
    std::fill(buffer.begin(), buffer.end(), std::byte(thread + 1));
    std::mt19937_64 random(thread);
    const std::uint64_t share = count / threads;
    for (std::uint64_t i = 0; i < share; ++i) {
      const std::uint64_t block =
          order == Order::random ? random() % (device.size_bytes() / bytes) : thread * share + i;
      require(direction == Direction::read ? device.read(block * bytes, buffer) : device.write(block * bytes, buffer));
    }
  };
}

std::vector<Load> loads(BlockDevice& file, BlockDevice& array, const Options& options) {
  std::vector<Load> all;
  const auto add = [&](const char* name, Direction direction, Order order, std::size_t bytes, std::uint64_t count) {
    const bool sequential = order == Order::sequential;
    all.push_back({name, sequential, static_cast<double>(sequential ? count * bytes : count),
                   requests(file, direction, order, bytes, count), requests(array, direction, order, bytes, count)});
  };
  const std::uint64_t large = array.size_bytes() / large_bytes;
  add("sequential 1 MiB read", Direction::read, Order::sequential, large_bytes, large);
  add("sequential 1 MiB write", Direction::write, Order::sequential, large_bytes, large);
  add("random 4 KiB read", Direction::read, Order::random, small_bytes, options.operations);
  add("random 4 KiB write", Direction::write, Order::random, small_bytes, options.operations);
  return all;
}

void run(const Options& options) {
  constexpr std::uint32_t left_symmetric = 2;
  constexpr Sectors chunk{1024};
  const Sectors component = Sectors::from_bytes(options.mib << 20);
  const ScratchFiles files(options.folder, options.members, component.bytes());
  const Layout layout = require(Layout::of({options.level, left_symmetric, options.members, chunk, component}));
  const std::unique_ptr<LiveArray> array = scratch_array(layout, files, std::nullopt);
  const ServeOptions serve{.at = options.folder + "/fuse_bench" + std::to_string(::getpid()), .name = "fuse_bench"};
  const auto measure = [&](const Usable& usable) -> Result<Then> {
    ServedFile file(usable.path, array->size_bytes());
    for (const Load& load : loads(file, *array, options)) {
      for (const unsigned threads : options.threads) {
        compare(load, {"raid" + std::to_string(options.level), "file", "array"}, threads, options.rounds);
      }
    }
    return Then::stop;
  };
  require(serve_fuse(Served::read_write(*array), serve, measure));
}

}  // namespace
}  // namespace mdtool::bench

int main(int argc, char** argv) {
  mdtool::bench::Options options;
  const char* folder = std::getenv("MDTOOL_BENCH_DIR");
  options.folder = folder != nullptr ? folder : "/tmp";
  CLI::App app("What FUSE costs");
  app.add_option("--folder", options.folder, "where the members are made: $MDTOOL_BENCH_DIR, else /tmp");
  app.add_option("--level", options.level, "4, 5, 6");
  app.add_option("--members", options.members, "how many")->check(CLI::Range(4, 64));
  app.add_option("--mib", options.mib, "of each member");
  app.add_option("--threads", options.threads, "one run for each")->delimiter(',');
  app.add_option("--operations", options.operations, "of a random load");
  app.add_option("--rounds", options.rounds, "file and array by turns")->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);
  mdtool::bench::run(options);
}
