/* A datagram server: whatever it gets, it answers to whoever sent it with its
 * pid and version and the text that came; "ms=500 …" after half a second, by a
 * thread of its own; "busy=500 …" too, while it receives nothing.
 *   model=recv    threads blocked in recvfrom (workers=)
 *   model=poll    poll, then recvmsg
 *   model=epoll   epoll, edge triggered, then recvmmsg until there is no more */
#include "common.h"
#include <pthread.h>
#include <sys/epoll.h>

struct message {
	int fd;
	struct sockaddr_storage from;
	socklen_t from_len;
	char text[512];
};

static void answer(struct message *m) {
	char all[700];
	if (!strncmp(m->text, "ms=", 3)) sleep_ms(atoi(m->text + 3));
	int n = snprintf(all, sizeof all, "pid=%d version=%s\n%s", (int)getpid(), version(), m->text);
	struct iovec v = {all, n};
	struct msghdr h = {.msg_name = &m->from, .msg_namelen = m->from_len, .msg_iov = &v, .msg_iovlen = 1};
	/* Both ways, in turn. */
	ssize_t sent = m->text[strlen(m->text) - 1] & 1 ? sendto(m->fd, all, n, 0, (void *)&m->from, m->from_len) : sendmsg(m->fd, &h, 0);
	if (sent != n) fprintf(stderr, "answer: %zd: %s\n", sent, strerror(errno));
}

static void *answer_later(void *p) {
	answer(p);
	__sync_fetch_and_sub(&in_hand, 1);
	free(p);
	return NULL;
}

static void got(struct message *m, ssize_t n) {
	m->text[n] = 0;
	if (n == 0) return;
	if (!strncmp(m->text, "busy=", 5)) sleep_ms(atoi(m->text + 5));
	if (strncmp(m->text, "ms=", 3)) {
		answer(m);
		return;
	}
	pthread_t t;
	struct message *copy = malloc(sizeof *copy);
	*copy = *m;
	__sync_fetch_and_add(&in_hand, 1);
	if (pthread_create(&t, NULL, answer_later, copy)) die("pthread_create");
	pthread_detach(t);
}

__attribute__((noreturn)) static void receive_all(int fd) {
	for (;;) {
		struct message m = {.fd = fd, .from_len = sizeof m.from};
		ssize_t n = recvfrom(m.fd, m.text, sizeof m.text - 1, 0, (void *)&m.from, &m.from_len);
		if (n < 0) die("recvfrom");
		got(&m, n);
	}
}

static void *receive(void *fd) { receive_all((int)(long)fd); }

/* one takes one message as recvmsg or recvmmsg give it; 0: there is none. */
static int one(int fd, int many) {
	struct message m = {.fd = fd, .from_len = sizeof m.from};
	struct iovec v = {m.text, sizeof m.text - 1};
	struct mmsghdr h = {.msg_hdr = {.msg_name = &m.from, .msg_namelen = m.from_len, .msg_iov = &v, .msg_iovlen = 1}};
	ssize_t n = recvmsg(fd, &h.msg_hdr, 0);
	if (many && n >= 0) {
		got((m.from_len = h.msg_hdr.msg_namelen, &m), n);
		m.from_len = sizeof m.from;
		h.msg_hdr.msg_namelen = sizeof m.from;
		n = recvmmsg(fd, &h, 1, 0, NULL) == 1 ? (ssize_t)h.msg_len : -1;
	}
	if (n < 0 && errno == EAGAIN) return 0;
	if (n < 0) die("recvmsg");
	m.from_len = h.msg_hdr.msg_namelen;
	got(&m, n);
	return 1;
}

int main(int argc, char **argv) {
	parse_options(argc, argv);
	opt.datagrams = 1;
	if (opt.startup_ms) sleep_ms(opt.startup_ms);
	int fd = bind_port(!strcmp(opt.model, "recv") ? 0 : SOCK_NONBLOCK);
	if (!strcmp(opt.model, "recv")) {
		for (int n = 1; n < opt.workers; n++) {
			pthread_t t;
			if (pthread_create(&t, NULL, receive, (void *)(long)fd)) die("pthread_create");
		}
		receive_all(fd);
	}
	if (!strcmp(opt.model, "poll")) {
		for (struct pollfd p = {.fd = fd, .events = POLLIN};;) {
			if (poll(&p, 1, -1) < 0) die("poll");
			one(fd, 0);
		}
	}
	int set = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &ev) < 0) die("epoll_ctl");
	for (;;) {
		if (epoll_wait(set, &ev, 1, -1) < 0) die("epoll_wait");
		while (one(fd, 1)) {
		}
	}
}
