// SPDX-License-Identifier: GPL-2.0-or-later
// The tables there are, for dispatch; everybody else asks choose_kernels().
#pragma once

#include "libraid/parity/kernels.h"

namespace mdtool::parity {

extern const Kernels scalar_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels;
extern const Kernels avx2_gfni_kernels;
extern const Kernels avx512_kernels;
extern const Kernels avx512_gfni_kernels;
#endif

// Every function of the table, in all of its loop shapes, against arithmetic byte by byte. Some 0.1 ms.
bool passes_self_test(const Kernels&);

}  // namespace mdtool::parity
