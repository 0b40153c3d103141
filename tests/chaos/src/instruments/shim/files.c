/* The calls by which a program changes files, wrapped: each tells the journal before it acts.
 *
 * They go to the kernel by system call, so that they work before any library is initialised. */
#define _GNU_SOURCE
#include "control.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

int fdatasync(int fd) {
    struct sync sync;
    int followed = begin_sync(fd, &sync);
    int outcome = (int)syscall(SYS_fdatasync, fd);
    if (followed && outcome == 0) end_sync(&sync);
    return outcome;
}

int fsync(int fd) {
    struct sync sync;
    int followed = begin_sync(fd, &sync);
    int outcome = (int)syscall(SYS_fsync, fd);
    if (followed && outcome == 0) end_sync(&sync);
    return outcome;
}

/* Where the file was opened to be durable at each write (O_DSYNC, O_SYNC), a write is a sync too. */
static ssize_t written(int fd, ssize_t outcome) {
    int before = errno;
    end_change();
    if (outcome > 0 && (fcntl(fd, F_GETFL) & O_DSYNC)) fdatasync(fd);
    errno = before;
    return outcome;
}

/* Where a write without an offset will begin. */
static uint64_t position(int fd, const struct stat *found) {
    return fcntl(fd, F_GETFL) & O_APPEND ? (uint64_t)found->st_size : (uint64_t)lseek(fd, 0, SEEK_CUR);
}

static size_t total(const struct iovec *parts, int count) {
    size_t sum = 0;
    for (int i = 0; i < count; i++) sum += parts[i].iov_len;
    return sum;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    struct stat found;
    if (!is_followed(fd, &found)) return syscall(SYS_write, fd, bytes, length);
    if (begin_change(fd, position(fd, &found), length, 0) != 0) return -1;
    return written(fd, syscall(SYS_write, fd, bytes, length));
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct stat found;
    if (!is_followed(fd, &found)) return syscall(SYS_writev, fd, parts, count);
    if (begin_change(fd, position(fd, &found), total(parts, count), 0) != 0) return -1;
    return written(fd, syscall(SYS_writev, fd, parts, count));
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    struct stat found;
    if (!is_followed(fd, &found)) return syscall(SYS_pwrite64, fd, bytes, length, offset);
    if (begin_change(fd, (uint64_t)offset, length, 0) != 0) return -1;
    return written(fd, syscall(SYS_pwrite64, fd, bytes, length, offset));
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    struct stat found;
    if (!is_followed(fd, &found)) return syscall(SYS_pwritev, fd, parts, count, offset, 0L);
    if (begin_change(fd, (uint64_t)offset, total(parts, count), 0) != 0) return -1;
    return written(fd, syscall(SYS_pwritev, fd, parts, count, offset, 0L));
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return pwritev64(fd, parts, count, offset);
}

int ftruncate64(int fd, off64_t size) {
    struct stat found;
    if (!is_followed(fd, &found)) return (int)syscall(SYS_ftruncate, fd, size);
    if (begin_change(fd, (uint64_t)size, 0, 1) != 0) return -1;
    return (int)written(fd, syscall(SYS_ftruncate, fd, size));
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int truncate64(const char *path, off64_t size) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return -1;
    int outcome = ftruncate64(fd, size);
    int failed = errno;
    close(fd);
    errno = failed;
    return outcome;
}

int truncate(const char *path, off_t size) { return truncate64(path, size); }

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    struct stat found;
    if (!is_followed(fd, &found)) return (int)syscall(SYS_fallocate, fd, mode, offset, length);
    /* Holes and zeroes change what is there; any other mode changes the size alone. */
    if (begin_change(fd, (uint64_t)offset, (uint64_t)length, 0) != 0) return -1;
    return (int)written(fd, syscall(SYS_fallocate, fd, mode, offset, length));
}

int fallocate(int fd, int mode, off_t offset, off_t length) { return fallocate64(fd, mode, offset, length); }

int posix_fallocate(int fd, off_t offset, off_t length) {
    int before = errno;
    int outcome = fallocate64(fd, 0, offset, length) == 0 ? 0 : errno;
    errno = before;
    return outcome;
}

int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

static int opened(int fd, int flags) {
    if (fd >= 0 && (flags & O_ACCMODE) != O_RDONLY) {
        int before = errno;
        follow(fd, flags & O_TRUNC);
        errno = before;
    }
    return fd;
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int openat64(int dir, const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return opened((int)syscall(SYS_openat, dir, path, flags, mode), flags);
}

int openat(int dir, const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return opened((int)syscall(SYS_openat, dir, path, flags, mode), flags);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return opened((int)syscall(SYS_openat, AT_FDCWD, path, flags, mode), flags);
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return opened((int)syscall(SYS_openat, AT_FDCWD, path, flags, mode), flags);
}

/* Names that glibc's fortified headers put in the place of open without a mode. */
int __open_2(const char *path, int flags) { return open(path, flags); }
int __open64_2(const char *path, int flags) { return open(path, flags); }

int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* stdio writes by calls that cannot be wrapped. What it appends lies beyond the durable size until a sync, so
 * following the file is enough for that; what it overwrites in place is not seen. */
static FILE *opened_stream(FILE *stream, const char *mode) {
    if (stream != NULL && strpbrk(mode, "wa+") != NULL) {
        int before = errno;
        follow(fileno(stream), mode[0] == 'w');
        errno = before;
    }
    return stream;
}

FILE *fopen(const char *path, const char *mode) {
    FILE *(*next)(const char *, const char *) = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");
    return opened_stream(next(path, mode), mode);
}

FILE *fopen64(const char *path, const char *mode) {
    FILE *(*next)(const char *, const char *) = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen64");
    return opened_stream(next(path, mode), mode);
}

int unlinkat(int dir, const char *path, int flags) {
    struct removal removal;
    begin_removal(dir, path, &removal);
    int outcome = (int)syscall(SYS_unlinkat, dir, path, flags);
    end_removal(&removal, outcome == 0);
    return outcome;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int renameat2(int old_dir, const char *old_path, int new_dir, const char *new_path, unsigned flags) {
    struct stat old;
    struct removal replaced;
    begin_removal(new_dir, new_path, &replaced);
    /* A rename onto itself removes nothing, nor does an exchange. */
    if (fstatat(old_dir, old_path, &old, AT_SYMLINK_NOFOLLOW) != 0 ||
        (replaced.last_name && old.st_ino == replaced.was.st_ino && old.st_dev == replaced.was.st_dev) || flags != 0)
        replaced.last_name = 0;
    int outcome = (int)syscall(SYS_renameat2, old_dir, old_path, new_dir, new_path, flags);
    end_removal(&replaced, outcome == 0);
    return outcome;
}

int renameat(int old_dir, const char *old_path, int new_dir, const char *new_path) {
    return renameat2(old_dir, old_path, new_dir, new_path, 0);
}

int rename(const char *old_path, const char *new_path) {
    return renameat2(AT_FDCWD, old_path, AT_FDCWD, new_path, 0);
}
