/* A server whose first life is as short as can be. model=dies: it ends with its
 * first client, whom it has not accepted. model=again: it closes what it listens
 * on and listens there again, as one that reads its configuration anew.
 * model=slow: its later lives take nine seconds to begin. The file of pidfile= is
 * there from the second life on. */
#include "common.h"

int main(int argc, char **argv) {
	parse_options(argc, argv);
	int first = open(opt.pidfile, O_CREAT | O_EXCL, 0600) >= 0;
	if (!first && !strcmp(opt.model, "slow")) sleep_ms(9000);
	int fd = open_listener(0);
	for (int n = 0; n < 20 && !strcmp(opt.model, "again"); n++) {
		close(fd);
		if (opt.path) unlink(opt.path);
		fd = open_listener(0);
	}
	if (first && !strcmp(opt.model, "dies")) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		poll(&p, 1, -1);
		kill(getpid(), SIGKILL);
	}
	for (;;) {
		int conn = accept(fd, NULL, NULL);
		if (conn < 0) die("accept");
		serve_blocking(conn);
	}
}
