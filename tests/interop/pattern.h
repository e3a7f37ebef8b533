// SPDX-License-Identifier: GPL-2.0-or-later
// What pattern's modes share.
#pragma once

#include <stdint.h>

// Says what, with errno's text, and ends the program with status 2.
_Noreturn void die(const char* what);

// Both answer with an exit status.
int journal(const char* device, uint64_t seed, uint64_t first, uint64_t count, const char* log, const char* how);
int judge(const char* device, uint64_t seed, const char* log, const char* before_path, const char* excluded_in);
