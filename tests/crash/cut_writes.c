// SPDX-License-Identifier: GPL-2.0-or-later
// Preloaded into a program: ends it at a chosen write, as a power cut would. CUT_WRITES says how many writes succeed,
// CUT_SECTORS how many sectors of the next one still reach the file. Every write to a regular file counts, every range
// of one that is zeroed, and every file renamed. A file renamed before it is durable, or another one written before the
// new name is, ends the program as a mistake.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { sector_bytes = 512, cut_status = 111, mistake_status = 112 };

static ino_t written;  // last, and not flushed since
static int renamed;    // and the folder not flushed since

static long left(void) {
  static long writes = -2;
  if (writes == -2) {
    const char* text = getenv("CUT_WRITES");
    writes = text == NULL ? -1 : atol(text);
  }
  return writes < 0 ? -1 : writes--;
}

static size_t torn_bytes(size_t length) {
  const char* text = getenv("CUT_SECTORS");
  const size_t bytes = text == NULL ? 0 : strtoul(text, NULL, 10) * sector_bytes;
  return bytes < length ? bytes : length;
}

static int counts(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

static void note_write(int fd) {
  struct stat status;
  if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
    written = status.st_ino;
    if (renamed) {
      _exit(mistake_status);
    }
  }
}

int fsync(int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  struct stat status;
  if (fstat(fd, &status) == 0) {
    written = written == status.st_ino ? 0 : written;
    renamed = renamed && !S_ISDIR(status.st_mode);
  }
  return real(fd);
}

int rename(const char* from, const char* to) {
  int (*real)(const char*, const char*) = (int (*)(const char*, const char*))dlsym(RTLD_NEXT, "rename");
  struct stat status;
  if (stat(from, &status) == 0 && status.st_ino == written) {
    _exit(mistake_status);
  }
  if (left() == 0) {
    _exit(cut_status);
  }
  renamed = 1;
  return real(from, to);
}

ssize_t pwrite64(int fd, const void* bytes, size_t length, off64_t offset) {
  ssize_t (*real)(int, const void*, size_t, off64_t) =
      (ssize_t(*)(int, const void*, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
  if (counts(fd) && left() == 0) {
    const size_t torn = torn_bytes(length);
    _exit(torn != 0 && real(fd, bytes, torn, offset) < 0 ? errno : cut_status);
  }
  note_write(fd);
  return real(fd, bytes, length, offset);
}

ssize_t pwritev64v2(int fd, const struct iovec* parts, int count, off64_t offset, int flags) {
  ssize_t (*real)(int, const struct iovec*, int, off64_t, int) =
      (ssize_t(*)(int, const struct iovec*, int, off64_t, int))dlsym(RTLD_NEXT, "pwritev64v2");
  if (counts(fd) && left() == 0) {
    _exit(cut_status);
  }
  note_write(fd);
  return real(fd, parts, count, offset, flags);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
  int (*real)(int, int, off64_t, off64_t) = (int (*)(int, int, off64_t, off64_t))dlsym(RTLD_NEXT, "fallocate64");
  if (counts(fd) && left() == 0) {
    const size_t torn = torn_bytes((size_t)length);
    _exit(torn != 0 && real(fd, mode, offset, (off64_t)torn) < 0 ? errno : cut_status);
  }
  return real(fd, mode, offset, length);
}
