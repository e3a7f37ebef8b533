// SPDX-License-Identifier: GPL-2.0-or-later
// Engines with one thing wrong, put together at the seams: devices, intent, superblocks, parity kernels. The laboratory
// has to notice each of them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "libraid/array/intent.h"
#include "libraid/array/superblocks.h"
#include "libraid/io/block_device.h"
#include "libraid/parity/kernels.h"
#include "tests/crash/array_spec.h"

namespace mdtool::crash {

struct Mutant {
  std::string_view name;
  // Each is null where the mutant leaves that part alone. A wrapped device outlives its wrapper.
  std::function<std::unique_ptr<BlockDevice>(BlockDevice&, std::uint32_t slot, const ArraySpec&)> wrap = nullptr;
  const parity::Kernels* kernels = nullptr;
  std::function<std::unique_ptr<Intent>(std::unique_ptr<Intent>, const ArraySpec&)> intent = nullptr;
  std::function<std::unique_ptr<Superblocks>(std::unique_ptr<Superblocks>, const ArraySpec&)> superblocks = nullptr;
};

std::vector<Mutant> all_mutants();
// Its parts.
std::vector<Mutant> device_mutants();
std::vector<Mutant> parity_mutants();
std::vector<Mutant> intent_mutants();
std::vector<Mutant> superblock_mutants();

}  // namespace mdtool::crash
