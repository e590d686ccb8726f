/* Raw protocols, a thread for each connection:
 *   model=echo       what comes goes back
 *   model=websocket  HTTP until an Upgrade, then what comes goes back
 *   model=keepalive  HTTP/1.1 on kept connections, as C servers have it: the
 *                    head by one call, the body by another */
#include "common.h"
#include <pthread.h>

static int say(int fd, const char *p, size_t n) {
	while (n > 0) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
		if (sent <= 0) return 0;
		p += sent;
		n -= sent;
	}
	return 1;
}

static void echo(int fd) {
	char buf[4096];
	ssize_t n;
	while ((n = read(fd, buf, sizeof buf)) > 0 && say(fd, buf, n)) {
	}
}

static int answer(int fd) {
	char body[96], head[256];
	int n = snprintf(body, sizeof body, "pid=%d version=%s\n", (int)getpid(), version());
	int m = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", n);
	return write(fd, head, m) == m && write(fd, body, n) == n;
}

static void http(int fd) {
	static const char switching[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
	char buf[4096], *end;
	size_t have = 0;
	for (;;) {
		ssize_t n = read(fd, buf + have, sizeof buf - 1 - have);
		if (n <= 0) return;
		have += n;
		buf[have] = 0;
		while ((end = strstr(buf, "\r\n\r\n"))) {
			if (strcasestr(buf, "upgrade: websocket")) {
				if (say(fd, switching, strlen(switching))) echo(fd);
				return;
			}
			long delay = requested_delay(buf);
			if (delay) sleep_ms(delay);
			if (!answer(fd)) return;
			have -= end + 4 - buf;
			memmove(buf, end + 4, have + 1);
		}
	}
}

static void *serve(void *arg) {
	int fd = (int)(long)arg;
	if (!strcmp(opt.model, "echo")) echo(fd);
	else http(fd);
	close(fd);
	return NULL;
}

int main(int argc, char **argv) {
	pthread_attr_t small;
	pthread_t thread;
	parse_options(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
	int listener = open_listener(0);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0) die("accept");
		if (pthread_create(&thread, &small, serve, (void *)(long)fd)) die("pthread_create");
	}
}
