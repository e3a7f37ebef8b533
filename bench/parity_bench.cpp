// SPDX-License-Identifier: GPL-2.0-or-later
// All parity kernels of this processor in one run. Bytes per second are data bytes: sources times block size.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "libraid/parity/kernels.h"

namespace {

using mdtool::parity::Block;
using mdtool::parity::Kernels;
using mdtool::parity::MutableBlock;

constexpr std::size_t page = 4096;
// Page-aligned blocks all start in the same L1 set; a row's blocks are spread as a buffer pool should place them.
constexpr std::size_t stagger = 512;

struct Freed {
  void operator()(std::byte* memory) const { std::free(memory); }
};

// The data blocks of a row, then P and Q, and a row of consecutive exponents.
class BenchRow {
 public:
  BenchRow(std::size_t sources, std::size_t bytes) : bytes_(bytes), exponents_(sources) {
    const std::size_t pitch = (bytes / page + 1) * page + stagger;
    const std::size_t size = ((sources + 2) * pitch / page + 1) * page;
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(page, size)));
    for (std::size_t i = 0; i < size; ++i) {
      memory_.get()[i] = static_cast<std::byte>((i * 2654435761U) >> 13);
    }
    for (std::size_t i = 0; i < sources + 2; ++i) {
      blocks_.push_back(memory_.get() + i * pitch);
    }
    data_.assign(blocks_.begin(), blocks_.begin() + static_cast<std::ptrdiff_t>(sources));
    std::iota(exponents_.begin(), exponents_.end(), std::uint8_t{0});
  }

  std::size_t bytes() const { return bytes_; }
  std::span<const Block> data() const { return data_; }
  std::span<const std::uint8_t> exponents() const { return exponents_; }
  MutableBlock p() const { return blocks_[blocks_.size() - 2]; }
  MutableBlock q() const { return blocks_.back(); }
  std::vector<Block> data_and_p() const { return {blocks_.begin(), blocks_.end() - 1}; }

 private:
  std::size_t bytes_;
  std::unique_ptr<std::byte, Freed> memory_;
  std::vector<MutableBlock> blocks_;
  std::vector<Block> data_;
  std::vector<std::uint8_t> exponents_;
};

void count_data(benchmark::State& state, const BenchRow& row) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(row.data().size() * row.bytes()));
}

void xor_generate(benchmark::State& state, const Kernels& kernels, const BenchRow& row) {
  for (auto _ : state) {
    kernels.xor_generate(row.data(), row.p(), row.bytes());
    benchmark::ClobberMemory();
  }
  count_data(state, row);
}

void xor_check(benchmark::State& state, const Kernels& kernels, const BenchRow& row) {
  kernels.xor_generate(row.data(), row.p(), row.bytes());
  const std::vector<Block> sources = row.data_and_p();
  for (auto _ : state) {
    if (!kernels.xor_check(sources, row.bytes())) {
      state.SkipWithError("wrong P");
      break;
    }
  }
  count_data(state, row);
}

void pq_generate(benchmark::State& state, const Kernels& kernels, const BenchRow& row) {
  for (auto _ : state) {
    kernels.pq_generate(row.data(), row.exponents(), row.p(), row.q(), row.bytes());
    benchmark::ClobberMemory();
  }
  count_data(state, row);
}

void pq_check(benchmark::State& state, const Kernels& kernels, const BenchRow& row) {
  kernels.pq_generate(row.data(), row.exponents(), row.p(), row.q(), row.bytes());
  for (auto _ : state) {
    if (!kernels.pq_check(row.data(), row.exponents(), row.p(), row.q(), row.bytes())) {
      state.SkipWithError("wrong P or Q");
      break;
    }
  }
  count_data(state, row);
}

// Coefficients without any order, as recovery has them.
void multiply_add(benchmark::State& state, const Kernels& kernels, const BenchRow& row) {
  std::vector<std::uint8_t> coefficients;
  for (const std::uint8_t exponent : row.exponents()) {
    coefficients.push_back(mdtool::parity::gf_power_of_two(exponent * 101U + 7U));
  }
  for (auto _ : state) {
    kernels.multiply_add(row.data(), coefficients, row.p(), row.bytes());
    benchmark::ClobberMemory();
  }
  count_data(state, row);
}

using Operation = void (*)(benchmark::State&, const Kernels&, const BenchRow&);

void add_benchmarks(const std::string& name, Operation operation) {
  for (const std::size_t bytes : {page, 16 * page}) {
    for (const std::size_t sources : {std::size_t{4}, std::size_t{8}, std::size_t{16}}) {
      for (const Kernels* kernels : mdtool::parity::supported_kernels()) {
        const std::string full_name = name + "/" + std::to_string(bytes / 1024) + "KiB/k" + std::to_string(sources) +
                                      "/" + std::string(kernels->name);
        benchmark::RegisterBenchmark(full_name.c_str(), [=](benchmark::State& state) {
          const BenchRow row(sources, bytes);
          operation(state, *kernels, row);
        });
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  add_benchmarks("xor_generate", xor_generate);
  add_benchmarks("xor_check", xor_check);
  add_benchmarks("pq_generate", pq_generate);
  add_benchmarks("pq_check", pq_check);
  add_benchmarks("multiply_add", multiply_add);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
