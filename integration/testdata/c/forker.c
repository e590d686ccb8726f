/* A process for each connection. */
#include "common.h"

static void reap(int sig) {
	int saved = errno;
	(void)sig;
	while (waitpid(-1, NULL, WNOHANG) > 0) {
	}
	errno = saved;
}

int main(int argc, char **argv) {
	struct sigaction sa = {.sa_handler = reap, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
	parse_options(argc, argv);
	sigaction(SIGCHLD, &sa, NULL);
	int listener = open_listener(0);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0) {
			if (errno == ECONNABORTED) continue;
			die("accept");
		}
		pid_t child = fork();
		if (child < 0) die("fork");
		if (child == 0) {
			close(listener);
			serve_blocking(fd);
			_exit(0);
		}
		close(fd);
	}
}
