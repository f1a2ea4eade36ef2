/* Records what a process does to the files below a folder: for tests of what a loss of power leaves.
 *
 *   RECORD_ROOT   only paths that begin with this are recorded
 *   RECORD_LOG    each call is added to this file: "NAME NUMBER NUMBER LENGTH LENGTH\n", a path or the bytes written,
 *                 and for a rename the new path
 *
 * Preloaded with LD_PRELOAD. What the C library does inside does not pass here, nor do writes to mapped memory: whoever
 * replays the record compares its end with the folder.
 */
#define _GNU_SOURCE
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
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static const char *root;
static size_t root_length;
/* Whether a descriptor is of a file or folder below the root. */
static char watched[FILES];

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("RECORD_LOG");
    root = getenv("RECORD_ROOT");
    if (file == NULL || root == NULL) return;
    root_length = strlen(root);
    log_fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

static int below(const char *path) { return log_fd >= 0 && strncmp(path, root, root_length) == 0; }

/* The path of what a call names, absolute, its folder's links resolved. */
static void resolve(int folder, const char *path, char *found) {
    char base[PATH_MAX] = "", joined[2 * PATH_MAX], link[64], real[PATH_MAX];
    if (path[0] != '/') {
        if (folder == AT_FDCWD) {
            if (getcwd(base, sizeof base) == NULL) base[0] = 0;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t length = readlink(link, base, sizeof base - 1);
            base[length > 0 ? length : 0] = 0;
        }
    }
    snprintf(joined, sizeof joined, "%s%s%s", base, path[0] == '/' ? "" : "/", path);
    char *last = strrchr(joined, '/');
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s", last + 1);
    *last = 0;
    if (realpath(joined[0] ? joined : "/", real) == NULL) snprintf(real, sizeof real, "%s", joined);
    if (strcmp(name, ".") == 0 || name[0] == 0) snprintf(found, PATH_MAX, "%s", real);
    else snprintf(found, PATH_MAX, "%s/%s", real, name);
}

static void say(const char *name, long long a, long long b, const void *one, size_t first, const char *two) {
    char head[128];
    int length = snprintf(head, sizeof head, "%s %lld %lld %zu %zu\n", name, a, b, first, two ? strlen(two) : 0);
    struct iovec parts[3] = {{head, (size_t)length}, {(void *)one, first}, {(void *)two, two ? strlen(two) : 0}};
    pthread_mutex_lock(&lock);
    for (int at = 0; at < 3; at++) {
        char *from = parts[at].iov_base;
        size_t left = parts[at].iov_len;
        while (left > 0) {
            long wrote = syscall(SYS_write, log_fd, from, left);
            if (wrote <= 0) abort();
            from += wrote;
            left -= (size_t)wrote;
        }
    }
    pthread_mutex_unlock(&lock);
}

static int opened(int fd, int folder, const char *path, int flags) {
    char found[PATH_MAX];
    int saved = errno;
    if (fd >= 0 && fd < FILES) {
        resolve(folder, path, found);
        watched[fd] = (char)below(found);
        if (watched[fd]) say("open", fd, flags, found, strlen(found), NULL);
    }
    errno = saved;
    return fd;
}

#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
#define OPEN(name) int name(const char *path, int flags, ...) { MODE \
    return opened(((int (*)(const char *, int, ...))next(#name))(path, flags, mode), AT_FDCWD, path, flags); }
OPEN(open)
OPEN(open64)
#define OPENAT(name) int name(int folder, const char *path, int flags, ...) { MODE \
    return opened(((int (*)(int, const char *, int, ...))next(#name))(folder, path, flags, mode), folder, path, flags); }
OPENAT(openat)
OPENAT(openat64)

static int is_watched(int fd) { return log_fd >= 0 && fd >= 0 && fd < FILES && watched[fd]; }

/* Where a write without an offset begins: it is asked before. */
static long long place(int fd) {
    return fcntl(fd, F_GETFL) & O_APPEND ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    long long at = is_watched(fd) ? place(fd) : 0;
    ssize_t wrote = ((ssize_t (*)(int, const void *, size_t))next("write"))(fd, bytes, count);
    if (wrote > 0 && is_watched(fd)) say("write", fd, at, bytes, (size_t)wrote, NULL);
    return wrote;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t all = 0;
    if (!is_watched(fd)) return ((ssize_t (*)(int, const struct iovec *, int))next("writev"))(fd, parts, count);
    for (int at = 0; at < count; at++) {
        ssize_t wrote = write(fd, parts[at].iov_base, parts[at].iov_len);
        if (wrote < 0) return all ? all : wrote;
        all += wrote;
        if ((size_t)wrote < parts[at].iov_len) break;
    }
    return all;
}

#define PWRITE(name, type) ssize_t name(int fd, const void *bytes, size_t count, type at) { \
    ssize_t wrote = ((ssize_t (*)(int, const void *, size_t, type))next(#name))(fd, bytes, count, at); \
    if (wrote > 0 && is_watched(fd)) say("write", fd, at, bytes, (size_t)wrote, NULL); \
    return wrote; }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define FTRUNCATE(name, type) int name(int fd, type length) { \
    int code = ((int (*)(int, type))next(#name))(fd, length); \
    if (code == 0 && is_watched(fd)) say("truncate", fd, length, "", 0, NULL); \
    return code; }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

/* Copies inside the kernel are refused, so that whoever copies falls back to read and write. */
ssize_t sendfile(int out, int in, off_t *at, size_t count) { (void)out, (void)in, (void)at, (void)count; errno = ENOTSOCK; return -1; }
ssize_t sendfile64(int out, int in, off64_t *at, size_t count) { (void)out, (void)in, (void)at, (void)count; errno = ENOTSOCK; return -1; }
ssize_t copy_file_range(int in, off64_t *a, int out, off64_t *b, size_t count, unsigned flags) {
    (void)in, (void)a, (void)out, (void)b, (void)count, (void)flags; errno = EXDEV; return -1; }

#define SYNC(name) int name(int fd) { \
    int code = ((int (*)(int))next(#name))(fd); \
    if (code == 0 && is_watched(fd)) say("sync", fd, 0, "", 0, NULL); \
    return code; }
SYNC(fsync)
SYNC(fdatasync)

int close(int fd) {
    if (is_watched(fd)) { watched[fd] = 0; say("close", fd, 0, "", 0, NULL); }
    return ((int (*)(int))next("close"))(fd);
}

static int copied(int fd, int copy) {
    if (copy >= 0 && copy < FILES && is_watched(fd)) {
        watched[copy] = 1;
        say("dup", fd, copy, "", 0, NULL);
    }
    return copy;
}
int dup(int fd) { return copied(fd, ((int (*)(int))next("dup"))(fd)); }
/* What os.dup() of Python calls. */
#define FCNTL(name) int name(int fd, int what, ...) { \
    va_list more; va_start(more, what); long argument = va_arg(more, long); va_end(more); \
    int found = ((int (*)(int, int, ...))next(#name))(fd, what, argument); \
    return what == F_DUPFD || what == F_DUPFD_CLOEXEC ? copied(fd, found) : found; }
FCNTL(fcntl)
FCNTL(fcntl64)

/* Streams: what the C library writes for them inside does not pass here, so each is flushed at every call. */
static FILE *stream(FILE *opened_stream, const char *path, const char *mode) {
    int flags = mode[0] == 'r' ? 0 : mode[0] == 'w' ? O_CREAT | O_TRUNC : O_CREAT | O_APPEND;
    if (opened_stream != NULL) opened(fileno(opened_stream), AT_FDCWD, path, flags);
    return opened_stream;
}
FILE *fopen(const char *path, const char *mode) {
    return stream(((FILE *(*)(const char *, const char *))next("fopen"))(path, mode), path, mode);
}
FILE *fopen64(const char *path, const char *mode) {
    return stream(((FILE *(*)(const char *, const char *))next("fopen64"))(path, mode), path, mode);
}
size_t fwrite(const void *bytes, size_t size, size_t count, FILE *file) {
    size_t (*real)(const void *, size_t, size_t, FILE *) = next("fwrite");
    int fd = fileno(file);
    if (!is_watched(fd)) return real(bytes, size, count, file);
    fflush(file);
    long long at = place(fd);
    size_t wrote = real(bytes, size, count, file);
    fflush(file);
    if (wrote > 0) say("write", fd, at, bytes, wrote * size, NULL);
    return wrote;
}
int fclose(FILE *file) {
    int fd = fileno(file);
    if (is_watched(fd)) {
        watched[fd] = 0;
        say("close", fd, 0, "", 0, NULL);
    }
    return ((int (*)(FILE *))next("fclose"))(file);
}

static int renamed(int code, int from, const char *old, int to, const char *new_path) {
    char one[PATH_MAX], two[PATH_MAX];
    if (code == 0) {
        resolve(from, old, one);
        resolve(to, new_path, two);
        if (below(one) || below(two)) say("rename", 0, 0, one, strlen(one), two);
    }
    return code;
}
int rename(const char *old, const char *new_path) {
    return renamed(((int (*)(const char *, const char *))next("rename"))(old, new_path), AT_FDCWD, old, AT_FDCWD, new_path);
}
int renameat(int from, const char *old, int to, const char *new_path) {
    return renamed(((int (*)(int, const char *, int, const char *))next("renameat"))(from, old, to, new_path), from, old, to, new_path);
}
int renameat2(int from, const char *old, int to, const char *new_path, unsigned flags) {
    return renamed(((int (*)(int, const char *, int, const char *, unsigned))next("renameat2"))(from, old, to, new_path, flags), from, old, to, new_path);
}
int link(const char *old, const char *new_path) {
    char one[PATH_MAX], two[PATH_MAX];
    int code = ((int (*)(const char *, const char *))next("link"))(old, new_path);
    resolve(AT_FDCWD, old, one);
    resolve(AT_FDCWD, new_path, two);
    if (code == 0 && below(two)) say("link", 0, 0, one, strlen(one), two);
    return code;
}

static int named(const char *what, int code, int folder, const char *path) {
    char found[PATH_MAX];
    if (code == 0) {
        resolve(folder, path, found);
        if (below(found)) say(what, 0, 0, found, strlen(found), NULL);
    }
    return code;
}
int unlink(const char *path) { return named("unlink", ((int (*)(const char *))next("unlink"))(path), AT_FDCWD, path); }
int rmdir(const char *path) { return named("rmdir", ((int (*)(const char *))next("rmdir"))(path), AT_FDCWD, path); }
int mkdir(const char *path, mode_t mode) { return named("mkdir", ((int (*)(const char *, mode_t))next("mkdir"))(path, mode), AT_FDCWD, path); }
int mkdirat(int folder, const char *path, mode_t mode) {
    return named("mkdir", ((int (*)(int, const char *, mode_t))next("mkdirat"))(folder, path, mode), folder, path); }
int unlinkat(int folder, const char *path, int flags) {
    int code = ((int (*)(int, const char *, int))next("unlinkat"))(folder, path, flags);
    return named(flags & AT_REMOVEDIR ? "rmdir" : "unlink", code, folder, path);
}
