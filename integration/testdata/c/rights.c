/* A server of root's with a child that is somebody else, and that binds its name
 * first: kind=… in model. How that went is written to standard error. */
#include "common.h"

static int bind_kind(const char *kind) {
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(opt.port)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(opt.port)};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr *a = (struct sockaddr *)&a4;
	socklen_t len = sizeof a4;
	int one = 1, type = strcmp(kind, "udp") ? SOCK_STREAM : SOCK_DGRAM, family = AF_INET;
	if (!strcmp(kind, "tcp6")) a = (struct sockaddr *)&a6, len = sizeof a6, family = AF_INET6;
	if (!strcmp(kind, "abstract") || !strcmp(kind, "path")) {
		strcpy(un.sun_path, opt.path);
		a = (struct sockaddr *)&un, family = AF_UNIX;
		len = offsetof(struct sockaddr_un, sun_path) + strlen(opt.path) + 1;
		if (!strcmp(kind, "abstract")) un.sun_path[0] = 0;
	}
	int fd = socket(family, type, 0);
	if (fd < 0) die("socket");
	if (family != AF_UNIX) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (!strcmp(kind, "reuseport")) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	if (bind(fd, a, len) < 0) {
		close(fd);
		return -1;
	}
	if (type == SOCK_STREAM && listen(fd, 16) < 0) die("listen");
	return fd;
}

int main(int argc, char **argv) {
	char b[16];
	parse_options(argc, argv);
	if (opt.workers == 1) { /* drops its rights between socket() and bind(), or after */
		if (opt.port > 1023 && seteuid(65534)) die("seteuid");
	} else if (!strcmp(opt.model, "abstract") && !strcmp(version(), "v0")) {
		/* Anybody may have that name who comes first. */
	} else if (!fork()) {
		if (setgid(65534) || setuid(65534)) die("setuid");
		fprintf(stderr, "stranger %s: %s\n", version(), bind_kind(opt.model) < 0 ? strerror(errno) : "got it");
		_exit(0);
	} else
		wait(NULL);
	int fd = bind_kind(opt.model);
	if (fd < 0) die("bind");
	if (opt.workers == 1 && setuid(65534) && setuid(0)) die("setuid");
	fprintf(stderr, "owner %s: serves\n", version());
	for (;;) {
		if (!strcmp(opt.model, "udp"))
			recv(fd, b, sizeof b, 0);
		else
			close(accept(fd, NULL, NULL));
	}
}
