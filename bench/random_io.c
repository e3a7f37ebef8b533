// SPDX-License-Identifier: GPL-2.0-or-later
// random_io: random reads or writes by some threads for some seconds, on a device or a file; the rate as one line of
// JSON. A static program, for the lab's guest as well. Overwrites what it is given.
//
//   random_io read|write FILE THREADS SECONDS BLOCK_BYTES SEED [direct]
#define _FILE_OFFSET_BITS 64
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_THREADS = 64, BUFFER_ALIGNMENT = 4096, OPERATIONS_PER_LOOK = 16 };

struct load {
  int fd;
  bool writes;
  uint64_t blocks;
  size_t block_bytes;
  double seconds;
};

struct worker {
  const struct load* load;
  uint64_t random;
  uint64_t operations;
  int error;
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// splitmix64
static uint64_t next(uint64_t* state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

static int one_block(const struct load* load, uint64_t block, void* buffer) {
  const off_t at = (off_t)(block * load->block_bytes);
  const ssize_t done =
      load->writes ? pwrite(load->fd, buffer, load->block_bytes, at) : pread(load->fd, buffer, load->block_bytes, at);
  if (done < 0) return errno;
  return (size_t)done == load->block_bytes ? 0 : EIO;
}

static void* work(void* argument) {
  struct worker* worker = argument;
  const struct load* load = worker->load;
  void* buffer;
  worker->error = posix_memalign(&buffer, BUFFER_ALIGNMENT, load->block_bytes);
  if (worker->error != 0) return NULL;
  memset(buffer, (int)(worker->random & 0xff), load->block_bytes);
  for (const double end = now() + load->seconds; worker->error == 0 && now() < end;) {
    for (int i = 0; worker->error == 0 && i < OPERATIONS_PER_LOOK; i++) {
      worker->error = one_block(load, next(&worker->random) % load->blocks, buffer);
      worker->operations++;
    }
  }
  free(buffer);
  return NULL;
}

static _Noreturn void die(const char* what, int error) {
  fprintf(stderr, "random_io: %s: %s\n", what, strerror(error));
  exit(2);
}

static uint64_t number(const char* text, uint64_t least, uint64_t most) {
  char* end;
  errno = 0;
  const uint64_t value = strtoull(text, &end, 0);
  if (*text == '\0' || *end != '\0' || errno != 0 || value < least || value > most) die(text, EINVAL);
  return value;
}

static uint64_t run(const struct load* load, unsigned threads, uint64_t seed) {
  pthread_t running[MOST_THREADS];
  struct worker workers[MOST_THREADS];
  for (unsigned i = 0; i < threads; i++) {
    workers[i] = (struct worker){.load = load, .random = seed * MOST_THREADS + i};
    const int error = pthread_create(&running[i], NULL, work, &workers[i]);
    if (error != 0) die("a thread", error);
  }
  uint64_t operations = 0;
  for (unsigned i = 0; i < threads; i++) {
    pthread_join(running[i], NULL);
    if (workers[i].error != 0) die(load->writes ? "writing" : "reading", workers[i].error);
    operations += workers[i].operations;
  }
  return operations;
}

int main(int argc, char** argv) {
  if (argc < 7 || argc > 8 || (argc == 8 && strcmp(argv[7], "direct") != 0) ||
      (strcmp(argv[1], "read") != 0 && strcmp(argv[1], "write") != 0)) {
    fprintf(stderr, "usage: random_io read|write FILE THREADS SECONDS BLOCK_BYTES SEED [direct]\n");
    return 2;
  }
  struct load load = {.writes = strcmp(argv[1], "write") == 0};
  const unsigned threads = (unsigned)number(argv[3], 1, MOST_THREADS);
  load.seconds = (double)number(argv[4], 1, 3600);
  load.block_bytes = number(argv[5], 512, 1U << 24);
  const uint64_t seed = number(argv[6], 0, UINT32_MAX);
  load.fd = open(argv[2], O_RDWR | (argc == 8 ? O_DIRECT : 0));
  if (load.fd < 0) die(argv[2], errno);
  const off_t size = lseek(load.fd, 0, SEEK_END);
  if (size < (off_t)load.block_bytes) die(argv[2], EINVAL);
  load.blocks = (uint64_t)size / load.block_bytes;

  const double begin = now();
  const uint64_t operations = run(&load, threads, seed);
  printf("{\"operations_per_second\": %.0f, \"threads\": %u}\n", (double)operations / (now() - begin), threads);
  return 0;
}
