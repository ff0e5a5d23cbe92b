/* Keeps beside a directory what a power cut would leave of it: only what was synced.

   LD_PRELOAD it with POWER_FROM, the directory, and POWER_TO, a copy of it as it is at the
   beginning. What is in a file and which name it has are two things: a sync of a file keeps its
   content (POWER_TO.files has it, by its inode), and a sync of the directory its names. With
   POWER_EAGER=1 names are kept as soon as they change, as a disk may do: then an unsynced file
   is there, and empty. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
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

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define RANGE (1 << 20)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *from, *to;
static char files[PATH_MAX];
static int eager;

static int real_open(const char *path, int flags) { return REAL(open)(path, flags, 0600); }
static void join(const char *folder, const char *name, char *out) {
    if (snprintf(out, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX) abort();
}

/* Where the content of a file is kept; an inode may be another file's later, born then. */
static void kept(int fd, const char *path, char *out) {
    struct statx found;
    char name[64];
    if (statx(fd, path, AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &found)) abort();
    snprintf(name, sizeof name, "%llu-%lld-%u", (unsigned long long)found.stx_ino,
             (long long)found.stx_btime.tv_sec, found.stx_btime.tv_nsec);
    join(files, name, out);
}

/* Whether an open file is one of the directory's, or the directory. */
static int ours(int fd, struct stat *found) {
    char link[64], path[PATH_MAX];
    if (!from || fstat(fd, found)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    size_t length = strlen(from);
    return !strncmp(path, from, length) && (path[length] == '/' || !path[length]);
}

/* Take over a range of a file, or all of it from there on. */
static void keep(int fd, off_t at, off_t end) {
    static char now[RANGE], before[RANGE];
    char own[PATH_MAX], link[64];
    kept(fd, "", own);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int in = real_open(link, O_RDONLY), out = real_open(own, O_RDWR | O_CREAT);
    if (in < 0 || out < 0) abort();
    for (ssize_t n; at < end; at += n) {
        off_t left = end - at;
        n = REAL(pread)(in, now, left < RANGE ? left : RANGE, at);
        if (n <= 0) break;
        if (REAL(pread)(out, before, n, at) == n && !memcmp(now, before, n)) continue;
        if (REAL(pwrite)(out, now, n, at) != n) abort();
    }
    struct stat size;
    if (end == LONG_MAX && (fstat(in, &size) || ftruncate(out, size.st_size))) abort();
    close(in);
    close(out);
}

/* Take over the names of the directory. */
static void names(void) {
    char path[PATH_MAX], twin[PATH_MAX], own[PATH_MAX], fresh[PATH_MAX];
    struct dirent *entry;
    struct stat found, known;
    DIR *folder = opendir(from);
    while (folder && (entry = readdir(folder))) {
        join(from, entry->d_name, path);
        join(to, entry->d_name, twin);
        if (lstat(path, &found) || !S_ISREG(found.st_mode)) continue;
        kept(AT_FDCWD, path, own);
        close(real_open(own, O_RDWR | O_CREAT));
        if (!stat(own, &known) && !stat(twin, &found) && known.st_ino == found.st_ino) continue;
        join(files, "fresh", fresh);
        REAL(unlink)(fresh);
        if (link(own, fresh) || REAL(rename)(fresh, twin)) abort();
    }
    if (folder) closedir(folder);
    folder = opendir(to);
    while (folder && (entry = readdir(folder))) {
        join(from, entry->d_name, path);
        join(to, entry->d_name, twin);
        if (!lstat(twin, &found) && S_ISREG(found.st_mode) && access(path, F_OK))
            REAL(unlink)(twin);
    }
    if (folder) closedir(folder);
}

static void changed(int failed) {
    if (failed || !from || !eager) return;
    pthread_mutex_lock(&lock);
    names();
    pthread_mutex_unlock(&lock);
}

/* What is there at the beginning is on disk. */
__attribute__((constructor)) static void begin(void) {
    char path[PATH_MAX], twin[PATH_MAX], own[PATH_MAX];
    struct dirent *entry;
    struct stat found;
    const char *folder_from = getenv("POWER_FROM");
    to = getenv("POWER_TO");
    if (!folder_from || !to) return;
    eager = getenv("POWER_EAGER") != NULL;
    snprintf(files, sizeof files, "%s.files", to);
    mkdir(files, 0700);
    DIR *folder = opendir(folder_from);
    while (folder && (entry = readdir(folder))) {
        join(folder_from, entry->d_name, path);
        join(to, entry->d_name, twin);
        if (stat(path, &found) || !S_ISREG(found.st_mode)) continue;
        kept(AT_FDCWD, path, own);
        if (link(twin, own)) abort();
    }
    if (folder) closedir(folder);
    from = folder_from;
}

static int synced(int fd, int result) {
    struct stat found;
    if (result || !ours(fd, &found)) return result;
    pthread_mutex_lock(&lock);
    if (S_ISDIR(found.st_mode)) names();
    else keep(fd, 0, LONG_MAX);
    pthread_mutex_unlock(&lock);
    return result;
}

int fdatasync(int fd) { return synced(fd, REAL(fdatasync)(fd)); }
int fsync(int fd) { return synced(fd, REAL(fsync)(fd)); }

static ssize_t written(int fd, off_t offset, int flags, ssize_t result) {
    struct stat found;
    if (result <= 0 || !(flags & RWF_DSYNC) || !ours(fd, &found)) return result;
    pthread_mutex_lock(&lock);
    keep(fd, offset, offset + result);
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    return written(fd, offset, flags, REAL(pwritev2)(fd, parts, count, offset, flags));
}
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags) {
    return written(fd, offset, flags, REAL(pwritev64v2)(fd, parts, count, offset, flags));
}

int unlink(const char *path) {
    int result = REAL(unlink)(path);
    changed(result);
    return result;
}
int remove(const char *path) {
    int result = REAL(remove)(path);
    changed(result);
    return result;
}
int rename(const char *before, const char *after) {
    int result = REAL(rename)(before, after);
    changed(result);
    return result;
}

#define OPENED(name)                                   \
    int name(const char *path, int flags, ...) {       \
        va_list more;                                  \
        va_start(more, flags);                         \
        int mode = flags & O_CREAT ? va_arg(more, int) : 0; \
        va_end(more);                                  \
        int result = REAL(name)(path, flags, mode);    \
        if (flags & O_CREAT) changed(result < 0);      \
        return result;                                 \
    }
OPENED(open)
OPENED(open64)
