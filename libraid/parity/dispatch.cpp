// SPDX-License-Identifier: GPL-2.0-or-later
#include <array>
#include <string>

#include "libraid/parity/kernel_tables.h"

namespace mdtool::parity {
namespace {

struct Supported {
  std::array<const Kernels*, 5> tables{};
  std::size_t count = 0;

  void add(const Kernels& kernels) { tables[count++] = &kernels; }
};

Supported detect() {
  Supported supported;
#if defined(__x86_64__)
  // These also ask whether the system saves the registers.
  const bool avx512 = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0;
  const bool avx2 = __builtin_cpu_supports("avx2") != 0;
  const bool gfni = __builtin_cpu_supports("gfni") != 0;
  if (avx512 && gfni) {
    supported.add(avx512_gfni_kernels);
  }
  if (avx512) {
    supported.add(avx512_kernels);
  }
  if (avx2 && gfni) {
    supported.add(avx2_gfni_kernels);
  }
  if (avx2) {
    supported.add(avx2_kernels);
  }
#endif
  supported.add(scalar_kernels);
  return supported;
}

Error usage(std::string text) {
  return {ErrorKind::usage, std::move(text)};
}

std::string supported_names() {
  std::string names;
  for (const Kernels* kernels : supported_kernels()) {
    names.append(names.empty() ? "" : ", ").append(kernels->name);
  }
  return names;
}

Result<const Kernels*> named_kernels(std::string_view name) {
  for (const Kernels* kernels : supported_kernels()) {
    if (kernels->name != name) {
      continue;
    }
    if (!passes_self_test(*kernels)) {
      return usage("the parity kernels '" + std::string(name) + "' give wrong answers here");
    }
    return kernels;
  }
  return usage("no parity kernels '" + std::string(name) + "' on this processor, only " + supported_names());
}

}  // namespace

std::span<const Kernels* const> supported_kernels() {
  static const Supported supported = detect();
  return std::span(supported.tables).first(supported.count);
}

Result<const Kernels*> choose_kernels(std::string_view forced_name) {
  if (!forced_name.empty()) {
    return named_kernels(forced_name);
  }
  for (const Kernels* kernels : supported_kernels()) {
    if (passes_self_test(*kernels)) {
      return kernels;
    }
  }
  return usage("none of the parity kernels gives right answers here: " + supported_names());
}

}  // namespace mdtool::parity
