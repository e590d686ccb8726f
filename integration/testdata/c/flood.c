/* A server of root's with a child of another user that does what it can to be in the
 * way: it listens on many sockets, waits on none of them, and makes new ones all the
 * time. */
#include "common.h"
#include <grp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { MANY = 400 };

static int listens_on(int n) {
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int len = snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "hupt-flood-%d-%d", opt.port, n);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0) return -1;
	if (bind(fd, (struct sockaddr *)&a, offsetof(struct sockaddr_un, sun_path) + 1 + len) < 0 || listen(fd, 1) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void flood(void) {
	int n, made = 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0) die("setuid");
	for (n = 0; n < MANY; n++) made += listens_on(n) >= 0;
	fprintf(stderr, "flood %s: %d sockets\n", version(), made);
	for (;; usleep(2000)) close(listens_on(n++));
}

static void *serve(void *fd) {
	serve_blocking((int)(long)fd);
	return NULL;
}

int main(int argc, char **argv) {
	struct rlimit many = {4096, 4096};
	parse_options(argc, argv);
	if (setrlimit(RLIMIT_NOFILE, &many) < 0) die("setrlimit");
	if (fork() == 0) flood();
	sleep_ms(300); /* the flood comes first */
	int listener = open_listener(0);
	for (;;) {
		pthread_t t;
		int fd = accept(listener, NULL, NULL);
		if (fd < 0) die("accept");
		if (pthread_create(&t, NULL, serve, (void *)(long)fd)) die("pthread_create");
		pthread_detach(t);
	}
}
