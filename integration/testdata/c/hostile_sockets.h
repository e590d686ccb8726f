/* What hostile.c does with sockets. */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;
	char bytes[256];
};

static void put_path(union address *a, const char *path) { memcpy(a->un.sun_path, path, strnlen(path, sizeof a->un.sun_path)); }

static socklen_t some_address(union address *a) {
	const int ports[] = {0, 0, opt.port, opt.port, opt.udp, 817, 1 + below(65535)};
	memset(a, 0, sizeof *a);
	int port = ONE_OF(ports);
	switch (below(10)) {
	case 0: case 1:
		a->v4.sin_family = AF_INET, a->v4.sin_port = htons(port);
		a->v4.sin_addr.s_addr = htonl(below(4) ? INADDR_LOOPBACK + below(2) : INADDR_ANY);
		return sizeof a->v4;
	case 2:
		a->v6.sin6_family = AF_INET6, a->v6.sin6_port = htons(port);
		a->v6.sin6_addr = below(2) ? in6addr_loopback : in6addr_any;
		return sizeof a->v6;
	case 3: /* an abstract name */
		a->un.sun_family = AF_UNIX;
		return 3 + snprintf(a->un.sun_path + 1, sizeof a->un.sun_path - 1, "hostile%s%u", below(4) ? "" : "\nMAINPID=1\n", below(5));
	case 4: /* of no length, of none that fits, of another family */
		for (unsigned n = 0; n < sizeof *a; n++) a->bytes[n] = random_word();
		a->any.sa_family = below(20);
		return below(sizeof *a);
	}
	a->un.sun_family = AF_UNIX;
	put_path(a, some_path());
	return below(6) ? sizeof a->un : offsetof(struct sockaddr_un, sun_path) + below(109);
}

static int some_socket(void) {
	const int families[] = {AF_UNIX, AF_UNIX, AF_UNIX, AF_INET, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, 40 /* AF_VSOCK */, 38 /* AF_ALG */, below(46)};
	const int types[] = {SOCK_STREAM, SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_RAW, below(12)};
	const int flags[] = {0, SOCK_NONBLOCK, SOCK_CLOEXEC, SOCK_NONBLOCK | SOCK_CLOEXEC};
	const int protocols[] = {0, 0, 0, 0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, 262 /* IPPROTO_MPTCP */, below(256)};
	int family = ONE_OF(families);
	return socket(family, ONE_OF(types) | ONE_OF(flags), family == AF_UNIX ? 0 : ONE_OF(protocols));
}

static void some_option(int fd) {
	struct linger l = {1, below(2) ? 3600 : 0};
	struct timeval time = {below(2), below(1000000)};
	struct sock_filter drop[] = {{BPF_RET | BPF_K, 0, 0, below(3) ? 0 : below(20)}};
	struct sock_fprog program = {1, drop};
	int value = below(3) ? 1 : (int)random_word();
	static const struct {int level, name;} flags[] = {
		{SOL_SOCKET, SO_REUSEPORT}, {SOL_SOCKET, SO_REUSEPORT}, {SOL_SOCKET, SO_REUSEADDR}, {SOL_SOCKET, SO_KEEPALIVE}, {SOL_SOCKET, SO_RCVBUF},
		{SOL_SOCKET, SO_SNDBUF}, {SOL_SOCKET, SO_PASSCRED}, {SOL_SOCKET, SO_MARK}, {SOL_SOCKET, SO_LOCK_FILTER}, {SOL_SOCKET, SO_PEEK_OFF},
		{SOL_SOCKET, SO_DETACH_FILTER}, {SOL_SOCKET, SO_OOBINLINE}, {IPPROTO_TCP, TCP_DEFER_ACCEPT}, {IPPROTO_TCP, TCP_FASTOPEN}, {IPPROTO_TCP, TCP_NODELAY},
		{IPPROTO_TCP, TCP_CORK}, {IPPROTO_TCP, TCP_REPAIR}, {IPPROTO_IP, IP_TRANSPARENT}, {IPPROTO_IP, IP_FREEBIND}, {IPPROTO_IPV6, IPV6_V6ONLY}, {IPPROTO_UDP, 103 /* UDP_SEGMENT */},
	};
	switch (below(7)) {
	case 0: setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l); break;
	case 1: setsockopt(fd, SOL_SOCKET, below(2) ? SO_RCVTIMEO : SO_SNDTIMEO, &time, sizeof time); break;
	case 2: setsockopt(fd, SOL_SOCKET, below(2) ? SO_ATTACH_FILTER : SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program); break;
	case 3: setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 4); break;
	case 4: setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3); break;
	default: {
		int n = below(sizeof flags / sizeof *flags);
		setsockopt(fd, flags[n].level, flags[n].name, &value, sizeof value);
	}
	}
}

/* A connection whose close waits for an hour. */
static int lingering(void) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	struct linger hour = {1, 3600};
	static char b[65536];
	int l = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(l, (struct sockaddr *)&a, len) || listen(l, 1) || getsockname(l, (struct sockaddr *)&a, &len) ||
	    connect(fd, (struct sockaddr *)&a, len)) {
		close(l);
		close(fd);
		return -1;
	}
	keep(accept(l, NULL, NULL));
	close(l);
	while (send(fd, b, sizeof b, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
	}
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hour, sizeof hour);
	return fd;
}

/* Sends text to where it is said, maybe with descriptors. */
static void send_with(int s, const void *name, socklen_t len, const char *text, size_t size, int passed) {
	union {
		char b[CMSG_SPACE(sizeof(int) * 16)];
		struct cmsghdr align;
	} u = {0};
	struct iovec v = {(char *)text, size};
	struct msghdr m = {.msg_name = (void *)name, .msg_namelen = len, .msg_iov = &v, .msg_iovlen = 1};
	if (passed > 0) {
		m.msg_control = u.b, m.msg_controllen = CMSG_SPACE(sizeof(int) * passed);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(int) * passed);
		for (int n = 0; n < passed; n++) ((int *)CMSG_DATA(c))[n] = some_fd();
	}
	sendmsg(s, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void notify(void) {
	static const char *const texts[] = {"READY=1", "MAINPID=1", "WATCHDOG=trigger", "STATUS=x\nMAINPID=1", "STOPPING=1", "RELOADING=1", "FDSTORE=1",
	                                    "FDPOLL=0\nFDNAME=x", "EXTEND_TIMEOUT_USEC=99999999999", "BARRIER=1", "WATCHDOG=1", "X_HOSTILE=1\r\nMAINPID=1", "\0\n=\n", ""};
	const char *name = getenv("NOTIFY_SOCKET"), *text = ONE_OF(texts);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (!name || strlen(name) >= sizeof a.sun_path) return;
	memcpy(a.sun_path, name, strlen(name));
	if (*name == '@') a.sun_path[0] = 0;
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), many = below(4) ? 1 : 200;
	if (below(4) == 0) keep(lingering());
	while (many--) send_with(s, &a, offsetof(struct sockaddr_un, sun_path) + strlen(name), text, below(20) ? strlen(text) : 9000, below(2) ? 0 : 1 + below(8));
	close(s);
}

/* Whatever of the attacked one's can be seen in the kernel's list gets something. */
static void flood_known(void) {
	char line[512], mine[64];
	FILE *f = fopen("/proc/net/unix", "re");
	if (!f) return;
	snprintf(mine, sizeof mine, "@hupt/%d/", shared->hupt);
	while (fgets(line, sizeof line, f)) {
		char *path = strchr(line, '/'), *abstract = strstr(line, mine);
		struct sockaddr_un a = {.sun_family = AF_UNIX};
		if (abstract) path = abstract;
		else if (!path || strncmp(path, opt.arena, strrchr(opt.arena, '/') - opt.arena)) continue;
		path[strcspn(path, "\n")] = 0;
		if (strlen(path) >= sizeof a.sun_path) continue;
		size_t len = offsetof(struct sockaddr_un, sun_path) + strlen(path);
		strcpy(a.sun_path, path);
		if (abstract) a.sun_path[0] = 0;
		int s = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), d = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		if (!connect(s, (struct sockaddr *)&a, len)) send_with(s, NULL, 0, "POST /v1/stop HTTP/1.1\r\n\r\n", 26, below(3));
		for (int n = 0; n < 50; n++) send_with(d, &a, len, "\n\n\nMAINPID=1\n", 13, below(3));
		keep(s);
		close(d);
	}
	fclose(f);
}

static void socket_act(void) {
	static union address moved; /* threads write to it while others bind by it */
	union address a;
	socklen_t len = some_address(&a);
	int fd = some_fd(), pair[2];
	switch (below(16)) {
	case 0: keep(some_socket()); break;
	case 1: some_option(fd); break;
	case 2: bind(fd, &a.any, len); break;
	case 3: {
		int s = some_socket();
		if (below(3)) some_option(s);
		if (below(8) == 0) fchmod(s, 06777);
		if (below(8) == 0 && fchown(s, getuid(), getgid())) errno = 0;
		if (!bind(s, &a.any, len) && below(4)) listen(s, below(3));
		keep(s);
		break;
	}
	case 4: listen(fd, random_word() % 3 - 1); break;
	case 5: fcntl(fd, F_SETFL, O_NONBLOCK), connect(fd, &a.any, len); break;
	case 6: fcntl(fd, F_SETFL, O_NONBLOCK), keep(accept4(fd, NULL, NULL, below(2) ? SOCK_CLOEXEC : 0)); break;
	case 7: shutdown(fd, below(3)); break;
	case 8: moved = a, bind(fd, &moved.any, len); break;
	case 9: bind(fd, some_pointer(), len), listen(fd, 1); break;
	case 10: keep(below(2) ? dup(fd) : fcntl(fd, F_DUPFD_CLOEXEC, below(200))); break;
	case 11:
		if (!socketpair(AF_UNIX, below(2) ? SOCK_STREAM : SOCK_SEQPACKET, 0, pair)) {
			for (int n = below(20); n >= 0; n--) send_with(pair[0], NULL, 0, "x", 1, 1 + below(16));
			keep(pair[0]), keep(pair[1]); /* a socket may hold itself */
		}
		break;
	case 12: {
		char b[CMSG_SPACE(sizeof(int) * 16)], text[64];
		struct iovec v = {text, sizeof text};
		struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = b, .msg_controllen = sizeof b};
		struct cmsghdr *c;
		if (recvmsg(fd, &m, MSG_DONTWAIT) >= 0 && (c = CMSG_FIRSTHDR(&m)) && c->cmsg_type == SCM_RIGHTS)
			for (unsigned n = 0; n < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); n++) keep(((int *)CMSG_DATA(c))[n]);
		break;
	}
	case 13: {
		struct pollfd p[3] = {{fd, POLLIN, 0}, {some_fd(), POLLIN, 0}, {some_fd(), POLLOUT, 0}};
		struct epoll_event e = {.events = random_word(), .data.u64 = random_word()};
		int ep = epoll_create1(0);
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
		epoll_wait(ep, &e, 1, 1);
		poll(p, 3, below(3));
		keep(ep);
		break;
	}
	case 14: keep(lingering()); break;
	default: sendto(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL, &a.any, len);
	}
}
