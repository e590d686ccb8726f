/* workers processes, each with a listener of its own on one port. If there is a
 * file called "bad", it fails and accepts nothing, as model says: "never" does
 * not wait for connections, "late" does, and ends soon after. */
#include "common.h"
#include <poll.h>

static int bad;

static void worker(void) {
	int listener = open_listener(0);
	if (bad) {
		struct pollfd p = {.fd = listener, .events = POLLIN};
		if (!strcmp(opt.model, "late")) poll(&p, 1, -1);
		sleep_ms(1000000);
	}
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0) die("accept");
		serve_blocking(fd);
	}
}

static void stop(int sig) {
	(void)sig;
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
	_exit(0);
}

int main(int argc, char **argv) {
	parse_options(argc, argv);
	bad = access("bad", F_OK) == 0;
	setpgid(0, 0);
	for (int i = 0; i < opt.workers; i++) {
		pid_t child = fork();
		if (child < 0) die("fork");
		if (child == 0) worker();
	}
	if (bad && !strcmp(opt.model, "late")) {
		sleep_ms(300);
		signal(SIGTERM, SIG_IGN);
		kill(0, SIGTERM);
		while (wait(NULL) > 0) {
		}
		exit(3);
	}
	signal(SIGTERM, stop);
	for (;;) wait(NULL);
}
