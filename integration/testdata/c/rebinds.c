/* A server that binds again what it listens on, when it is told to on a connection:
 *   again A, again B   closes that listener and binds its address anew
 *   nonblock B         sets O_NONBLOCK
 *   flags B            gives its flags
 *   accepted           what accept() on its UDP socket gave before it served
 * A is where it is asked, B the same port of 127.0.0.2, which the version "elsewhere" has no
 * use for. Where it has a path, it listens there as well; version "v0" binds that twice, and
 * keeps both sockets, as one does that hands over within itself. */
#include "common.h"

static int fds[5] = {-1, -1, -1, -1, -1}; /* A, B, the path, the path again, UDP */

static struct sockaddr_in at(int n) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(opt.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK + n)};
	return a;
}

static int listen_at(int n) {
	struct sockaddr_in a = at(n);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (void *)&a, sizeof a) < 0 || listen(fd, 64) < 0) {
		int e = errno;
		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

static void listen_at_path(int n) {
	struct sockaddr_un u = {.sun_family = AF_UNIX};
	strcpy(u.sun_path, opt.path);
	unlink(opt.path);
	fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fds[n], (void *)&u, sizeof u) < 0 || listen(fds[n], 64) < 0) die("bind");
}

static void obey(int client) {
	static char accepted[50];
	char text[100] = "", answer[100];
	if (client < 0) { /* before it serves */
		int fd = accept(fds[4], NULL, NULL);
		snprintf(accepted, sizeof accepted, "%s", fd < 0 ? strerror(errno) : "done");
		return;
	}
	ssize_t got = read(client, text, sizeof text - 1);
	int n = strchr(text, 'B') != NULL;
	if (got <= 0) {
		close(client);
		return;
	}
	if (!strncmp(text, "again", 5)) {
		close(fds[n]);
		fds[n] = listen_at(n);
		snprintf(answer, sizeof answer, "%s\n", fds[n] < 0 ? strerror(errno) : "done");
	} else if (!strncmp(text, "nonblock", 8)) {
		snprintf(answer, sizeof answer, "%d\n", fcntl(fds[n], F_SETFL, O_NONBLOCK));
	} else if (!strncmp(text, "flags", 5)) {
		snprintf(answer, sizeof answer, "%d\n", !!(fcntl(fds[n], F_GETFL) & O_NONBLOCK));
	} else if (!strncmp(text, "accepted", 8)) {
		snprintf(answer, sizeof answer, "%s\n", accepted);
	} else {
		respond(client);
		close_connection(client);
		return;
	}
	write_all(client, answer, strlen(answer));
}

int main(int argc, char **argv) {
	int clients[64], open = 0;
	parse_options(argc, argv);
	struct sockaddr_in udp = at(0);
	/* The next version wants another O_NONBLOCK. */
	fds[4] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | (strcmp(version(), "v0") ? SOCK_NONBLOCK : 0), 0);
	if (bind(fds[4], (void *)&udp, sizeof udp) < 0) die("bind");
	obey(-1);
	if ((fds[0] = listen_at(0)) < 0) die("bind");
	if (strcmp(version(), "elsewhere") && (fds[1] = listen_at(1)) < 0) die("bind");
	if (opt.path) listen_at_path(2);
	if (opt.path && !strcmp(version(), "v0")) listen_at_path(3);
	for (;;) {
		struct pollfd p[70];
		for (int n = 0; n < 5; n++) p[n] = (struct pollfd){.fd = fds[n], .events = POLLIN};
		for (int n = 0; n < open; n++) p[5 + n] = (struct pollfd){.fd = clients[n], .events = POLLIN};
		if (poll(p, 5 + open, -1) < 0) continue;
		for (int n = 0; n < open; n++)
			if (p[5 + n].revents) obey(clients[n]);
		for (int n = 0; n < 4; n++)
			if (p[n].revents & POLLIN) {
				int fd = accept(fds[n], NULL, NULL);
				if (fd < 0) continue;
				if (n >= 2) respond(fd), close_connection(fd);
				else if (open < 64) clients[open++] = fd;
			}
		for (int n = 0; n < open; n++)
			if (fcntl(clients[n], F_GETFD) < 0) clients[n--] = clients[--open];
	}
}
