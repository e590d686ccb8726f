/* A server that closes what it listens on at each SIGUSR1 and listens there anew, as
 * one that opens its log files, or reads its configuration, again. Each connection has
 * a thread. The version "late" waits for the file of pidfile= before it listens; "lost"
 * fails then. */
#include "common.h"
#include <pthread.h>

static volatile sig_atomic_t again;

static void usr1(int sig) {
	(void)sig;
	again = 1;
}

static void *serve(void *conn) {
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	serve_blocking((int)(long)conn);
	return NULL;
}

int main(int argc, char **argv) {
	parse_options(argc, argv);
	int slow = !strncmp(version(), "late", 4) || !strncmp(version(), "lost", 4);
	while (slow && access(opt.pidfile, F_OK) < 0) sleep_ms(10);
	if (!strncmp(version(), "lost", 4)) exit(9);
	struct sigaction s = {.sa_handler = usr1};
	sigaction(SIGUSR1, &s, NULL);
	if (opt.path && opt.path[0] != '@') unlink(opt.path);
	int fd = open_listener(0);
	for (;;) {
		if (again) {
			again = 0;
			close(fd);
			if (opt.path && opt.path[0] != '@' && !opt.rename) unlink(opt.path);
			fd = open_listener(0);
			fprintf(stderr, "listens again\n");
		}
		/* A signal that comes just before it waits is looked at a moment later. */
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (poll(&p, 1, 20) != 1) continue;
		int conn = accept(fd, NULL, NULL);
		if (conn < 0) {
			if (errno == EINTR || errno == ECONNABORTED) continue;
			die("accept");
		}
		pthread_t t;
		if (pthread_create(&t, NULL, serve, (void *)(long)conn) == 0) pthread_detach(t);
	}
}
