/* Keeps beside a directory what a power cut would leave of it: only what was synced.

   LD_PRELOAD it with POWER_FROM and POWER_TO set. A sync of a file copies it, as it is then;
   a rename or an unlink is taken over at once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int twin(const char *path, char *out) {
    const char *from = getenv("POWER_FROM"), *to = getenv("POWER_TO");
    if (!from || !to || strncmp(path, from, strlen(from)) || path[strlen(from)] != '/') return 0;
    return snprintf(out, PATH_MAX, "%s%s", to, path + strlen(from)) < PATH_MAX;
}

static void copy(int fd) {
    char link[64], path[PATH_MAX], to[PATH_MAX], part[PATH_MAX + 8], buffer[65536];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return;
    path[n] = 0;
    if (!twin(path, to)) return;
    snprintf(part, sizeof part, "%s.part", to);
    int in = open(path, O_RDONLY), out = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    while (in >= 0 && out >= 0 && (n = read(in, buffer, sizeof buffer)) > 0)
        if (write(out, buffer, n) != n) abort();
    if (in >= 0) close(in);
    if (out >= 0) { close(out); if (in >= 0) rename(part, to); }
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fdatasync(int fd) { int r = REAL(fdatasync)(fd); if (!r) copy(fd); return r; }
int fsync(int fd) { int r = REAL(fsync)(fd); if (!r) copy(fd); return r; }
int unlink(const char *path) {
    char to[PATH_MAX];
    int r = REAL(unlink)(path);
    if (!r && twin(path, to)) REAL(unlink)(to);
    return r;
}
int remove(const char *path) {
    char to[PATH_MAX];
    int r = REAL(remove)(path);
    if (!r && twin(path, to)) REAL(remove)(to);
    return r;
}
int rename(const char *a, const char *b) {
    char x[PATH_MAX], y[PATH_MAX];
    int r = REAL(rename)(a, b);
    if (!r && twin(a, x) && twin(b, y)) REAL(rename)(x, y);
    return r;
}
