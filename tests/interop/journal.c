// SPDX-License-Identifier: GPL-2.0-or-later
// pattern's modes for crashes: `journal` writes pieces of all sizes from several threads and logs, past every cache,
// what was issued, acknowledged and flushed; `judge` says whether what is on the device afterwards is allowed by that
// log. The unit is the sector: it holds an issued version, at least the newest that an acknowledged flush covers.
#define _FILE_OFFSET_BITS 64
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "content.h"
#include "pattern.h"

enum { WRITERS = 4, MOST_SECTORS = 512, RECORDS_PER_DOT = 16, MOST_NAMED = 5, BROKEN_OFF = 3 };

typedef enum { ISSUED = 1, ACKNOWLEDGED, FLUSHING, FLUSHED } Kind;

// One sector of the log. Those of one seed follow each other from the log's start.
typedef struct {
  uint64_t magic, index, kind;
  uint64_t version;       // of a write; of a flush: its writer
  uint64_t first, count;  // sectors of a write
  uint64_t unused[WORDS - 6];
} Record;

static uint64_t magic_of(uint64_t seed) {
  return word_of(~seed, 0x6a6f75726e616cu);
}

static void fill_sector(uint64_t* words, uint64_t seed, uint64_t sector, uint64_t version) {
  words[0] = word_of(seed, sector);
  words[1] = version;
  for (int w = 2; w < WORDS; w++) words[w] = scramble(words[0] + version);
}

// ---- writing

typedef struct {
  int fd, log;
  uint64_t seed, first, count, log_records;
  bool by_sectors;  // pieces may begin and end at any sector
  pthread_mutex_t mutex;
  uint64_t records, versions, draws;
  struct {
    uint64_t first, count;
  } in_flight[WRITERS];
  bool full, broken;
} Journal;

typedef struct {
  Journal* journal;
  unsigned index;
} Writer;

static uint64_t draw(Journal* j, uint64_t below) {
  return word_of(j->seed + 7, j->draws++) % below;
}

// False once the log is full: nothing may be written then that it could not tell of.
static bool record(Journal* j, Kind kind, uint64_t version, uint64_t first, uint64_t count) {
  static _Alignas(4096) Record one;
  if (j->records == j->log_records) j->full = true;
  if (j->full) return false;
  one = (Record){magic_of(j->seed), j->records, kind, version, first, count, {0}};
  if (pwrite(j->log, &one, sizeof one, (off_t)(j->records * SECTOR)) != sizeof one) die("log");
  if (++j->records % RECORDS_PER_DOT == 0 && write(STDOUT_FILENO, ".", 1) != 1) die("standard output");
  return true;
}

static bool is_free(const Journal* j, uint64_t first, uint64_t count) {
  for (int i = 0; i < WRITERS; i++)
    if (first < j->in_flight[i].first + j->in_flight[i].count && j->in_flight[i].first < first + count) return false;
  return true;
}

// A piece that no other writer is at: so the order of a sector's versions is the order of their numbers.
static void choose(Journal* j, unsigned self) {
  static const uint64_t most[] = {1, 8, 64, MOST_SECTORS};
  uint64_t first, count;
  do {
    uint64_t limit = most[draw(j, 4)];
    count = 1 + draw(j, limit);
    first = draw(j, j->count);
    if (!j->by_sectors) {
      count = (count + 7) / 8 * 8;
      first = first / 8 * 8;
    }
    if (first + count > j->count) count = j->count - first;
  } while (!is_free(j, j->first + first, count));
  j->in_flight[self].first = j->first + first;
  j->in_flight[self].count = count;
}

static bool write_piece(Journal* j, unsigned self, uint64_t (*buffer)[WORDS]) {
  choose(j, self);
  const uint64_t first = j->in_flight[self].first, count = j->in_flight[self].count, version = ++j->versions;
  if (!record(j, ISSUED, version, first, count)) return false;
  pthread_mutex_unlock(&j->mutex);
  for (uint64_t i = 0; i < count; i++) fill_sector(buffer[i], j->seed, first + i, version);
  const ssize_t length = (ssize_t)(count * SECTOR);
  const bool written = pwrite(j->fd, buffer, (size_t)length, (off_t)(first * SECTOR)) == length;
  pthread_mutex_lock(&j->mutex);
  j->in_flight[self].count = 0;
  if (!written) j->broken = true;
  return written && record(j, ACKNOWLEDGED, version, first, count);
}

static bool flush(Journal* j, unsigned self) {
  if (!record(j, FLUSHING, self, 0, 0)) return false;
  pthread_mutex_unlock(&j->mutex);
  const bool flushed = fdatasync(j->fd) == 0;
  pthread_mutex_lock(&j->mutex);
  if (!flushed) j->broken = true;
  return flushed && record(j, FLUSHED, self, 0, 0);
}

static void* write_on(void* argument) {
  Writer* self = argument;
  Journal* j = self->journal;
  void* buffer = NULL;
  if (posix_memalign(&buffer, 4096, (size_t)MOST_SECTORS * SECTOR) != 0) die("memory");
  pthread_mutex_lock(&j->mutex);
  while (!j->full && !j->broken && (draw(j, 24) == 0 ? flush(j, self->index) : write_piece(j, self->index, buffer))) {
  }
  pthread_mutex_unlock(&j->mutex);
  free(buffer);
  return NULL;
}

static uint64_t sectors_in(int fd) {
  off_t end = lseek(fd, 0, SEEK_END);
  if (end < 0) die("size");
  return (uint64_t)end / SECTOR;
}

// The log of a killed machine has to be outside of its page cache; a file system that knows no O_DIRECT is the host's.
static int open_log(const char* path) {
  int fd = open(path, O_RDWR | O_DIRECT);
  if (fd < 0 && errno == EINVAL) fd = open(path, O_RDWR);
  if (fd < 0) die(path);
  return fd;
}

int journal(const char* device, uint64_t seed, uint64_t first, uint64_t count, const char* log, const char* how) {
  const bool direct = strncmp(how, "direct", 6) == 0;
  Journal j = {.seed = seed, .first = first, .count = count, .by_sectors = strstr(how, "4k") == NULL};
  pthread_mutex_init(&j.mutex, NULL);
  j.fd = open(device, O_WRONLY | (direct ? O_DIRECT : 0));
  if (j.fd < 0) die(device);
  j.log = open_log(log);
  j.log_records = sectors_in(j.log);
  pthread_t threads[WRITERS];
  Writer writers[WRITERS];
  for (unsigned i = 0; i < WRITERS; i++) {
    writers[i] = (Writer){&j, i};
    if (pthread_create(&threads[i], NULL, write_on, &writers[i]) != 0) die("thread");
  }
  for (unsigned i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
  printf("records %" PRIu64 ", writes %" PRIu64 "%s\n", j.records, j.versions, j.broken ? ", broken off" : "");
  return j.broken ? BROKEN_OFF : 0;
}

// ---- judging

typedef struct {
  uint64_t count;             // sectors
  uint64_t* acknowledged;     // by sector: the newest version acknowledged so far
  uint64_t* floor;            // by sector: the newest that a flush covers
  uint64_t* before[WRITERS];  // acknowledged[] when this writer's flush began
  Record* writes;             // by version
  uint64_t versions, flushes;
} Told;

static void* numbers(uint64_t count, size_t size) {
  void* all = calloc(count + 1, size);
  if (all == NULL) die("memory");
  return all;
}

static void replay(Told* told, const Record* one) {
  const size_t bytes = told->count * sizeof(uint64_t);
  switch ((Kind)one->kind) {
    case ISSUED:
      told->writes[one->version] = *one;
      told->versions = one->version;
      break;
    case ACKNOWLEDGED:
      for (uint64_t i = 0; i < one->count; i++) told->acknowledged[one->first + i] = one->version;
      break;
    case FLUSHING:
      memcpy(told->before[one->version], told->acknowledged, bytes);
      break;
    case FLUSHED:
      told->flushes++;
      for (uint64_t i = 0; i < told->count; i++)
        if (told->floor[i] < told->before[one->version][i]) told->floor[i] = told->before[one->version][i];
      break;
  }
}

static Told read_log(const char* path, uint64_t seed, uint64_t count) {
  int log = open(path, O_RDONLY);
  if (log < 0) die(path);
  const uint64_t most = sectors_in(log);
  Told told = {.count = count};
  told.acknowledged = numbers(count, sizeof(uint64_t));
  told.floor = numbers(count, sizeof(uint64_t));
  told.writes = numbers(most, sizeof(Record));
  for (int i = 0; i < WRITERS; i++) told.before[i] = numbers(count, sizeof(uint64_t));
  Record one;
  for (uint64_t i = 0; i < most && pread(log, &one, sizeof one, (off_t)(i * SECTOR)) == sizeof one; i++) {
    if (one.magic != magic_of(seed) || one.index != i || one.first + one.count > count) break;
    replay(&told, &one);
  }
  close(log);
  return told;
}

// Sectors that the array's owner was told not to believe: lines "FIRST COUNT".
static void read_excluded(const char* path, bool* excluded, uint64_t count) {
  FILE* file = fopen(path, "r");
  if (file == NULL) die(path);
  uint64_t from, length;
  while (fscanf(file, "%" SCNu64 " %" SCNu64, &from, &length) == 2)
    for (uint64_t s = from; s < from + length && s < count; s++) excluded[s] = true;
  fclose(file);
}

// The version that a sector holds: 0 for what was there before, UINT64_MAX for garbage.
static uint64_t version_in(const uint64_t* words, uint64_t seed, uint64_t sector, const uint64_t* before) {
  uint64_t expected[WORDS];
  fill_sector(expected, seed, sector, words[1]);
  if (words[1] != 0 && memcmp(words, expected, SECTOR) == 0) return words[1];
  return memcmp(words, before, SECTOR) == 0 ? 0 : UINT64_MAX;
}

static bool was_issued(const Told* told, uint64_t version, uint64_t sector) {
  if (version == 0) return true;
  if (version > told->versions) return false;
  const Record* one = &told->writes[version];
  return one->first <= sector && sector < one->first + one->count;
}

static void complain(const Told* told, uint64_t sector, uint64_t version, uint64_t word) {
  const bool garbage = version == UINT64_MAX;
  printf("sector %" PRIu64 " holds %s %" PRIx64 ", acknowledged %" PRIx64 ", flushed %" PRIx64 "; ", sector,
         garbage ? "garbage" : "version", garbage ? word : version, told->acknowledged[sector], told->floor[sector]);
}

static int open_for_reading(const char* path) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) die(path);
  return fd;
}

int judge(const char* device, uint64_t seed, const char* log, const char* before_path, const char* excluded_in) {
  const int fd = open_for_reading(device), before_fd = open_for_reading(before_path);
  const uint64_t count = sectors_in(fd);
  const Told told = read_log(log, seed, count);
  bool* excluded = numbers(count, sizeof(bool));
  if (excluded_in != NULL) read_excluded(excluded_in, excluded, count);
  uint64_t bad = 0, written = 0, promised = 0, passed_over = 0, words[WORDS], before[WORDS];
  for (uint64_t s = 0; s < count; s++) {
    if (pread(fd, words, SECTOR, (off_t)(s * SECTOR)) != SECTOR) die(device);
    if (pread(before_fd, before, SECTOR, (off_t)(s * SECTOR)) != SECTOR) die(before_path);
    const uint64_t version = version_in(words, seed, s, before);
    written += version != 0;
    promised += told.floor[s] > 0;
    passed_over += excluded[s];
    if (excluded[s] || (version != UINT64_MAX && version >= told.floor[s] && was_issued(&told, version, s))) continue;
    if (bad++ < MOST_NAMED) complain(&told, s, version, words[0]);
  }
  printf("%" PRIu64 " bad of %" PRIu64 " (%" PRIu64 " writes, %" PRIu64 " flushes; %" PRIu64
         " sectors changed, %" PRIu64 " promised, %" PRIu64 " passed over)\n",
         bad, count, told.versions, told.flushes, written, promised, passed_over);
  return bad > 0;
}
