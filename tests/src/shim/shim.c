/* Preloaded into a process (LD_PRELOAD), it stands between it and its disk and clock.
 *
 * SHIM_DATA names the folder whose files are watched, SHIM_FOLDER the one with the switches:
 *   synced  here: a line "file size" for every sync of a file that succeeded, "file folder file/name/file/name/..." for
 *           every one of a folder. The rest of a file, and other names in a folder, may be lost in a power cut. A file is
 *           its inode and when it was made, in nanoseconds: a new file often gets the inode of one that was removed.
 *   fail    while it is there: every sync fails (EIO): a line "file failed" in synced. The system then forgets that what
 *           was to be synced is not on disk, so no later sync brings it there.
 *   slow    while it is there: every sync takes so many milliseconds longer as it says, and leaves a line "file slow".
 *   clock   two numbers of eight bytes: so many nanoseconds are added to the wall clock; so often it was read so. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef int sync_function(int);
typedef int clock_function(clockid_t, struct timespec *);

static sync_function *real_fsync, *real_fdatasync;
static clock_function *real_clock_gettime;
static const char *data, *folder;
static volatile int64_t *wall_clock;
static int synced = -1;

static int switch_file(const char *name, int flags) {
    char path[4096];
    if (!folder) return -1;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return open(path, flags | O_CLOEXEC, 0600);
}

__attribute__((constructor)) static void begin(void) {
    real_fsync = (sync_function *)dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (sync_function *)dlsym(RTLD_NEXT, "fdatasync");
    real_clock_gettime = (clock_function *)dlsym(RTLD_NEXT, "clock_gettime");
    data = getenv("SHIM_DATA");
    folder = getenv("SHIM_FOLDER");
    synced = switch_file("synced", O_WRONLY | O_APPEND | O_CREAT);
    int file = switch_file("clock", O_RDWR);
    if (file < 0) return;
    void *page = mmap(0, 2 * sizeof *wall_clock, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) wall_clock = page;
    close(file);
}

static int is_watched(int file) {
    char link[64], path[4096];
    if (!data) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strncmp(path, data, strlen(data)) == 0;
}

static int is_on(const char *name) {
    int file = switch_file(name, O_RDONLY);
    if (file >= 0) close(file);
    return file >= 0;
}

/* What tells a file from all others there are and were; the same as in shim/power.rs. Its length, or 0. */
static int identity(int at, const char *path, char *text, int room) {
    struct statx about;
    int flags = *path ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH;
    if (statx(at, path, flags, STATX_INO | STATX_BTIME, &about) != 0) return 0;
    int64_t made = about.stx_btime.tv_sec * INT64_C(1000000000) + about.stx_btime.tv_nsec;
    if (!(about.stx_mask & STATX_BTIME)) made = 0;
    return snprintf(text, room, "%ju.%jd", (uintmax_t)about.stx_ino, (intmax_t)made);
}

/* Whether it waited. */
static int wait_as_told(void) {
    char text[16] = "";
    int file = switch_file("slow", O_RDONLY);
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 && usleep(1000 * atoi(text)) == 0;
}

static void note(const char *line, int length) {
    if (synced >= 0 && write(synced, line, length) != length) abort();
}

/* The line about a folder as it is now; its length, or -1 if it cannot be read or is larger than any here. */
static int folder_line(int file, const char *self, char *line, int room) {
    char path[64], entry_is[64];
    struct dirent *entry;
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    DIR *entries = opendir(path);
    if (!entries) return -1;
    int length = snprintf(line, room, "%s folder ", self);
    while (length < room && (entry = readdir(entries))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        /* One that has just been removed is none. */
        if (!identity(dirfd(entries), entry->d_name, entry_is, sizeof entry_is)) continue;
        length += snprintf(line + length, room - length, "%s/%s/", entry_is, entry->d_name);
    }
    closedir(entries);
    if (length + 1 >= room) return -1;
    line[length] = '\n';
    return length + 1;
}

static int watched_sync(int file, sync_function *real) {
    if (!is_watched(file)) return real(file);
    static __thread char line[65536];
    char self[64];
    /* As it is before the sync: what is written meanwhile need not be covered. */
    struct stat before;
    int known = fstat(file, &before) == 0 && identity(file, "", self, sizeof self), length = -1;
    if (wait_as_told() && known) note(line, snprintf(line, sizeof line, "%s slow\n", self));
    if (is_on("fail")) {
        if (known) note(line, snprintf(line, sizeof line, "%s failed\n", self));
        errno = EIO;
        return -1;
    }
    if (known && S_ISDIR(before.st_mode))
        length = folder_line(file, self, line, sizeof line);
    else if (known)
        length = snprintf(line, sizeof line, "%s %jd\n", self, (intmax_t)before.st_size);
    int result = real(file);
    if (result == 0 && length > 0) note(line, length);
    return result;
}

int fsync(int file) { return watched_sync(file, real_fsync); }

int fdatasync(int file) { return watched_sync(file, real_fdatasync); }

int clock_gettime(clockid_t clock, struct timespec *time) {
    /* Others' constructors may ask for the time before ours has run. */
    if (!real_clock_gettime) real_clock_gettime = (clock_function *)dlsym(RTLD_NEXT, "clock_gettime");
    int result = real_clock_gettime(clock, time);
    int is_wall_clock = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    if (result == 0 && wall_clock && is_wall_clock && wall_clock[0] != 0) {
        int64_t moved = time->tv_sec * INT64_C(1000000000) + time->tv_nsec + wall_clock[0];
        __atomic_fetch_add(&wall_clock[1], 1, __ATOMIC_RELAXED);
        time->tv_sec = moved / INT64_C(1000000000);
        time->tv_nsec = moved % INT64_C(1000000000);
    }
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}
