/* What is durable of each file, and the old content of what is not: see control.h. */
#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(long) == 8, "offsets are passed to system calls in one register");
_Static_assert(sizeof(struct control) <= FILES_AT, "the table begins behind the switches");

#define COPY_BYTES 65536

struct control *control;
static struct file *files;
static char directory[PATH_MAX]; /* of control file and journals */
static char root[PATH_MAX];      /* files below it are followed; empty: none */

static void die(const char *what) {
    char text[256];
    int length = snprintf(text, sizeof text, "fault shim: %s: %s\n", what, strerror(errno));
    syscall(SYS_write, 2, text, (size_t)length);
    _exit(127);
}

/* The first process makes the lock; the file's own lock keeps a second from making it too. */
static void make_lock_once(int fd) {
    if (flock(fd, LOCK_EX) != 0) die("lock the control file");
    if (control->magic != CONTROL_MAGIC) {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(&control->lock, &attributes);
        control->magic = CONTROL_MAGIC;
    }
    flock(fd, LOCK_UN);
}

/* A process that cannot be followed must not run: its faults would silently not happen. */
__attribute__((constructor)) static void open_control(void) {
    const char *dir = getenv("FAULT_SHIM_DIR"), *below = getenv("FAULT_SHIM_ROOT");
    if (dir == NULL) return;
    char path[PATH_MAX];
    snprintf(directory, sizeof directory, "%s", dir);
    if ((size_t)snprintf(path, sizeof path, "%s/control", dir) >= sizeof path) die("find the control file");
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) die("open the control file");
    void *mapped = mmap(NULL, FILES_AT + FILES_MAX * sizeof(struct file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) die("map the control file");
    control = mapped;
    make_lock_once(fd);
    close(fd);
    files = (struct file *)((char *)mapped + FILES_AT);
    if (below != NULL) snprintf(root, sizeof root, "%s", below);
}

static void lock(void) {
    /* Whoever died in a change left a whole record or none, since `end` is raised last. */
    if (pthread_mutex_lock(&control->lock) == EOWNERDEAD) pthread_mutex_consistent(&control->lock);
}

static void unlock(void) { pthread_mutex_unlock(&control->lock); }

static struct file *slot(dev_t dev, ino_t ino) {
    uint64_t at = ((uint64_t)ino * 0x9e3779b97f4a7c15ULL + dev) % FILES_MAX;
    for (uint64_t looked = 0; looked < FILES_MAX; looked++, at = (at + 1) % FILES_MAX) {
        struct file *file = &files[at];
        if (__atomic_load_n(&file->state, __ATOMIC_ACQUIRE) == FREE) return file;
        if (file->dev == dev && file->ino == ino) return file;
    }
    return NULL;
}

static int is_below_root(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    size_t under = strlen(root);
    return length > (ssize_t)under && memcmp(path, root, under) == 0 && path[under] == '/';
}

int is_followed(int fd, struct stat *found) {
    if (control == NULL || root[0] == 0) return 0;
    int before = errno;
    int followed = fstat(fd, found) == 0 && S_ISREG(found->st_mode) && found->st_nlink > 0;
    if (followed) {
        struct file *file = slot(found->st_dev, found->st_ino);
        followed = (file != NULL && file->state == FOLLOWED) || is_below_root(fd);
    }
    errno = before;
    return followed;
}

/* With the lock held: the file's entry, made where it is missing. All there is of the file is durable then. */
static struct file *entry(const struct stat *found) {
    struct file *file = slot(found->st_dev, found->st_ino);
    if (file == NULL) {
        control->overflow = 1;
        return NULL;
    }
    if (file->state != FOLLOWED) {
        file->dev = found->st_dev;
        file->ino = found->st_ino;
        file->durable = file->watched = (uint64_t)found->st_size;
        file->base = file->first = file->end;
        file->synced = file->ticket;
        __atomic_store_n(&file->state, FOLLOWED, __ATOMIC_RELEASE);
    }
    return file;
}

void follow(int fd, int emptied) {
    struct stat found;
    if (!is_followed(fd, &found)) return;
    lock();
    struct file *file = entry(&found);
    if (file != NULL && emptied) {
        file->durable = file->watched = 0;
        file->base = file->first = file->end;
        file->synced = file->ticket;
    }
    unlock();
}

static int open_journal(const struct file *file, int flags) {
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%llx-%llx", directory, (unsigned long long)file->dev, (unsigned long long)file->ino);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0666);
}

/* Copies bytes [from, to) of the file behind the journal's last record, and then lets them count. */
static int save(struct file *file, int fd, uint64_t from, uint64_t to) {
    /* The file may be open for writing only. */
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int source = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
    int journal = open_journal(file, O_WRONLY | O_CREAT | (file->end == file->base ? O_TRUNC : 0));
    int whole = source >= 0 && journal >= 0;
    uint64_t at = file->end - file->base;
    uint64_t head[2] = {from, to - from};
    whole = whole && syscall(SYS_pwrite64, journal, head, sizeof head, at) == sizeof head;
    at += sizeof head;
    static char copy[COPY_BYTES]; /* one is enough: the lock is held */
    while (whole && from < to) {
        size_t piece = to - from < COPY_BYTES ? to - from : COPY_BYTES;
        ssize_t got = pread64(source, copy, piece, (off64_t)from);
        whole = got > 0 && syscall(SYS_pwrite64, journal, copy, got, at) == got;
        from += (uint64_t)(got > 0 ? got : 0);
        at += (uint64_t)(got > 0 ? got : 0);
    }
    if (source >= 0) close(source);
    if (journal >= 0) close(journal);
    if (!whole) {
        control->overflow = 1;
        return -1;
    }
    file->end = file->base + at;
    control->saves++;
    return 0;
}

int begin_change(int fd, uint64_t offset, uint64_t length, int cut) {
    struct stat found = {0};
    int before = errno;
    lock();
    /* Looked at under the lock: another process may have changed size or inode meanwhile. */
    struct file *file = fstat(fd, &found) == 0 ? entry(&found) : NULL;
    uint64_t size = (uint64_t)found.st_size;
    if (control->disk_full && !cut && offset + length > size) {
        control->refusals++;
        unlock();
        errno = ENOSPC;
        return -1;
    }
    if (file != NULL) {
        uint64_t limit = size < file->watched ? size : file->watched;
        uint64_t to = !cut && offset + length < limit ? offset + length : limit;
        if (offset < to) save(file, fd, offset, to);
        control->writes++;
    }
    errno = before;
    return 0;
}

void end_change(void) { unlock(); }

int begin_sync(int fd, struct sync *sync) {
    struct stat found;
    if (!is_followed(fd, &found)) return 0;
    lock();
    struct file *file = fstat(fd, &found) == 0 ? entry(&found) : NULL;
    if (file != NULL) {
        sync->file = file;
        sync->size = (uint64_t)found.st_size;
        sync->end = file->end;
        sync->ticket = ++file->ticket;
        /* What is changed while the sync runs may be missing from it. */
        if (file->watched < sync->size) file->watched = sync->size;
    }
    unlock();
    return file != NULL;
}

void end_sync(const struct sync *sync) {
    struct file *file = sync->file;
    lock();
    /* A sync that began later and has ended covers more than this one; so does a file begun anew. */
    if (file->state == FOLLOWED && sync->ticket > file->synced) {
        file->synced = sync->ticket;
        file->durable = sync->size;
        file->first = sync->end;
        if (file->first == file->end) file->base = file->end;
    }
    control->syncs++;
    unlock();
}

void begin_removal(int dir, const char *path, struct removal *removal) {
    removal->last_name = 0;
    if (control == NULL || root[0] == 0) return;
    int before = errno;
    /* Held over the removal: the inode cannot come back as another file before it is forgotten. */
    lock();
    removal->last_name = fstatat(dir, path, &removal->was, AT_SYMLINK_NOFOLLOW) == 0 &&
                         S_ISREG(removal->was.st_mode) && removal->was.st_nlink == 1;
    errno = before;
}

void end_removal(const struct removal *removal, int gone) {
    if (control == NULL || root[0] == 0) return;
    if (removal->last_name && gone) {
        struct file *file = slot(removal->was.st_dev, removal->was.st_ino);
        if (file != NULL && file->state == FOLLOWED) file->state = FORGOTTEN;
    }
    unlock();
}
