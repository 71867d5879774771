/* Makes the disk of a process slow: LD_PRELOAD. The file that LANGLOG_TEST_DISK names is shared by all processes that it slows:
   two 32-bit counts of milliseconds, one for each fsync or fdatasync, one for each write to a regular file, and a 64-bit count of the
   calls that were slowed. A test writes to it while they run. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct disk {
  volatile int sync_ms, write_ms;
  volatile unsigned long long slowed;
};

static struct disk *disk;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("LANGLOG_TEST_DISK");
  int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *shared = mmap(NULL, sizeof(struct disk), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (shared != MAP_FAILED) disk = shared;
}

static void wait_ms(int ms) {
  struct timespec left = {ms / 1000, (ms % 1000) * 1000000L};
  __sync_fetch_and_add(&disk->slowed, 1);
  while (nanosleep(&left, &left)) {
  }
}

static void before_sync(void) {
  if (disk && disk->sync_ms) wait_ms(disk->sync_ms);
}

static void before_write(int fd) {
  struct stat is;
  if (disk && disk->write_ms && !fstat(fd, &is) && S_ISREG(is.st_mode)) wait_ms(disk->write_ms);
}

#define REAL(name, result, arguments) \
  static result(*real) arguments; \
  if (!real) real = (result(*) arguments) dlsym(RTLD_NEXT, name)

int fsync(int fd) {
  REAL("fsync", int, (int));
  before_sync();
  return real(fd);
}

int fdatasync(int fd) {
  REAL("fdatasync", int, (int));
  before_sync();
  return real(fd);
}

ssize_t write(int fd, const void *from, size_t count) {
  REAL("write", ssize_t, (int, const void *, size_t));
  before_write(fd);
  return real(fd, from, count);
}

ssize_t writev(int fd, const struct iovec *from, int count) {
  REAL("writev", ssize_t, (int, const struct iovec *, int));
  before_write(fd);
  return real(fd, from, count);
}

ssize_t pwrite64(int fd, const void *from, size_t count, off_t at) {
  REAL("pwrite64", ssize_t, (int, const void *, size_t, off_t));
  before_write(fd);
  return real(fd, from, count, at);
}
