/* A server that listens on something before, and has no more of it when it serves.
 * model=closed: it closes it. model=later: it does so once it waits on the other one.
 * model=failed: the listen() fails. model=child: it was a child's, which ended. */
#include "common.h"

static int other(void) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 1) < 0) die("listen on a port");
	return fd;
}

int main(int argc, char **argv) {
	parse_options(argc, argv);
	int before = -1;
	if (!strcmp(opt.model, "closed")) close(other());
	else if (!strcmp(opt.model, "later")) before = other();
	else if (!strcmp(opt.model, "failed")) {
		if (listen(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), 1) == 0) die("listen on datagrams");
	} else if (!strcmp(opt.model, "child")) {
		pid_t child = fork();
		if (child == 0) {
			other();
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
	int fd = open_listener(0);
	long until = now_ms() + 100;
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int ready = poll(&p, 1, before < 0 ? -1 : 20);
		if (before >= 0 && now_ms() > until) {
			close(before);
			before = -1;
		}
		if (ready < 1) continue;
		int conn = accept(fd, NULL, NULL);
		if (conn < 0) die("accept");
		serve_blocking(conn);
	}
}
