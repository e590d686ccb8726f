/* New versions that are no good, each in the way that its version names:
 *   exit:N     exits at once
 *   signal:N   is killed by a signal
 *   hang       never makes a socket
 *   bound      binds, never listens
 *   deaf       listens, never waits for a connection
 *   taken:N    needs port N, too, which somebody else has
 *   dies:MS    seems to serve, and exits after MS ms without a single accept
 * Its address comes by the environment, as the command line is another's. */
#include "common.h"
#include <sys/epoll.h>
#include <sys/resource.h>

static void forever(void) {
	for (;;) pause();
}

int main(int argc, char **argv) {
	const char *how = version(), *colon = strchr(how, ':');
	int number = colon ? atoi(colon + 1) : 0, fd;
	(void)argc, (void)argv;
	opt.port = atoi(getenv("HUPT_TEST_PORT"));
	opt.host = getenv("HUPT_TEST_HOST");
	fprintf(stderr, "this version is bad: %s\n", how);
	if (!strncmp(how, "exit:", 5)) exit(number);
	if (!strncmp(how, "signal:", 7)) {
		struct rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		signal(number, SIG_DFL);
		raise(number);
	}
	if (!strcmp(how, "hang")) forever();
	if (!strncmp(how, "taken:", 6)) {
		fd = bind_port(0);
		opt.port = number;
		bind_port(0); /* says why, and exits */
	}
	fd = bind_port(SOCK_NONBLOCK);
	if (!strcmp(how, "bound")) forever();
	if (listen(fd, 1024) < 0) die("listen");
	if (!strcmp(how, "deaf")) forever();
	if (!strncmp(how, "dies:", 5)) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
		int epfd = epoll_create1(0);
		if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0) die("epoll_ctl");
		for (long end = now_ms() + number, left; (left = end - now_ms()) > 0;) epoll_wait(epfd, &ev, 1, left);
		exit(4);
	}
	fprintf(stderr, "%s: unknown\n", how);
	exit(2);
}
