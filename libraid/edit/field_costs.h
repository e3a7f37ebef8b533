// SPDX-License-Identifier: GPL-2.0-or-later
// What changes of superblock fields cost, and what to do before and afterwards, in words. Decides nothing.
#pragma once

#include "libraid/edit/fields.h"

namespace mdtool {

// Chunks whose parity a lockless bitmap does not promise; all of them where its states cannot be believed.
std::uint64_t unbuilt_chunks(const BitmapView& bitmap);

enum class AfterBitmap { clean, all_due };

void explain_costs(EditDraft& draft, const Assembly& array, const FieldEdit& edit);
void explain_dropped_bitmap(EditDraft& draft, const Assembly& array, AfterBitmap after);

}  // namespace mdtool
