/* What the shim's parts share: one page of switches and counters, and what is durable of each file.
 *
 * The control file is mapped by every process under the shim and survives all of them. `control.rs` beside
 * this file reads and writes it from outside, by the same offsets. */
#ifndef CONTROL_H
#define CONTROL_H

#include <pthread.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Only the wrapped calls are seen by the program: a server may have names like these. */
#pragma GCC visibility push(hidden)

#define CONTROL_MAGIC 0x31706f7274656c66ULL
#define FILES_AT 4096
#define FILES_MAX 65536ULL

/* A file's place in the table: free, followed, or forgotten (its name is gone; the inode may come back). */
enum state { FREE = 0, FOLLOWED = 1, FORGOTTEN = 2 };

/* What would be left of one file after a loss of power: its first `durable` bytes, as they become when the
 * journal's records from `first` to `end` are undone, the newest first.
 *
 * Positions in the journal are logical: the record at position p lies at byte p - base of the journal. */
struct file {
    uint64_t state;
    uint64_t dev;
    uint64_t ino;
    uint64_t durable; /* size that the last successful sync covered */
    uint64_t watched; /* bytes below this are saved before they are changed; >= durable */
    uint64_t base, first, end;
    uint64_t ticket; /* of the sync begun last */
    uint64_t synced; /* ticket of the latest sync that has succeeded */
};

struct control {
    uint64_t magic;
    uint64_t disk_full;       /* switch: writes that make a file longer end with ENOSPC */
    int64_t clock_offset_ns;  /* switch: added to the wall clock */
    uint64_t writes;          /* counters: changes of followed files, */
    uint64_t syncs;           /* their successful syncs, */
    uint64_t saves;           /* records of old content, */
    uint64_t refusals;        /* writes ended with ENOSPC, */
    uint64_t stepped_reads;   /* reads of a clock that was off */
    uint64_t overflow;        /* set where the table was full or a journal could not be written: results are void */
    pthread_mutex_t lock;     /* robust and shared: a killed process does not keep it */
};

/* The mapped file; NULL where this process runs without a control file. */
extern struct control *control;

/* Whether changes of this file are followed: a regular file with a name, below the root. */
int is_followed(int fd, struct stat *found);
/* Begins to follow a file that was just opened; with `emptied`, nothing of it is durable. */
void follow(int fd, int emptied);

/* Brackets a change of bytes [offset, offset + length), or with `cut` of the size to `offset`. Returns 0
 * with the lock taken; -1 with errno set, without it, where the change must not be made. */
int begin_change(int fd, uint64_t offset, uint64_t length, int cut);
void end_change(void);

/* Brackets a sync. `begin_sync` returns 0 where the file is not followed; then there is nothing to end. */
struct sync {
    struct file *file;
    uint64_t size, end, ticket;
};
int begin_sync(int fd, struct sync *sync);
void end_sync(const struct sync *sync);

/* Brackets the removal of a name; `end_removal` forgets the inode if `gone`. */
struct removal {
    struct stat was;
    int last_name;
};
void begin_removal(int dir, const char *path, struct removal *removal);
void end_removal(const struct removal *removal, int gone);

#pragma GCC visibility pop

#endif
