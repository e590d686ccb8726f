/* A server whose children have its socket, too, and make a call that stops, without
 * end: hupt hears of little else. */
#include "common.h"

int main(int argc, char **argv) {
	parse_options(argc, argv);
	int listener = open_listener(0), parent = getpid();
	for (int i = 0; i < opt.workers; i++) {
		int child = fork();
		if (child < 0) die("fork");
		if (child) continue;
		sleep_ms(300); /* it serves before */
		while (getppid() == parent) listen(-1, 1);
		return 0;
	}
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0) die("accept");
		serve_blocking(fd);
	}
}
