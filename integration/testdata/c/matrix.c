/* Every way to wait, in every shape of program, on every kind of socket:
 *   model=simple   blocks in accept() or recvfrom(), and serves what it gets
 *   model=select, poll, epoll   waits so, with a socket that does not block
 *   model=thread   a thread for each connection
 *   model=fork     a process for each
 *   model=threads  workers threads on one socket
 *   model=pool     workers processes on one socket
 *   model=daemon   forks twice, and its first process exits
 *   model=nested   a master whose two sub-masters have two workers each
 * udp=1: on a datagram socket, where there are connections otherwise. */
#include "common.h"
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/select.h>

static int sock, epfd = -1;
static int is(const char *model) { return !strcmp(opt.model, model); }

static int open_datagram(int type) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(opt.port)};
	int fd = socket(AF_INET, SOCK_DGRAM | type, 0);
	inet_pton(AF_INET, opt.host, &a.sin_addr);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0) die("bind");
	return fd;
}

static void *serve_connection(void *fd) {
	serve_blocking((int)(intptr_t)fd);
	return NULL;
}

static void serve_new(int fd) {
	pthread_t thread;
	int flags = fcntl(fd, F_GETFL);
	fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	if (is("thread")) {
		if (pthread_create(&thread, NULL, serve_connection, (void *)(intptr_t)fd)) die("pthread_create");
		pthread_detach(thread);
	} else if (is("fork")) {
		pid_t child = fork();
		if (child < 0) die("fork");
		if (child == 0) {
			close(sock);
			serve_blocking(fd);
			_exit(0);
		}
		close(fd);
		while (waitpid(-1, NULL, WNOHANG) > 0) {
		}
	} else {
		serve_blocking(fd);
	}
}

/* take serves one client. It reports 0 if there is none. */
static int take(void) {
	if (!opt.udp) {
		int fd = accept(sock, NULL, NULL);
		if (fd >= 0) serve_new(fd);
		else if (errno != EAGAIN && errno != ECONNABORTED) die("accept");
		return fd >= 0;
	}
	char buf[1024];
	struct sockaddr_storage from;
	socklen_t len = sizeof from;
	ssize_t n = recvfrom(sock, buf, sizeof buf - 1, 0, (struct sockaddr *)&from, &len);
	if (n < 0 && errno == EAGAIN) return 0;
	if (n < 0) die("recvfrom");
	buf[n] = 0;
	sleep_ms(requested_delay(buf));
	n = snprintf(buf, sizeof buf, "pid=%d version=%s\n", (int)getpid(), version());
	if (sendto(sock, buf, n, 0, (struct sockaddr *)&from, len) != n) die("sendto");
	return 1;
}

static void *serve(void *unused) {
	(void)unused;
	for (;;) {
		if (is("select")) {
			fd_set set;
			FD_ZERO(&set);
			FD_SET(sock, &set);
			if (select(sock + 1, &set, NULL, NULL, NULL) < 0) die("select");
		} else if (is("poll")) {
			struct pollfd p = {.fd = sock, .events = POLLIN};
			if (poll(&p, 1, -1) < 0) die("poll");
		} else if (is("epoll")) {
			struct epoll_event e;
			if (epoll_wait(epfd, &e, 1, -1) < 0) die("epoll_wait");
		}
		while (take()) {
		}
	}
	return NULL;
}

/* worker is a child that dies with its parent. */
static pid_t worker(void (*run)(void)) {
	pid_t parent = getpid(), child = fork();
	if (child < 0) die("fork");
	if (child > 0) return child;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent) _exit(0);
	run();
	_exit(0);
}

static void serving(void) { serve(NULL); }

static void await_children(void) {
	while (wait(NULL) > 0 || errno == EINTR) {
	}
	exit(1);
}

static void submaster(void) {
	for (int i = 0; i < 2; i++) worker(serving);
	await_children();
}

int main(int argc, char **argv) {
	pthread_t thread;
	parse_options(argc, argv);
	if (is("daemon")) {
		if (fork()) _exit(0);
		setsid();
		if (fork()) _exit(0);
	}
	int type = is("select") || is("poll") || is("epoll") ? SOCK_NONBLOCK : 0;
	sock = opt.udp ? open_datagram(type) : open_listener(type);
	if (is("epoll")) {
		struct epoll_event e = {.events = EPOLLIN};
		if ((epfd = epoll_create1(0)) < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, sock, &e)) die("epoll");
	}
	for (int i = 1; is("threads") && i < opt.workers; i++)
		if (pthread_create(&thread, NULL, serve, NULL)) die("pthread_create");
	for (int i = 0; is("pool") && i < opt.workers; i++) worker(serving);
	for (int i = 0; is("nested") && i < 2; i++) worker(submaster);
	if (is("pool") || is("nested")) await_children();
	serve(NULL);
}
