/* A single thread that waits for everything at once:
 *   model=select    with a blocking listener, as textbooks have it
 *   model=poll      with a non-blocking one
 *   model=epoll-lt  level triggered
 *   model=epoll-et  edge triggered, accepting until EAGAIN
 * A slow request is a timer: the loop goes on meanwhile. */
#include "common.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

enum { MAX = 1000 };

static struct conn {
	int fd; /* -1: free */
	size_t have;
	long due; /* when to answer, 0 while reading */
	char buf[2048];
} conns[MAX];

static int listener, epfd = -1, edge;

static struct conn *add(int fd) {
	for (int i = 0; i < MAX; i++)
		if (conns[i].fd < 0) {
			conns[i] = (struct conn){.fd = fd};
			return &conns[i];
		}
	fprintf(stderr, "too many connections\n");
	exit(2);
}

static void finish(struct conn *c) {
	respond(c->fd);
	close_connection(c->fd);
	c->fd = -1;
}

static void readable(struct conn *c) {
	ssize_t n = recv(c->fd, c->buf + c->have, sizeof c->buf - 1 - c->have, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
	if (n <= 0) {
		close(c->fd);
		c->fd = -1;
		return;
	}
	c->have += n;
	c->buf[c->have] = 0;
	if (!strstr(c->buf, "\r\n\r\n")) return;
	long delay = requested_delay(c->buf);
	if (!delay) {
		finish(c);
		return;
	}
	c->due = now_ms() + delay;
	if (epfd >= 0) epoll_ctl(epfd, EPOLL_CTL_DEL, c->fd, NULL);
}

static void acceptable(void) {
	do {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EAGAIN || errno == ECONNABORTED) return;
			die("accept4");
		}
		struct conn *c = add(fd);
		if (epfd >= 0) {
			struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
			if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0) die("epoll_ctl");
		}
	} while (edge);
}

/* answer_due answers what is due and says how long until the next is, -1 for never. */
static int answer_due(void) {
	long now = now_ms(), next = -1;
	for (int i = 0; i < MAX; i++) {
		if (conns[i].fd < 0 || !conns[i].due) continue;
		long left = conns[i].due - now;
		if (left <= 0) finish(&conns[i]);
		else if (next < 0 || left < next) next = left;
	}
	return next;
}

static void wait_select(int timeout) {
	fd_set set;
	int max = listener;
	struct timeval tv = {timeout / 1000, timeout % 1000 * 1000};
	FD_ZERO(&set);
	FD_SET(listener, &set);
	for (int i = 0; i < MAX; i++) {
		if (conns[i].fd < 0 || conns[i].due) continue;
		FD_SET(conns[i].fd, &set);
		if (conns[i].fd > max) max = conns[i].fd;
	}
	if (select(max + 1, &set, NULL, NULL, timeout < 0 ? NULL : &tv) < 0) die("select");
	for (int i = 0; i < MAX; i++)
		if (conns[i].fd >= 0 && !conns[i].due && FD_ISSET(conns[i].fd, &set)) readable(&conns[i]);
	if (FD_ISSET(listener, &set)) acceptable();
}

static void wait_poll(int timeout) {
	struct pollfd fds[MAX + 1] = {{.fd = listener, .events = POLLIN}};
	struct conn *of[MAX + 1];
	int n = 1;
	for (int i = 0; i < MAX; i++) {
		if (conns[i].fd < 0 || conns[i].due) continue;
		of[n] = &conns[i];
		fds[n++] = (struct pollfd){.fd = conns[i].fd, .events = POLLIN};
	}
	if (poll(fds, n, timeout) < 0) die("poll");
	for (int i = 1; i < n; i++)
		if (fds[i].revents) readable(of[i]);
	if (fds[0].revents) acceptable();
}

static void wait_epoll(int timeout) {
	struct epoll_event ev[64];
	int n = epoll_wait(epfd, ev, 64, timeout);
	if (n < 0) die("epoll_wait");
	for (int i = 0; i < n; i++) {
		if (ev[i].data.ptr) readable(ev[i].data.ptr);
		else acceptable();
	}
}

int main(int argc, char **argv) {
	parse_options(argc, argv);
	for (int i = 0; i < MAX; i++) conns[i].fd = -1;
	int use_select = !strcmp(opt.model, "select"), use_poll = !strcmp(opt.model, "poll");
	listener = open_listener(use_select ? 0 : SOCK_NONBLOCK);
	if (!use_select && !use_poll) {
		edge = !strcmp(opt.model, "epoll-et");
		struct epoll_event ev = {.events = EPOLLIN | (edge ? EPOLLET : 0)};
		if ((epfd = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
		if (epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &ev) < 0) die("epoll_ctl");
	}
	for (;;) {
		int timeout = answer_due();
		if (use_select) wait_select(timeout);
		else if (use_poll) wait_poll(timeout);
		else wait_epoll(timeout);
	}
}
