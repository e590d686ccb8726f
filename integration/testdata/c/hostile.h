/* What the parts of hostile.c share: chance, the table of descriptors, names. */
#include "common.h"
#include <dirent.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* Chance is from a seed: each thread has a state of its own, so what it tries is
 * always the same, though not what comes of it. */
static __thread unsigned long chance;

static unsigned long random_word(void) {
	chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
	return chance * 0x2545f4914f6cdd1dUL >> 11;
}

static void begin_chance(unsigned long a, unsigned long b) {
	chance = (a * 0x9e3779b97f4a7c15UL ^ b * 0xbf58476d1ce4e5b9UL) | 1;
	for (int n = 0; n < 8; n++) random_word();
}

static unsigned below(unsigned n) { return random_word() % n; }

#define ONE_OF(list) (list)[below(sizeof(list) / sizeof *(list))]

/* What one episode's processes share. */
static struct shared {
	int forks;     /* made so far */
	int pids[32];  /* of some of them */
	int hupt, master;
} *shared;

enum { FDS = 48, MOST_FORKS = 30 };

static int fds[FDS]; /* of all threads: one may close what another uses */
static int depth;    /* of forks */

static int some_fd(void) { return fds[below(FDS)]; }

static void keep(int fd) {
	if (fd < 0) return;
	int *slot = &fds[below(FDS)], old = *slot;
	*slot = fd;
	if (old > 2) close(old);
}

static int some_pid(void) {
	switch (below(8)) {
	case 0: return shared->hupt;
	case 1: return shared->master;
	case 2: return getpid();
	}
	int pid = shared->pids[below(32)];
	return pid > 1 ? pid : getpid();
}

/* Memory that comes and goes while others read it. */
static char *moving_page(void) {
	static char *pages;
	if (!pages) pages = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return pages;
}

static const void *some_pointer(void) {
	switch (below(6)) {
	case 0: return NULL;
	case 1: return (void *)-4096L;
	case 2: return moving_page() + 4096 * 4 - below(40); /* up to the end, and beyond */
	case 3: return (void *)(random_word() & 0x7fffffffffffUL);
	}
	return moving_page() + below(4 * 4096);
}

/* Names of the attacker's, of root's, and of root's by way of the attacker's. */
static const char *some_path(void) {
	static const char *const dirs[] = {"own", "own", "own", "own/link", "own/link", "own/abs", "own/d/..", "root", "root/dir", "sticky", "sticky", "open", "own/d"};
	static const char *const names[] = {"a", "a", "b", "c", "d", "e", "link", "file", "suid", "s", "fifo", "dir", "t",
	                                    "x\nMAINPID=1\nWATCHDOG=trigger", "\033]0;x\a\r\n", ".", "..", ""};
	static __thread char ring[4][400];
	static __thread unsigned at;
	char *b = ring[at++ & 3];
	const char *dir = ONE_OF(dirs), *name = ONE_OF(names);
	switch (below(14)) {
	case 0: snprintf(b, sizeof ring[0], "../%s/%s", dir, name); break;
	case 1: snprintf(b, sizeof ring[0], "/proc/self/cwd/../%s/%s", dir, name); break;
	case 2: snprintf(b, sizeof ring[0], "/proc/self/fd/%d/%s", some_fd(), name); break;
	case 3: snprintf(b, sizeof ring[0], "/dev/fd/%d/../%s", some_fd(), name); break;
	case 4: snprintf(b, sizeof ring[0], "/proc/%d/root%s/%s/%s", some_pid(), opt.arena, dir, name); break;
	case 5: snprintf(b, sizeof ring[0], "%s", name); break;
	case 6: snprintf(b, sizeof ring[0], "/proc/thread-self/root%s/%s/%s", opt.arena, dir, name); break;
	case 7: snprintf(b, sizeof ring[0], "%s/%s/%s/////%.*s%s", opt.arena, dir, ".", below(60), "./././././././././././././././././././././././././././././.", name); break;
	default: snprintf(b, sizeof ring[0], "%s/%s/%s", opt.arena, dir, name);
	}
	return b;
}

static const char *own(const char *name) {
	static __thread char ring[4][300];
	static __thread unsigned at;
	char *b = ring[at++ & 3];
	snprintf(b, sizeof ring[0], "%s/own/%s", opt.arena, name);
	return b;
}

static void write_to(const char *path, const char *text) {
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0) return;
	if (write(fd, text, strlen(text)) < 0) errno = 0;
	close(fd);
}
