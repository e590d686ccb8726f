/* workers threads, each blocked in accept() on one shared blocking listener, or
 * with reuseport=1 on one of its own, each serving its connection itself. */
#include "common.h"
#include <pthread.h>

static void *serve(void *arg) {
	int listener = opt.reuseport ? open_listener(0) : *(int *)arg;
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0) {
			/* Not EINTR: nothing here has a handler, so nothing may interrupt.
			 * A supervisor that leaks one is seen as a server that exits. */
			if (errno == ECONNABORTED) continue;
			die("accept");
		}
		serve_blocking(fd);
	}
	return NULL;
}

int main(int argc, char **argv) {
	static int listener;
	pthread_t thread;
	parse_options(argc, argv);
	if (!opt.reuseport) listener = open_listener(0);
	for (int i = 1; i < opt.workers; i++)
		if (pthread_create(&thread, NULL, serve, &listener)) die("pthread_create");
	serve(&listener);
}
