/* A file layer with faults, between a process and the operating system (LD_PRELOAD).

   Every call of the C library that changes files below one folder passes here, whoever makes it:
   Python, pyarrow, FAISS, SQLite. Each is counted; the n-th can fail, be cut half-way, or kill the
   process; and each can be written to a trace, from which `tests.faults.powercut` rebuilds what a
   disk holds after the current went off. Reads can be counted and made to fail likewise.

   What two threads do at the same time may be counted either way round. Control is by the
   functions at the end, through ctypes. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 4096
#define PATH 4096

enum { OFF, COUNT, FAIL, FAIL_ON, CUT, KILL, KILL_HALF };

static char folder[PATH];
static size_t folder_length;
static int mode = OFF, error_number, reads_too, trace = -1;
static long nth, count, next_handle;
static struct { long handle; int writable; } files[FILES];

static int mine(const char *path) {
    return mode != OFF && path && strncmp(path, folder, folder_length) == 0;
}

static int known(int fd) {
    return mode != OFF && fd >= 0 && fd < FILES && files[fd].handle;
}

static void emit(const char *what, const char *first, const char *second, long handle, long offset,
                 const void *data, size_t length) {
    if (trace < 0) return;
    char line[2 * PATH + 128];
    int size = snprintf(line, sizeof line, "%s\t%s\t%s\t%ld\t%ld\t%zu\n", what, first, second,
                        handle, offset, length);
    /* In one piece: SQLite commits in a thread. */
    struct iovec parts[2] = {{line, (size_t)size}, {(void *)data, length}};
    syscall(SYS_writev, trace, parts, length ? 2 : 1);
}

/* Count an operation. 0: do it. 1: do half of it, then come to `after`. -1: it failed.
   A full disk (FAIL_ON) stays full, but only for what needs room. */
static int step(int needs_room) {
    long n = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    if (mode == FAIL_ON && n >= nth && needs_room) { errno = error_number; return -1; }
    if (n != nth) return 0;
    switch (mode) {
    case FAIL: errno = error_number; return -1;
    case KILL: syscall(SYS_kill, getpid(), SIGKILL); return -1;
    case CUT: case KILL_HALF: return 1;
    }
    return 0;
}

/* After half an operation: die, or tell of a failure although something was done. */
static int after(void) {
    if (mode == KILL_HALF) syscall(SYS_kill, getpid(), SIGKILL);
    errno = error_number;
    return -1;
}

#define REAL(name, type, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static int opened(int fd, const char *path, int flags) {
    if (fd < 0 || fd >= FILES) return fd;
    int saved = errno;
    files[fd].handle = ++next_handle;
    files[fd].writable = (flags & O_ACCMODE) != O_RDONLY;
    const char *what = flags & O_TRUNC ? "create" : "open";
    emit(what, path, flags & O_CREAT ? "new" : "", next_handle, 0, NULL, 0);
    errno = saved;
    return fd;
}

static int open_any(int (*real)(int, const char *, int, ...), int at, const char *path, int flags,
                    mode_t permissions) {
    if (!mine(path)) return real(at, path, flags, permissions);
    int writes = flags & (O_CREAT | O_TRUNC) || (flags & O_ACCMODE) != O_RDONLY;
    if (writes || reads_too) {
        int now = step(writes);
        if (now < 0) return -1;
        int fd = opened(real(at, path, flags, permissions), path, flags);
        if (now && fd >= 0) close(fd);
        return now && (fd >= 0 || mode == KILL_HALF) ? after() : fd;
    }
    return opened(real(at, path, flags, permissions), path, flags);
}

#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        REAL(name, int, int, const char *, int, ...); \
        va_list list; va_start(list, flags); mode_t permissions = va_arg(list, mode_t); va_end(list); \
        return open_any(real, at, path, flags, permissions); \
    }
#define OPEN(name, other) \
    int name(const char *path, int flags, ...) { \
        REAL(other, int, int, const char *, int, ...); \
        va_list list; va_start(list, flags); mode_t permissions = va_arg(list, mode_t); va_end(list); \
        return open_any(real, AT_FDCWD, path, flags, permissions); \
    }
OPENAT(openat)
OPENAT(openat64)
OPEN(open, openat)
OPEN(open64, openat64)

int close(int fd) {
    REAL(close, int, int);
    if (fd >= 0 && fd < FILES) files[fd].handle = 0;
    return real(fd);
}

static ssize_t put(int fd, const void *data, size_t length, off_t offset, int moves) {
    int now = step(1);
    if (now < 0) return -1;
    size_t some = now && length > 1 ? length / 2 : length;
    ssize_t done = moves ? syscall(SYS_write, fd, data, some)
                         : syscall(SYS_pwrite64, fd, data, some, offset);
    if (done > 0) emit("write", "", "", files[fd].handle, offset, data, (size_t)done);
    return now ? after() : done;
}

ssize_t write(int fd, const void *data, size_t length) {
    if (!known(fd)) return syscall(SYS_write, fd, data, length);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    if (fcntl(fd, F_GETFL) & O_APPEND) offset = lseek(fd, 0, SEEK_END);
    return put(fd, data, length, offset, 1);
}

#define PWRITE(name) \
    ssize_t name(int fd, const void *data, size_t length, off_t offset) { \
        if (!known(fd)) return syscall(SYS_pwrite64, fd, data, length, offset); \
        return put(fd, data, length, offset, 0); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t writev(int fd, const struct iovec *parts, int number) {
    if (!known(fd)) return syscall(SYS_writev, fd, parts, number);
    ssize_t all = 0;
    for (int i = 0; i < number; i++) {
        ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);
        if (done < 0) return all ? all : -1;
        all += done;
    }
    return all;
}

ssize_t read(int fd, void *data, size_t length) {
    if (known(fd) && reads_too && step(0)) { errno = error_number; return -1; }
    return syscall(SYS_read, fd, data, length);
}

#define PREAD(name) \
    ssize_t name(int fd, void *data, size_t length, off_t offset) { \
        if (known(fd) && reads_too && step(0)) { errno = error_number; return -1; } \
        return syscall(SYS_pread64, fd, data, length, offset); \
    }
PREAD(pread)
PREAD(pread64)

#define SYNC(name) \
    int name(int fd) { \
        REAL(name, int, int); \
        if (!known(fd)) return real(fd); \
        int now = step(0); \
        if (now < 0) return -1; \
        int done = real(fd); \
        if (done == 0) emit("sync", "", "", files[fd].handle, 0, NULL, 0); \
        return now ? after() : done; \
    }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name) \
    int name(int fd, off_t length) { \
        REAL(name, int, int, off_t); \
        if (!known(fd)) return real(fd, length); \
        int now = step(0); \
        if (now < 0) return -1; \
        int done = real(fd, length); \
        if (done == 0) emit("truncate", "", "", files[fd].handle, (long)length, NULL, 0); \
        return now ? after() : done; \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

/* An operation on names. `call` is made if it concerns us or not. */
#define NAMES(what, room, first, second, call) \
    if (!mine(first) && !mine(second)) return call; \
    int now = step(room); \
    if (now < 0) return -1; \
    int done = call; \
    if (done == 0) emit(what, first, second, 0, 0, NULL, 0); \
    if (now && (done == 0 || mode == KILL_HALF)) return after(); \
    return done

int rename(const char *from, const char *to) {
    REAL(rename, int, const char *, const char *);
    NAMES("rename", 0, from, to, real(from, to));
}
int renameat(int a, const char *from, int b, const char *to) {
    REAL(renameat, int, int, const char *, int, const char *);
    NAMES("rename", 0, from, to, real(a, from, b, to));
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    REAL(renameat2, int, int, const char *, int, const char *, unsigned);
    NAMES("rename", 0, from, to, real(a, from, b, to, flags));
}
int link(const char *from, const char *to) {
    REAL(link, int, const char *, const char *);
    NAMES("link", 1, from, to, real(from, to));
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    REAL(linkat, int, int, const char *, int, const char *, int);
    NAMES("link", 1, from, to, real(a, from, b, to, flags));
}
int unlink(const char *path) {
    REAL(unlink, int, const char *);
    NAMES("unlink", 0, path, "", real(path));
}
int unlinkat(int at, const char *path, int flags) {
    REAL(unlinkat, int, int, const char *, int);
    NAMES("unlink", 0, path, "", real(at, path, flags));
}
int rmdir(const char *path) {
    REAL(rmdir, int, const char *);
    NAMES("unlink", 0, path, "", real(path));
}
int mkdir(const char *path, mode_t permissions) {
    REAL(mkdir, int, const char *, mode_t);
    NAMES("mkdir", 1, path, "", real(path, permissions));
}
int mkdirat(int at, const char *path, mode_t permissions) {
    REAL(mkdirat, int, int, const char *, mode_t);
    NAMES("mkdir", 1, path, "", real(at, path, permissions));
}

/* Watch `path` from now on; see the modes above. A trace of "" is none. */
int faults_arm(const char *path, int what, long n, int number, int reads, const char *trace_path) {
    mode = OFF;
    if (strlen(path) >= PATH) return -1;
    strcpy(folder, path);
    folder_length = strlen(path);
    memset(files, 0, sizeof files);
    count = next_handle = 0;
    nth = n; error_number = number; reads_too = reads;
    trace = -1;
    if (trace_path[0]) trace = open(trace_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    mode = what;
    return 0;
}

/* Stop, and return how many operations there were. */
long faults_disarm(void) {
    mode = OFF;
    return count;
}

/* A line of the process's own in the trace. */
void faults_mark(const char *text) { emit("mark", text, "", 0, 0, NULL, 0); }
