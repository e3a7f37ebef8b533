// SPDX-License-Identifier: GPL-2.0-or-later
// pattern: puts content on a device that can be judged piece by piece later. A static program for the lab's guest.
// Knows nothing of arrays: it sees one flat device.
//
//   pattern write DEVICE SEED FIRST COUNT      sectors FIRST.. of 512 bytes, each of 64 equal words; then fsync
//   pattern check DEVICE SEED FIRST COUNT      names the first bad sector and how many are bad; exit 1 if any
//   pattern garbage DEVICE SEED [FIRST COUNT]  4 KiB blocks of equal words: all differ, and compress to almost nothing
//   pattern storm DEVICE SEED FIRST COUNT      4 KiB blocks in random order past the page cache, until the power is cut
//   pattern journal DEVICE SEED FIRST COUNT LOG HOW
//     pieces of all sizes, some flushed, all told to LOG (a device, or a file of fixed size), until LOG is full, or
//     (exit 3) writing fails; HOW: cached, direct, direct-4k (whole blocks only). A dot on stdout for 16 records
//   pattern judge DEVICE SEED LOG BEFORE [EXCLUDED]
//     exit 1 where a sector holds what LOG does not allow; BEFORE: a file with the content as it was, EXCLUDED: a file
//     of lines "FIRST COUNT"
//
// A sector's word follows from the seed and the sector's number, a garbage block's from the seed and the block's
// number.
#define _FILE_OFFSET_BITS 64
#define _GNU_SOURCE
#include "pattern.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "content.h"

enum { GARBAGE_SECTORS = 8, BATCH_SECTORS = 2048 };

static _Alignas(4096) uint64_t batch[BATCH_SECTORS][WORDS];

_Noreturn void die(const char* what) {
  fprintf(stderr, "pattern: %s: %s\n", what, strerror(errno));
  exit(2);
}

static uint64_t number(const char* text) {
  char* end;
  errno = 0;
  uint64_t value = strtoull(text, &end, 0);
  if (*text == '\0' || *end != '\0' || errno != 0) {
    fprintf(stderr, "pattern: '%s' is not a number\n", text);
    exit(2);
  }
  return value;
}

// Sectors [first, first + count) go through the batch, `unit` sectors sharing one word.
static void put(int fd, uint64_t seed, uint64_t first, uint64_t count, unsigned unit) {
  while (count > 0) {
    uint64_t now = count < BATCH_SECTORS ? count : BATCH_SECTORS;
    for (uint64_t i = 0; i < now; i++)
      for (int w = 0; w < WORDS; w++) batch[i][w] = word_of(seed, (first + i) / unit);
    if (pwrite(fd, batch, now * SECTOR, (off_t)(first * SECTOR)) != (ssize_t)(now * SECTOR)) die("write");
    first += now;
    count -= now;
  }
  if (fsync(fd) != 0) die("fsync");
}

static bool sector_is(const uint64_t* words, uint64_t expected) {
  for (int w = 0; w < WORDS; w++)
    if (words[w] != expected) return false;
  return true;
}

static int check(int fd, uint64_t seed, uint64_t first, uint64_t count) {
  uint64_t bad = 0, first_bad = 0;
  while (count > 0) {
    uint64_t now = count < BATCH_SECTORS ? count : BATCH_SECTORS;
    if (pread(fd, batch, now * SECTOR, (off_t)(first * SECTOR)) != (ssize_t)(now * SECTOR)) die("read");
    for (uint64_t i = 0; i < now; i++)
      if (!sector_is(batch[i], word_of(seed, first + i)) && bad++ == 0) first_bad = first + i;
    first += now;
    count -= now;
  }
  if (bad > 0) printf("first bad sector %" PRIu64 ", %" PRIu64 " bad\n", first_bad, bad);
  return bad > 0;
}

// Never the same content twice in one place, so that a block that was written late shows.
static void storm(int fd, uint64_t seed, uint64_t first, uint64_t count) {
  for (uint64_t round = 0;; round++) {
    uint64_t sector = first + word_of(~seed, round) % (count / GARBAGE_SECTORS) * GARBAGE_SECTORS;
    for (int i = 0; i < GARBAGE_SECTORS; i++)
      for (int w = 0; w < WORDS; w++) batch[i][w] = word_of(seed + round, sector);
    if (pwrite(fd, batch, GARBAGE_SECTORS * SECTOR, (off_t)(sector * SECTOR)) != GARBAGE_SECTORS * SECTOR) die("write");
  }
}

static int usage(void) {
  fputs(
      "usage: pattern write|check|garbage|storm DEVICE SEED FIRST COUNT (garbage: all of it by default)\n"
      "       pattern journal DEVICE SEED FIRST COUNT LOG cached|direct|direct-4k\n"
      "       pattern judge DEVICE SEED LOG BEFORE [EXCLUDED]\n",
      stderr);
  return 2;
}

int main(int argc, char** argv) {
  if (argc == 8 && strcmp(argv[1], "journal") == 0)
    return journal(argv[2], number(argv[3]), number(argv[4]), number(argv[5]), argv[6], argv[7]);
  if ((argc == 6 || argc == 7) && strcmp(argv[1], "judge") == 0)
    return judge(argv[2], number(argv[3]), argv[4], argv[5], argv[6]);
  bool writing = argc == 6 && strcmp(argv[1], "write") == 0;
  bool checking = argc == 6 && strcmp(argv[1], "check") == 0;
  bool storming = argc == 6 && strcmp(argv[1], "storm") == 0;
  bool filling = (argc == 4 || argc == 6) && strcmp(argv[1], "garbage") == 0;
  if (!writing && !checking && !storming && !filling) return usage();
  int fd = open(argv[2], checking ? O_RDONLY : storming ? O_WRONLY | O_DIRECT : O_WRONLY);
  if (fd < 0) die(argv[2]);
  uint64_t seed = number(argv[3]), first = 0, count;
  if (argc == 6) {
    first = number(argv[4]);
    count = number(argv[5]);
  } else {
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0) die(argv[2]);
    count = (uint64_t)end / SECTOR;
  }
  if (storming && count < GARBAGE_SECTORS) return fputs("pattern: no room for a storm\n", stderr), 2;
  if (storming) storm(fd, seed, first, count);
  if (checking) return check(fd, seed, first, count);
  put(fd, seed, first, count, filling ? GARBAGE_SECTORS : 1);
  return 0;
}
