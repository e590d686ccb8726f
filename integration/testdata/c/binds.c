/* A server that makes odd binds to its address before the one that it serves on, and
 * says what each gave.
 */
#include "common.h"

static struct sockaddr_in at(int port) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return a;
}

static int fresh(int family) {
	int one = 1, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	return fd;
}

static void odd(const char *how, int fd, struct sockaddr_in a, socklen_t len) {
	char room[300] = {0};
	memcpy(room, &a, sizeof a);
	int r = bind(fd, (void *)room, len);
	fprintf(stderr, "%s result %s: %s\n", version(), how, r ? strerror(errno) : "done");
	close(fd);
}

int main(int argc, char **argv) {
	parse_options(argc, argv);
	struct sockaddr_in a = at(opt.port), zero = at(0), unspec = a;
	unspec.sin_family = AF_UNSPEC;
	socklen_t lengths[] = {-1, 0, 1, 2, 15, 129, 300, 2000000000};
	for (unsigned n = 0; n < sizeof lengths / sizeof *lengths; n++) {
		char how[40];
		sprintf(how, "length %d", (int)lengths[n]);
		odd(how, fresh(AF_INET), a, lengths[n]);
	}
	for (socklen_t n = 16; n <= 128; n += 56) odd("a long one", fresh(AF_INET), a, n);
	odd("unspec, an address", fresh(AF_INET), unspec, sizeof a);
	odd("unspec, IPv6", fresh(AF_INET6), unspec, sizeof a);
	odd("IPv4 on IPv6", fresh(AF_INET6), a, sizeof a);
	odd("IPv4 on Unix", fresh(AF_UNIX), a, sizeof a);
	odd("no socket", dup(1), a, sizeof a);
	odd("no descriptor", -1, a, sizeof a);
	int fd = fresh(AF_INET);
	bind(fd, (void *)&zero, sizeof zero);
	odd("bound", fd, a, sizeof a);
	fprintf(stderr, "%s binds\n", version());
	/* With any address it forgets the family, as once was usual. */
	a.sin_addr.s_addr = unspec.sin_addr.s_addr = inet_addr(opt.host);
	fd = fresh(AF_INET);
	if (bind(fd, (void *)(opt.model[0] ? &unspec : &a), sizeof a) < 0 || listen(fd, 64) < 0) die("bind");
	for (;;) {
		int client = accept(fd, NULL, NULL);
		if (client >= 0) serve_blocking(client);
	}
}
