/* Answers each datagram with itself and who answered, from one socket, or with
 * reuseport=1 from one for each of workers threads, which bind them in another
 * order than they open them. model is how it waits. */
#include "common.h"
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/select.h>

static int opened, bound;

/* in_turn waits until the last that was opened, and all after the one that is
 * here, are bound. */
static void in_turn(void) {
	int mine = __atomic_add_fetch(&opened, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&opened, __ATOMIC_SEQ_CST) < opt.workers ||
	       __atomic_load_n(&bound, __ATOMIC_SEQ_CST) < opt.workers - mine) sleep_ms(1);
}

static int bound_socket(int type) {
	int one = 1, fd, v6 = strchr(opt.host, ':') != NULL;
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(opt.port)};
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(opt.port)};
	if (opt.startup_ms) sleep_ms(opt.startup_ms);
	if (opt.fd >= 0) return opt.fd;
	if ((fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | type, 0)) < 0) die("socket");
	if (opt.reuseport) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one), in_turn();
	if (v6) {
		inet_pton(AF_INET6, opt.host, &a6.sin6_addr);
		if (bind(fd, (struct sockaddr *)&a6, sizeof a6) < 0) die("bind");
	} else {
		inet_pton(AF_INET, opt.host, &a4.sin_addr);
		if (bind(fd, (struct sockaddr *)&a4, sizeof a4) < 0) die("bind");
	}
	__atomic_add_fetch(&bound, 1, __ATOMIC_SEQ_CST);
	return fd;
}

static void answer(int fd, char *buf, ssize_t n, struct sockaddr *from, socklen_t len) {
	buf[n] = 0;
	char *ms = strstr(buf, "ms=");
	if (ms) sleep_ms(atol(ms + 3));
	n += snprintf(buf + n, 128, " pid=%d version=%s", (int)getpid(), version());
	if (sendto(fd, buf, n, 0, from, len) != n) die("sendto");
}

static void *serve(void *arg) {
	int waits = opt.model[0] && strcmp(opt.model, "mmsg");
	int fd = bound_socket(waits ? SOCK_NONBLOCK : 0), ep = -1;
	if (!strcmp(opt.model, "epoll")) {
		struct epoll_event e = {.events = EPOLLIN};
		if ((ep = epoll_create1(0)) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e)) die("epoll");
	}
	for (;;) {
		char buf[16][2048];
		struct sockaddr_storage from[16];
		if (ep >= 0) {
			struct epoll_event e;
			if (epoll_wait(ep, &e, 1, -1) < 0) die("epoll_wait");
		} else if (!strcmp(opt.model, "poll")) {
			struct pollfd p = {.fd = fd, .events = POLLIN};
			if (poll(&p, 1, -1) < 0) die("poll");
		} else if (!strcmp(opt.model, "select")) {
			fd_set set;
			FD_ZERO(&set);
			FD_SET(fd, &set);
			if (select(fd + 1, &set, NULL, NULL, NULL) < 0) die("select");
		} else if (!strcmp(opt.model, "mmsg")) {
			struct mmsghdr m[16] = {0};
			struct iovec v[16];
			for (int i = 0; i < 16; i++) {
				v[i] = (struct iovec){buf[i], 1024};
				m[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &v[i], .msg_iovlen = 1};
			}
			int n = recvmmsg(fd, m, 16, MSG_WAITFORONE, NULL);
			if (n < 0) die("recvmmsg");
			for (int i = 0; i < n; i++) answer(fd, buf[i], m[i].msg_len, (struct sockaddr *)&from[i], m[i].msg_hdr.msg_namelen);
			continue;
		}
		for (;;) {
			socklen_t len = sizeof from[0];
			ssize_t n = recvfrom(fd, buf[0], 1024, 0, (struct sockaddr *)&from[0], &len);
			if (n < 0 && waits && errno == EAGAIN) break;
			if (n < 0) die("recvfrom");
			answer(fd, buf[0], n, (struct sockaddr *)&from[0], len);
		}
	}
	return arg;
}

int main(int argc, char **argv) {
	pthread_t thread;
	parse_options(argc, argv);
	for (int i = 1; opt.reuseport && i < opt.workers; i++)
		if (pthread_create(&thread, NULL, serve, NULL)) die("pthread_create");
	serve(NULL);
}
