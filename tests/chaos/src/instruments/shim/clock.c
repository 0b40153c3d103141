/* The wall clock, set off by what the control file says. The monotonic clocks are left alone, as a step of a
 * real clock leaves them alone.
 *
 * Not libfaketime: under jemalloc, which Redis is linked with, it ends in endless recursion at start-up. */
#define _GNU_SOURCE
#include "control.h"

#include <dlfcn.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL

/* The library's own, which needs no system call; looked up once, before the program begins. */
static int (*library_clock)(clockid_t, struct timespec *);

__attribute__((constructor)) static void find_clock(void) {
    library_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
}

int clock_gettime(clockid_t which, struct timespec *now) {
    int outcome = library_clock != NULL ? library_clock(which, now) : (int)syscall(SYS_clock_gettime, which, now);
    if (outcome != 0 || control == NULL || (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE)) return outcome;
    int64_t offset_ns = __atomic_load_n(&control->clock_offset_ns, __ATOMIC_RELAXED);
    if (offset_ns == 0) return 0;
    __atomic_add_fetch(&control->stepped_reads, 1, __ATOMIC_RELAXED);
    int64_t ns = now->tv_nsec + offset_ns % NS_PER_S;
    now->tv_sec += offset_ns / NS_PER_S + (ns >= NS_PER_S) - (ns < 0);
    now->tv_nsec = ns + (ns < 0 ? NS_PER_S : 0) - (ns >= NS_PER_S ? NS_PER_S : 0);
    return 0;
}

int gettimeofday(struct timeval *now, void *zone) {
    (void)zone; /* obsolete; no server asks for it */
    struct timespec precise;
    if (clock_gettime(CLOCK_REALTIME, &precise) != 0) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *copy) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    if (copy != NULL) *copy = now.tv_sec;
    return now.tv_sec;
}
