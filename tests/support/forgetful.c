/* A disk that forgets what was not synced, fails and is slow: preloaded into the broker (LD_PRELOAD).
 *
 * FORGETFUL_DIR      files below it are this disk's
 * FORGETFUL_SHADOW   a directory of the same file system, where what is on the disk for good is kept:
 *                      INODE.synced  what a file holds for good: what it held when it was synced last
 *                      INODE.names   what a directory lists for good: lines "INODE d|f NAME"
 *                      INODE.live    a link, so that no inode is used twice, and what it held at last
 *                      INODE.lost    a byte a page: 1 where a sync failed, for the next process
 *                    Not set: nothing is forgotten, syncs are the kernel's.
 * FORGETFUL_CONTROL  a file of words that say what goes wrong from now on:
 *                      sync=eio      syncs fail, and what they were to keep is never kept, even where
 *                                    a later one succeeds (as Linux does: the pages count as clean)
 *                      write=enospc  whatever makes a file longer, or a new one, finds no room
 *                      delay=MS      each sync takes so long
 * FORGETFUL_BOOT     a file that is read in the place of the kernel's boot id
 *
 * After the process was killed, the test puts what is kept in the place of the files: a power cut.
 * What is written through mmap is not seen (SQLite's -shm is, and is made anew). A name is there for
 * good once its directory was synced, which is as little as POSIX promises.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096
#define FDS 65536
#define REAL(name) ((__typeof__(&name))real(#name))

/* The kernel's next in line. */
static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (!found) abort();
  return found;
}

struct file {
  struct file *next;
  dev_t dev;
  ino_t ino;
  int is_dir;
  int reader;           /* kept open: closing one would drop the process's locks on the file */
  unsigned char *dirty; /* a byte a page */
  unsigned char *lost;  /* the same: written, clean to the system, and not on the disk */
  size_t pages;
  int has_lost;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *files;
static struct file *of_fd[FDS];
static char known[FDS]; /* whether of_fd says whose the descriptor is */
static char dir[PATH_MAX];
static const char *shadow, *control, *boot;

__attribute__((constructor)) static void begin(void) {
  const char *named = getenv("FORGETFUL_DIR");
  if (!named || !realpath(named, dir)) dir[0] = 0;
  shadow = getenv("FORGETFUL_SHADOW");
  control = getenv("FORGETFUL_CONTROL");
  boot = getenv("FORGETFUL_BOOT");
}

/* ---- What goes wrong ---- */

/* The number behind a word of the control file; 0 where only the word is there, -1 where it is not. */
static long ordered(const char *word) {
  char text[256];
  int fd = control ? REAL(open64)(control, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return -1;
  ssize_t length = read(fd, text, sizeof text - 1);
  REAL(close)(fd);
  text[length < 0 ? 0 : length] = 0;
  const char *found = strstr(text, word);
  return found ? atol(found + strlen(word)) : -1;
}

/* ---- Whose a descriptor is ---- */

static char *kept(char *path, ino_t ino, const char *what) {
  snprintf(path, PATH_MAX, "%s/%lu.%s", shadow, (unsigned long)ino, what);
  return path;
}

static void mark(struct file *file, off_t from, off_t to) {
  size_t first = from / PAGE, end = (to + PAGE - 1) / PAGE;
  if (end > file->pages) {
    size_t pages = end * 2;
    file->dirty = realloc(file->dirty, pages);
    file->lost = realloc(file->lost, pages);
    if (!file->dirty || !file->lost) abort();
    memset(file->dirty + file->pages, 0, pages - file->pages);
    memset(file->lost + file->pages, 0, pages - file->pages);
    file->pages = pages;
  }
  if (end > first) memset(file->dirty + first, 1, end - first);
}

/* The file behind a descriptor, if it is of this disk. The lock is held. */
static struct file *look(int fd) {
  char link[64], path[PATH_MAX];
  struct stat stat;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  size_t prefix = strlen(dir);
  if (length < 0 || !prefix) return NULL;
  path[length] = 0;
  if (strncmp(path, dir, prefix) || (path[prefix] != '/' && path[prefix] != 0)) return NULL;
  if (fstat(fd, &stat) || !(S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode))) return NULL;
  for (struct file *file = files; file; file = file->next)
    if (file->ino == stat.st_ino && file->dev == stat.st_dev) return file;
  struct file *file = calloc(1, sizeof *file);
  if (!file) abort();
  file->dev = stat.st_dev;
  file->ino = stat.st_ino;
  file->is_dir = S_ISDIR(stat.st_mode);
  file->reader = REAL(open64)(link, O_RDONLY | O_CLOEXEC);
  if (shadow && !file->is_dir) {
    linkat(AT_FDCWD, link, AT_FDCWD, kept(path, file->ino, "live"), AT_SYMLINK_FOLLOW);
    /* What a process before this one wrote and did not sync is synced with it, but for what could not be. */
    mark(file, 0, stat.st_size);
    int known_lost = REAL(open64)(kept(path, file->ino, "lost"), O_RDONLY | O_CLOEXEC);
    if (known_lost >= 0) {
      ssize_t pages = read(known_lost, file->lost, file->pages);
      for (ssize_t n = 0; n < pages; n++) file->dirty[n] &= !file->lost[n];
      file->has_lost = 1;
      REAL(close)(known_lost);
    }
  }
  file->next = files;
  files = file;
  return file;
}

static struct file *whose(int fd) {
  if (fd < 0 || fd >= FDS) return NULL;
  if (__atomic_load_n(&known[fd], __ATOMIC_ACQUIRE)) return of_fd[fd];
  int error = errno;
  pthread_mutex_lock(&lock);
  of_fd[fd] = look(fd);
  __atomic_store_n(&known[fd], 1, __ATOMIC_RELEASE);
  pthread_mutex_unlock(&lock);
  errno = error;
  return of_fd[fd];
}

static int opened(int fd) {
  if (fd >= 0 && fd < FDS) __atomic_store_n(&known[fd], 0, __ATOMIC_RELEASE);
  return fd;
}

static void touched(struct file *file, off_t from, off_t to) {
  if (!file || !shadow) return;
  pthread_mutex_lock(&lock);
  mark(file, from, to);
  pthread_mutex_unlock(&lock);
}

/* ---- Opening and closing ---- */

static int is_ours(const char *path) {
  char parent[PATH_MAX], found[PATH_MAX];
  size_t prefix = strlen(dir);
  if (!prefix) return 0;
  snprintf(parent, sizeof parent, "%s", path);
  char *slash = strrchr(parent, '/');
  if (slash) *slash = 0;
  if (!realpath(slash ? parent : ".", found)) return 0;
  return !strncmp(found, dir, prefix) && (found[prefix] == '/' || !found[prefix]);
}

static int open_as(int at, const char *path, int flags, mode_t mode) {
  int error = errno;
  if (boot && !strcmp(path, "/proc/sys/kernel/random/boot_id")) path = boot;
  /* A new file takes room as well. */
  if ((flags & O_CREAT) && is_ours(path) && access(path, F_OK) && ordered("write=enospc") >= 0) {
    errno = ENOSPC;
    return -1;
  }
  errno = error;
  int fd = opened(REAL(openat64)(at, path, flags, mode));
  if (fd >= 0 && (flags & O_TRUNC)) touched(whose(fd), 0, 1L << 30);
  return fd;
}

#define OPENING(name, first, at)                                \
  int name first {                                              \
    va_list more;                                               \
    va_start(more, flags);                                      \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0; \
    va_end(more);                                               \
    return open_as(at, path, flags, mode);                      \
  }
OPENING(open, (const char *path, int flags, ...), AT_FDCWD)
OPENING(open64, (const char *path, int flags, ...), AT_FDCWD)
OPENING(openat, (int at, const char *path, int flags, ...), at)
OPENING(openat64, (int at, const char *path, int flags, ...), at)

int close(int fd) {
  opened(fd);
  return REAL(close)(fd);
}

/* ---- Writing ---- */

/* Whether there is no room for what ends there. */
static int is_full(int fd, struct file *file, off_t end) {
  struct stat stat;
  if (!file || ordered("write=enospc") < 0) return 0;
  if (!fstat(fd, &stat) && end <= stat.st_size) return 0;
  errno = ENOSPC;
  return 1;
}

static off_t place(int fd) {
  struct stat stat;
  int flags = fcntl(fd, F_GETFL);
  if (flags >= 0 && (flags & O_APPEND) && !fstat(fd, &stat)) return stat.st_size;
  return lseek(fd, 0, SEEK_CUR);
}

static size_t total(const struct iovec *parts, int count) {
  size_t bytes = 0;
  for (int i = 0; i < count; i++) bytes += parts[i].iov_len;
  return bytes;
}

/* Marked before and after: a sync of another thread meanwhile may see either. */
#define WRITING(call, from, bytes)                    \
  struct file *file = whose(fd);                      \
  if (!file) return call;                             \
  off_t at = from, end = at + (off_t)(bytes);         \
  if (is_full(fd, file, end)) return -1;              \
  touched(file, at, end);                             \
  ssize_t done = call;                                \
  if (done > 0) touched(file, at, at + done);         \
  return done

ssize_t write(int fd, const void *data, size_t size) {
  WRITING(REAL(write)(fd, data, size), place(fd), size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
  WRITING(REAL(pwrite64)(fd, data, size, offset), offset, size);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  WRITING(REAL(pwrite64)(fd, data, size, offset), offset, size);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  WRITING(REAL(writev)(fd, parts, count), place(fd), total(parts, count));
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  WRITING(REAL(pwritev64)(fd, parts, count, offset), offset, total(parts, count));
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
  WRITING(REAL(pwritev64)(fd, parts, count, offset), offset, total(parts, count));
}
ssize_t copy_file_range(int in, off64_t *from, int fd, off64_t *to, size_t size, unsigned flags) {
  WRITING(REAL(copy_file_range)(in, from, fd, to, size, flags), to ? *to : place(fd), size);
}

static int resize(int fd, off_t length) {
  struct stat before;
  struct file *file = whose(fd);
  if (is_full(fd, file, length)) return -1;
  if (file && !fstat(fd, &before) && before.st_size > length) touched(file, length, before.st_size);
  return REAL(ftruncate64)(fd, length);
}
int ftruncate(int fd, off_t length) { return resize(fd, length); }
int ftruncate64(int fd, off64_t length) { return resize(fd, length); }

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
  struct file *file = whose(fd);
  if (is_full(fd, file, offset + length)) return -1;
  touched(file, offset, offset + length);
  return REAL(fallocate64)(fd, mode, offset, length);
}
int fallocate(int fd, int mode, off_t offset, off_t length) {
  return fallocate64(fd, mode, offset, length);
}
int posix_fallocate64(int fd, off64_t offset, off64_t length) {
  struct file *file = whose(fd);
  if (is_full(fd, file, offset + length)) return ENOSPC;
  return REAL(posix_fallocate64)(fd, offset, length);
}
int posix_fallocate(int fd, off_t offset, off_t length) {
  return posix_fallocate64(fd, offset, length);
}

/* ---- Syncing ---- */

static void keep_names(struct file *file) {
  char path[PATH_MAX], fresh[PATH_MAX + 8], link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file->reader);
  DIR *listing = opendir(link);
  kept(path, file->ino, "names");
  snprintf(fresh, sizeof fresh, "%s.new", path);
  FILE *out = fopen(fresh, "w");
  if (!listing || !out) abort();
  struct dirent *entry;
  while ((entry = readdir(listing))) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    fprintf(out, "%lu %c %s\n", (unsigned long)entry->d_ino, entry->d_type == DT_DIR ? 'd' : 'f',
            entry->d_name);
  }
  closedir(listing);
  fclose(out);
  rename(fresh, path);
}

static void keep(struct file *file) {
  char path[PATH_MAX], page[PAGE];
  struct stat stat;
  if (file->is_dir) {
    keep_names(file);
    return;
  }
  kept(path, file->ino, "synced");
  int out = REAL(open64)(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (out < 0 || fstat(file->reader, &stat)) abort();
  for (size_t n = 0; n < file->pages && (off_t)(n * PAGE) < stat.st_size; n++) {
    if (!file->dirty[n]) continue;
    ssize_t length = pread64(file->reader, page, PAGE, n * PAGE);
    if (length > 0 && REAL(pwrite64)(out, page, length, n * PAGE) != length) abort();
  }
  if (REAL(ftruncate64)(out, stat.st_size)) abort();
  REAL(close)(out);
}

/* What is dirty is lost, or is not any more. */
static void settle(struct file *file, int is_lost) {
  char path[PATH_MAX];
  for (size_t n = 0; n < file->pages; n++) {
    if (file->dirty[n]) file->lost[n] = is_lost;
    file->dirty[n] = 0;
  }
  if (!is_lost && !file->has_lost) return;
  file->has_lost = 1;
  int out = REAL(open64)(kept(path, file->ino, "lost"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (out < 0 || REAL(write)(out, file->lost, file->pages) != (ssize_t)file->pages) abort();
  REAL(close)(out);
}

static int sync_as(int fd, int (*call)(int)) {
  struct file *file = whose(fd);
  if (!file) return call(fd);
  int error = errno;
  long delay = ordered("delay=");
  if (delay > 0) usleep(delay * 1000);
  int fails = ordered("sync=eio") >= 0;
  if (shadow) {
    pthread_mutex_lock(&lock);
    if (!fails) keep(file);
    settle(file, fails);
    pthread_mutex_unlock(&lock);
  }
  errno = fails ? EIO : error;
  return fails ? -1 : shadow ? 0 : call(fd);
}
int fsync(int fd) { return sync_as(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_as(fd, REAL(fdatasync)); }
