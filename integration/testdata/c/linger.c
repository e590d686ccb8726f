/* A server with a connection whose close waits for an hour (SO_LINGER). model:
 * bind: it binds that, too, to its address. hold: it just has it. notify: it gives
 * it away, to NOTIFY_SOCKET, before it says that it is ready. memory: it binds
 * with an address in memory that nobody serves (userfaultfd(2)). */
#include "common.h"
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static int lingering(void) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	struct linger hour = {1, 3600};
	static char b[65536];
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(l, (struct sockaddr *)&a, len) < 0 || listen(l, 1) < 0) die("listen");
	getsockname(l, (struct sockaddr *)&a, &len);
	if (connect(fd, (struct sockaddr *)&a, len) < 0) die("connect");
	int peer = accept(l, NULL, NULL); /* it does not read, beyond an execve either */
	if (peer < 0) die("accept");
	close(l);
	while (send(fd, b, sizeof b, MSG_DONTWAIT) > 0) {
	}
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hour, sizeof hour);
	return fd;
}

/* notify sends a text to NOTIFY_SOCKET, and with it a descriptor. */
static void notify(const char *text, int fd) {
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	union {
		char b[CMSG_SPACE(sizeof fd)];
		struct cmsghdr align;
	} u = {0};
	struct iovec v = {(char *)text, strlen(text)};
	struct msghdr m = {.msg_name = &a, .msg_iov = &v, .msg_iovlen = 1};
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (!name) die("NOTIFY_SOCKET");
	memcpy(a.sun_path, name, strlen(name));
	if (*name == '@') a.sun_path[0] = 0;
	m.msg_namelen = offsetof(struct sockaddr_un, sun_path) + strlen(name);
	if (fd >= 0) {
		m.msg_control = u.b, m.msg_controllen = sizeof u.b;
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	if (sendmsg(s, &m, 0) < 0) die("sendmsg");
	close(s);
}

static void bind_unserved(void) {
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register r = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	int u = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (u < 0 || ioctl(u, UFFDIO_API, &api) < 0) die("userfaultfd");
	r.range.start = (unsigned long)page, r.range.len = 4096;
	if (ioctl(u, UFFDIO_REGISTER, &r) < 0) die("userfaultfd");
	fprintf(stderr, "unserved\n");
	bind(socket(AF_INET, SOCK_STREAM, 0), page, 16);
}

int main(int argc, char **argv) {
	struct sockaddr_in a = {.sin_family = AF_INET};
	parse_options(argc, argv);
	a.sin_port = htons(opt.port);
	inet_pton(AF_INET, opt.host, &a.sin_addr);
	int fd = strcmp(opt.model, "memory") ? lingering() : -1;
	if (!strcmp(opt.model, "bind"))
		fprintf(stderr, "bind %s: %s\n", version(), bind(fd, (struct sockaddr *)&a, sizeof a) < 0 ? strerror(errno) : "done");
	if (!strcmp(opt.model, "notify"))
		for (int n = 0; n < 5; n++) {
			/* By a child: the end of a process does not linger, a close here would if it
			 * were the last. So the child waits until it is not. */
			int closed[2];
			char end;
			if (n) fd = lingering();
			if (pipe(closed) < 0) die("pipe");
			pid_t child = fork();
			if (!child) {
				close(closed[1]);
				if (read(closed[0], &end, 1) < 0) die("read");
				notify("X_GIVEN=1", fd);
				_exit(0);
			}
			close(fd);
			close(closed[0]);
			close(closed[1]);
			waitpid(child, NULL, 0);
		}
	int listener = open_listener(0);
	if (!strcmp(opt.model, "notify")) notify("READY=1", -1);
	if (!strcmp(opt.model, "memory") && !fork()) {
		sleep_ms(300);
		bind_unserved();
	}
	for (;;) serve_blocking(accept(listener, NULL, NULL));
}
