/* Stands between a process and the files of one directory: counts what is done to them, keeps a
   record of it, and lets one operation go wrong.

   LD_PRELOAD it, then call torture(); until then it does nothing. An operation has a label: what
   it is (create, write, append: a write that is synced at once, sync, names: a sync of the
   directory, size, rename, unlink), and what kind of file it is done to. Faults come at the n-th
   operation of a label:

     before, after   the process is killed
     half, sector    ... after a part of the write; "sector" ends at a multiple of 512 bytes
     eio, enospc     it fails, and nothing is done; with `run` > 1 so many operations fail
     short           a part is written, and said so
     lost            it fails, and what was not synced before is not in the file any more */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define MOST 65536

enum { NOTHING, BEFORE, AFTER, HALF, SECTOR, FAIL, SHORT, LOST };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_length;
static int record_fd = -1, said_fd = -1, report_fd = -1;
static char wanted[64];
static int mode = NOTHING, code, undo;
static long nth, run, seen;
static uint64_t seed;

/* Files by their inode; one that is created has a new number, whatever inode it gets. */
static struct { ino_t inode; uint64_t number; } files[MOST];
static int file_count;
static uint64_t last_number;

struct old { ino_t inode; off_t at; size_t size; char *bytes; };
static struct old olds[MOST];
static int old_count;

static uint64_t number_of(ino_t inode, int fresh) {
    for (int i = file_count - 1; i >= 0; i--)
        if (files[i].inode == inode) {
            if (fresh) files[i].number = ++last_number;
            return files[i].number;
        }
    if (file_count == MOST) abort();
    files[file_count].inode = inode;
    return files[file_count++].number = ++last_number;
}

/* The part of a path below the directory; NULL if it is elsewhere. */
static const char *below(const char *path) {
    if (!root_length || strncmp(path, root, root_length)) return NULL;
    if (!path[root_length]) return "";
    return path[root_length] == '/' ? path + root_length + 1 : NULL;
}

static const char *name_of(int fd, char *buffer) {
    char link[64];
    if (!root_length) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, buffer, PATH_MAX - 1);
    if (n <= 0) return NULL;
    buffer[n] = 0;
    return below(buffer);
}

static const char *class_of(const char *name) {
    const char *suffix = strchr(name, '.');
    if (!*name) return "folder";
    if (!suffix || strncmp(suffix, ".duckdb", 7)) return "other";
    suffix += 7;
    if (!*suffix) return "database";
    if (!strncmp(suffix, ".wal", 4)) return "log";
    if (!strncmp(suffix, ".journal-", 9)) return "journal";
    if (!strcmp(suffix, ".blocks")) return "blocks";
    if (!strcmp(suffix, ".lock")) return "lock";
    if (!strncmp(suffix, ".new-", 5)) return "copy";
    if (!strncmp(suffix, ".tmp", 4)) return "spill";
    return "aside";
}

static void put(int fd, const void *from, size_t size) {
    const char *at = from;
    while (size) {
        ssize_t n = REAL(write)(fd, at, size);
        if (n <= 0) abort();
        at += n;
        size -= n;
    }
}

static void record(char kind, uint64_t file, const char *name, const char *other, off_t at,
                   size_t size, const void *bytes) {
    if (record_fd < 0) return;
    struct { uint64_t file, at, size; uint32_t name, other; uint32_t bytes; char kind; } __attribute__((packed))
    head = {file, at, size, strlen(name), strlen(other), bytes ? size : 0, kind};
    put(record_fd, &head, sizeof head);
    put(record_fd, name, head.name);
    put(record_fd, other, head.other);
    put(record_fd, bytes ? bytes : "", head.bytes);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* What is to happen to this operation. */
static int chosen(const char *kind, const char *name) {
    char label[64], line[PATH_MAX + 128];
    if (mode == NOTHING) return NOTHING;
    if (seen >= nth) { /* it has happened; a run of failures goes on */
        if (mode != FAIL || seen - nth >= run - 1) return NOTHING;
        seen++;
        return FAIL;
    }
    snprintf(label, sizeof label, "%s %s", kind, class_of(name));
    if (strcmp(label, wanted) || ++seen < nth) return NOTHING;
    int n = snprintf(line, sizeof line, "%s %ld %s\n", label, seen, name);
    put(report_fd, line, n);
    return mode;
}

/* Keep what a write will overwrite, until the file is synced. */
static void keep(int fd, off_t at, size_t size) {
    struct stat found;
    char link[64];
    if (!undo || fstat(fd, &found)) return;
    char *bytes = calloc(1, size);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int in = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR ? fd : REAL(open)(link, O_RDONLY);
    if (REAL(pread)(in, bytes, size, at) < 0) abort();
    if (in != fd) close(in);
    if (old_count == MOST) abort();
    olds[old_count++] = (struct old){found.st_ino, at, size, bytes};
}

/* The file is synced, or what was not is lost. */
static void settle(int fd, int lost) {
    struct stat found;
    char link[64];
    int left = 0;
    if (!undo || fstat(fd, &found)) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int out = !lost || (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY ? fd : REAL(open)(link, O_RDWR);
    for (int i = old_count - 1; lost && i >= 0; i--)
        if (olds[i].inode == found.st_ino &&
            REAL(pwrite)(out, olds[i].bytes, olds[i].size, olds[i].at) < 0) abort();
    if (out != fd) close(out);
    for (int i = 0; i < old_count; i++)
        if (olds[i].inode == found.st_ino) free(olds[i].bytes);
        else olds[left++] = olds[i];
    old_count = left;
}

static uint64_t inode_of(int fd) {
    struct stat found;
    return fstat(fd, &found) ? 0 : number_of(found.st_ino, 0);
}

/* How much of a write is done before the process is killed. */
static size_t part(int how, off_t at, size_t size) {
    if (how != SECTOR) return size / 2;
    size_t first = 512 - at % 512;
    if (first >= size) return size / 2;
    return first + seed % ((size - first + 511) / 512) * 512;
}

#define LOCKED(type, expression)                 \
    ({                                           \
        pthread_mutex_lock(&lock);               \
        type locked_result = (expression);       \
        int locked_errno = errno;                \
        pthread_mutex_unlock(&lock);             \
        errno = locked_errno;                    \
        locked_result;                           \
    })

static ssize_t plain(int fd, const void *bytes, size_t size, off_t at, int flags, int moves) {
    struct iovec one = {(void *)bytes, size};
    if (moves) return REAL(write)(fd, bytes, size);
    return flags ? REAL(pwritev2)(fd, &one, 1, at, flags) : REAL(pwrite)(fd, bytes, size, at);
}

static ssize_t written(int fd, const void *bytes, size_t size, off_t at, int flags, int moves) {
    char buffer[PATH_MAX];
    const char *name = name_of(fd, buffer);
    if (!name) {
        if (fd == said_fd) record('P', 0, "", "", 0, size, bytes);
        return plain(fd, bytes, size, at, flags, moves);
    }
    if (moves) at = lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    int synced = (flags & RWF_DSYNC) || (fcntl(fd, F_GETFL) & (O_SYNC | O_DSYNC));
    int how = chosen(synced ? "append" : "write", name);
    if (how == BEFORE) die();
    if (how == FAIL) { errno = code; return -1; }
    if (how == LOST) { settle(fd, 1); errno = code; return -1; }
    if (how == HALF || how == SECTOR || how == SHORT) {
        size = part(how, at, size);
        if (how == SHORT && !size) size = 1;
        if (how != SHORT) { plain(fd, bytes, size, at, 0, moves); die(); }
    }
    keep(fd, at, size);
    ssize_t result = plain(fd, bytes, size, at, flags, moves);
    if (result > 0) record(synced ? 'A' : 'W', inode_of(fd), name, "", at, result, bytes);
    if (synced && result >= 0) settle(fd, 0);
    if (how == AFTER) die();
    return result;
}

ssize_t write(int fd, const void *bytes, size_t size) {
    if (!root_length) return REAL(write)(fd, bytes, size);
    return LOCKED(ssize_t, written(fd, bytes, size, 0, 0, 1));
}
static ssize_t pwritten(int fd, const void *bytes, size_t size, off_t at) {
    if (!root_length) return REAL(pwrite)(fd, bytes, size, at);
    return LOCKED(ssize_t, written(fd, bytes, size, at, 0, 0));
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    return pwritten(fd, bytes, size, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    return pwritten(fd, bytes, size, at);
}
static ssize_t vwritten(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    if (!root_length || count != 1 || at < 0) return REAL(pwritev2)(fd, parts, count, at, flags);
    return LOCKED(ssize_t, written(fd, parts->iov_base, parts->iov_len, at, flags, 0));
}
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    return vwritten(fd, parts, count, at, flags);
}
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t at, int flags) {
    return vwritten(fd, parts, count, at, flags);
}

static int synced(int fd, int whole) {
    char buffer[PATH_MAX];
    struct stat found;
    const char *name = name_of(fd, buffer);
    if (!name || fstat(fd, &found)) return whole ? REAL(fsync)(fd) : REAL(fdatasync)(fd);
    int folder = S_ISDIR(found.st_mode), how = chosen(folder ? "names" : "sync", name);
    if (how == BEFORE) die();
    if (how == FAIL || how == LOST) {
        if (how == LOST) settle(fd, 1);
        errno = code;
        return -1;
    }
    record(folder ? 'N' : 'S', folder ? 0 : number_of(found.st_ino, 0), name, "", 0, 0, NULL);
    settle(fd, 0);
    if (how == AFTER) die();
    return 0; /* the disk is played here: nothing is gained by waiting for the real one */
}
int fsync(int fd) {
    if (!root_length) return REAL(fsync)(fd);
    return LOCKED(int, synced(fd, 1));
}
int fdatasync(int fd) {
    if (!root_length) return REAL(fdatasync)(fd);
    return LOCKED(int, synced(fd, 0));
}

static int sized(int fd, const char *path, off_t size) {
    char buffer[PATH_MAX];
    struct stat found;
    const char *name = path ? below(path) : name_of(fd, buffer);
    if (!name) return path ? REAL(truncate)(path, size) : REAL(ftruncate)(fd, size);
    int how = chosen("size", name);
    if (how == BEFORE) die();
    if (how == FAIL) { errno = code; return -1; }
    int result = path ? REAL(truncate)(path, size) : REAL(ftruncate)(fd, size);
    if (!result && !(path ? stat(path, &found) : fstat(fd, &found)))
        record('T', number_of(found.st_ino, 0), name, "", 0, size, NULL);
    if (how == AFTER) die();
    return result;
}
int ftruncate(int fd, off_t size) {
    if (!root_length) return REAL(ftruncate)(fd, size);
    return LOCKED(int, sized(fd, NULL, size));
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }
int truncate(const char *path, off_t size) {
    if (!root_length) return REAL(truncate)(path, size);
    return LOCKED(int, sized(-1, path, size));
}
int truncate64(const char *path, off64_t size) { return truncate(path, size); }

static int removed(const char *path) {
    const char *name = below(path);
    if (!name || access(path, F_OK)) return REAL(unlink)(path);
    int how = chosen("unlink", name);
    if (how == BEFORE) die();
    if (how == FAIL) { errno = code; return -1; }
    int result = REAL(unlink)(path);
    if (!result) record('U', 0, name, "", 0, 0, NULL);
    if (how == AFTER) die();
    return result;
}
int unlink(const char *path) {
    if (!root_length) return REAL(unlink)(path);
    return LOCKED(int, removed(path));
}
int remove(const char *path) {
    struct stat found;
    if (!root_length || stat(path, &found) || S_ISDIR(found.st_mode)) return REAL(remove)(path);
    return LOCKED(int, removed(path));
}

static int renamed(const char *from, const char *to) {
    const char *name = below(from), *other = below(to);
    if (!name || !other) return REAL(rename)(from, to);
    int how = chosen("rename", other);
    if (how == BEFORE) die();
    if (how == FAIL) { errno = code; return -1; }
    int result = REAL(rename)(from, to);
    if (!result) record('R', 0, name, other, 0, 0, NULL);
    if (how == AFTER) die();
    return result;
}
int rename(const char *from, const char *to) {
    if (!root_length) return REAL(rename)(from, to);
    return LOCKED(int, renamed(from, to));
}

static int opened(const char *path, int flags, int permissions) {
    struct stat found;
    const char *name = below(path);
    int fresh = name && access(path, F_OK);
    if (!name || !(flags & O_CREAT) || !fresh) {
        int fd = REAL(open)(path, flags, permissions);
        if (fd >= 0 && name && flags & O_TRUNC && !fstat(fd, &found))
            record('T', number_of(found.st_ino, 0), name, "", 0, 0, NULL);
        return fd;
    }
    int how = chosen("create", name);
    if (how == BEFORE) die();
    if (how == FAIL) { errno = code; return -1; }
    int fd = REAL(open)(path, flags, permissions);
    if (fd >= 0 && !fstat(fd, &found))
        record('C', number_of(found.st_ino, 1), name, "", 0, 0, NULL);
    if (how == AFTER) die();
    return fd;
}
#define OPENED(symbol)                                                    \
    int symbol(const char *path, int flags, ...) {                        \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        int permissions = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0; \
        va_end(more);                                                     \
        if (!root_length) return REAL(symbol)(path, flags, permissions);  \
        return LOCKED(int, opened(path, flags, permissions));             \
    }
OPENED(open)
OPENED(open64)

/* Begin. `folder` has no slash at its end; `trace` and `how` may be empty; what is written to
   the descriptor `said` is part of the trace. */
void torture(const char *folder, const char *trace, int said, const char *report,
             const char *label, long number, const char *how, long length, uint64_t chance) {
    if (*trace) record_fd = REAL(open)(trace, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    report_fd = REAL(open)(report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (report_fd < 0 || strlen(folder) >= sizeof root || strlen(label) >= sizeof wanted) abort();
    said_fd = said;
    strcpy(wanted, label);
    nth = number;
    run = length;
    seed = chance;
    code = strcmp(how, "enospc") ? EIO : ENOSPC;
    static const char *names[] = {"before", "after", "half", "sector", "eio", "enospc", "short", "lost"};
    static const int modes[] = {BEFORE, AFTER, HALF, SECTOR, FAIL, FAIL, SHORT, LOST};
    for (int i = 0; i < 8; i++) if (!strcmp(how, names[i])) mode = modes[i];
    undo = mode == LOST;
    strcpy(root, folder);
    root_length = strlen(root);
}
