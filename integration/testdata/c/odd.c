/* Ways to wait for connections that differ from the textbook:
 *   model=asio    registers the socket in its epoll set before it binds, as
 *                 Boost.Asio and Netty do, and tries accept() once
 *   model=tokio   registers for reading and writing, edge triggered, as tokio
 *                 does, and accepts after the first event only
 *   model=nested  an epoll set in an epoll set
 *   model=rdnorm  poll() for POLLRDNORM
 *   model=duped   binds by one number, listens and accepts by another
 *   model=greedy  polls, then calls a blocking accept() twice before it serves
 *                 what it got
 *   model=gives-up  shuts its listener down and exits with 3 if a file named
 *                 "bad" is in its directory; otherwise as rdnorm */
#include "common.h"
#include <poll.h>
#include <sys/epoll.h>

static int is(const char *model) { return !strcmp(opt.model, model); }

static int add(int set, int fd, unsigned events) {
	struct epoll_event ev = {.events = events, .data.fd = fd};
	if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &ev) < 0) die("epoll_ctl");
	return set;
}

static void serve_all(int listener) {
	for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) serve_blocking(fd);
	if (errno != EAGAIN && errno != ECONNABORTED) die("accept4");
}

static void serve_two(int listener) {
	int first = accept(listener, NULL, NULL), second = accept(listener, NULL, NULL);
	if (first < 0 || second < 0) die("accept");
	serve_blocking(first);
	serve_blocking(second);
}

int main(int argc, char **argv) {
	parse_options(argc, argv);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(opt.port)};
	inet_pton(AF_INET, opt.host, &a.sin_addr);
	int one = 1, set = epoll_create1(EPOLL_CLOEXEC);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (is("greedy") ? 0 : SOCK_NONBLOCK), 0), listener = fd;
	if (fd < 0 || set < 0) die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (is("asio")) add(set, fd, EPOLLIN | EPOLLPRI | EPOLLERR | EPOLLHUP | EPOLLET);
	if (is("duped")) listener = dup(fd);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0) die("bind");
	if (is("duped")) close(fd);
	if (listen(listener, 1024) < 0) die("listen");
	if (is("gives-up") && access("bad", F_OK) == 0) {
		shutdown(listener, SHUT_RDWR);
		return 3;
	}
	if (is("asio")) serve_all(listener);
	if (is("tokio")) add(set, listener, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (is("nested")) set = add(epoll_create1(EPOLL_CLOEXEC), add(set, listener, EPOLLIN), EPOLLIN);
	if (is("rdnorm") || is("duped") || is("greedy") || is("gives-up")) set = -1;
	for (;;) {
		struct epoll_event ev;
		struct pollfd p = {.fd = listener, .events = POLLRDNORM};
		int n = set >= 0 ? epoll_wait(set, &ev, 1, -1) : poll(&p, 1, -1);
		if (n < 0) die("wait");
		is("greedy") ? serve_two(listener) : serve_all(listener);
	}
}
