/* One thread accepts, each connection gets a new thread: tasks are born and
 * die all day, between any two of a tracer's calls. */
#include "common.h"
#include <pthread.h>
#include <stdint.h>

static void *serve(void *arg) {
	serve_blocking((int)(intptr_t)arg);
	return NULL;
}

int main(int argc, char **argv) {
	pthread_attr_t attr;
	pthread_t thread;
	parse_options(argc, argv);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 64 << 10);
	int listener = open_listener(0);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0) {
			if (errno == ECONNABORTED) continue;
			die("accept");
		}
		if (pthread_create(&thread, &attr, serve, (void *)(intptr_t)fd)) die("pthread_create");
	}
}
