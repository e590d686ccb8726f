/* workers processes, forked once, each blocked in accept(): on one listener
 * that they inherit, or with reuseport=1 each on its own. The parent waits. With
 * model=late, each opens its own 80 ms after the one before. */
#include "common.h"

static void worker(int listener) {
	if (listener < 0) listener = open_listener(0);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0) {
			if (errno == ECONNABORTED) continue;
			die("accept");
		}
		serve_blocking(fd);
	}
}

static void stop(int sig) {
	(void)sig;
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM); /* our workers are in our process group */
	_exit(0);
}

int main(int argc, char **argv) {
	parse_options(argc, argv);
	/* A group of our own, so that stop() ends our workers and nobody else. */
	setpgid(0, 0);
	int listener = opt.reuseport ? -1 : open_listener(0);
	for (int i = 0; i < opt.workers; i++) {
		pid_t child = fork();
		if (child < 0) die("fork");
		if (child == 0) {
			if (!strcmp(opt.model, "late")) sleep_ms(80 * i);
			worker(listener);
		}
	}
	signal(SIGTERM, stop);
	for (;;)
		if (wait(NULL) < 0 && errno == ECHILD) exit(1);
}
