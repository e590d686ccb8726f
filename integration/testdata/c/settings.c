/* A server that tells all settings of its listener, as it sees them, to whoever asks, and
 * once on its standard error before it serves. What its version is called says what it sets,
 * and how it ends:
 *   plain…       sets nothing
 *   sets…        sets all it can, before its bind, after it, and once it listens
 *   bad-NAME     does what NAME says, and exits with 3 without having waited
 *   late-NAME    does what NAME says, seems to serve, and exits with 3 without a single accept
 * NAME is sets, unbind (connect to AF_UNSPEC), listen (with another backlog) or shut.
 * With user=N it becomes that user before it listens, with udp=1 it takes datagrams, and joins
 * the group of lock=… if it sets anything. model=signal: it waits for SIGRTMIN, not in accept. */
#include "common.h"
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

static const struct option {
	const char *name;
	int level, number;
	int when; /* 0 before the bind, 1 after it, 2 once it listens; -1: it is only told */
	int value;
} options[] = {
	{"keepalive", SOL_SOCKET, SO_KEEPALIVE, 0, 1},
	{"keepidle", IPPROTO_TCP, TCP_KEEPIDLE, 0, 77},
	{"rcvbuf", SOL_SOCKET, SO_RCVBUF, 0, 30000},
	{"defer", IPPROTO_TCP, TCP_DEFER_ACCEPT, 0, 3},
	{"tos", IPPROTO_IP, IP_TOS, 0, 0x10},
	{"passcred", SOL_SOCKET, SO_PASSCRED, 0, 1},
	{"reuseaddr", SOL_SOCKET, SO_REUSEADDR, -1, 0},
	{"reuseport", SOL_SOCKET, SO_REUSEPORT, -1, 0},
	{"nodelay", IPPROTO_TCP, TCP_NODELAY, 1, 1},
	{"mss", IPPROTO_TCP, TCP_MAXSEG, 1, 1000},
	{"usertimeout", IPPROTO_TCP, TCP_USER_TIMEOUT, 1, 12345},
	{"mark", SOL_SOCKET, SO_MARK, 1, 7},
	{"ttl", IPPROTO_IP, IP_TTL, 1, 33},
	{"lowat", IPPROTO_TCP, TCP_NOTSENT_LOWAT, 1, 4321},
	{"priority", SOL_SOCKET, SO_PRIORITY, 2, 3},
	{"fastopen", IPPROTO_TCP, TCP_FASTOPEN, 2, 5},
	{"keepcnt", IPPROTO_TCP, TCP_KEEPCNT, 2, 4},
	{"keepintvl", IPPROTO_TCP, TCP_KEEPINTVL, 2, 5},
	{"sndbuf", SOL_SOCKET, SO_SNDBUF, 2, 40000},
	{"linger2", IPPROTO_TCP, TCP_LINGER2, 2, 3},
	{"bufferlock", SOL_SOCKET, 72 /* SO_BUF_LOCK */, -1, 0},
	{"lockfilter", SOL_SOCKET, SO_LOCK_FILTER, -1, 0},
};

static void set(int fd, int when) {
	for (unsigned n = 0; n < sizeof options / sizeof *options; n++)
		if (options[n].when == when) setsockopt(fd, options[n].level, options[n].number, &options[n].value, sizeof(int));
	struct linger linger = {1, 2};
	struct timeval wait = {0, 50000}; /* short, so that a predecessor would notice */
	struct sock_filter all[] = {{BPF_RET | BPF_K, 0, 0, 0xffff}};
	struct sock_fprog filter = {1, all};
	if (when == 1) {
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
		setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
		int large = 600000; /* root's may be larger than others' */
		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &large, sizeof large);
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof large);
		fcntl(fd, F_SETOWN, getpid());
		fcntl(fd, F_SETSIG, SIGRTMIN);
		if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC) < 0) die("F_SETFL");
	}
	if (when == 2) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
}

static char *tell(char *to, const char *name, int fd, int level, int number) {
	unsigned char v[64];
	socklen_t len = sizeof v;
	to += sprintf(to, " %s=", name);
	if (getsockopt(fd, level, number, v, &len) < 0) return to + sprintf(to, "?");
	for (socklen_t n = 0; n < len; n++) to += sprintf(to, "%02x", v[n]);
	return to;
}

/* settings is all of them. Processes are named by what they are to this one. */
static const char *settings(int fd, int conn) {
	static char text[4096];
	char *to = text;
	socklen_t filter = 0;
	struct tcp_info info;
	struct ucred cred;
	socklen_t len = sizeof info, credlen = sizeof cred;
	for (unsigned n = 0; n < sizeof options / sizeof *options; n++)
		to = tell(to, options[n].name, fd, options[n].level, options[n].number);
	struct linger linger;
	socklen_t lingerlen = sizeof linger;
	if (getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &lingerlen) == 0) /* the time of one that is off means nothing */
		to += sprintf(to, " linger=%d", linger.l_onoff ? linger.l_linger : -1);
	to = tell(to, "sndtimeo", fd, SOL_SOCKET, SO_SNDTIMEO);
	to = tell(to, "rcvtimeo", fd, SOL_SOCKET, SO_RCVTIMEO);
	to = tell(to, "congestion", fd, IPPROTO_TCP, TCP_CONGESTION);
	to = tell(to, "device", fd, SOL_SOCKET, SO_BINDTODEVICE);
	getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &filter);
	int owner = fcntl(fd, F_GETOWN);
	to += sprintf(to, " filter=%d owner=%s signal=%d flags=%x", (int)filter, owner == getpid() ? "me" : owner ? "another" : "none",
	              fcntl(fd, F_GETSIG), fcntl(fd, F_GETFL));
	if (conn < 0) return text;
	if (!opt.path && !opt.udp && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0) to += sprintf(to, " backlog=%u", info.tcpi_sacked);
	if (opt.path && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &credlen) == 0)
		to += sprintf(to, " listens=%s,%d", cred.pid == getpid() ? "me" : "another", (int)cred.uid);
	to = tell(to, "its-nodelay", conn, IPPROTO_TCP, TCP_NODELAY);
	to = tell(to, "its-keepidle", conn, IPPROTO_TCP, TCP_KEEPIDLE);
	to = tell(to, "its-bufferlock", conn, SOL_SOCKET, 72);
	return text;
}

static void serve(int fd, int conn) {
	char buf[8192];
	int n = read(conn, buf, sizeof buf - 1);
	buf[n > 0 ? n : 0] = 0;
	if (strncmp(buf, "settings", 8)) {
		respond(conn);
	} else {
		n = snprintf(buf, sizeof buf, "%d %s%s", (int)getpid(), version(), settings(fd, conn));
		write_all(conn, buf, n);
	}
	close_connection(conn);
}

int main(int argc, char **argv) {
	const char *group = NULL;
	int user = 0, kept = 1;
	for (int n = 1; n < argc; n++) {
		if (!strncmp(argv[n], "group=", 6)) group = argv[n] + 6;
		else if (!strncmp(argv[n], "user=", 5)) user = atoi(argv[n] + 5);
		else argv[kept++] = argv[n];
	}
	parse_options(kept, argv);
	const char *v = version(), *what = strchr(v, '-');
	int bad = !strncmp(v, "bad-", 4), late = !strncmp(v, "late-", 5), sets = !strncmp(v, "sets", 4);
	what = bad || late ? what + 1 : "";
	sets = sets || !strcmp(what, "sets");
	int signals = !strcmp(opt.model, "signal"), one = 1, fd;
	struct sockaddr_un u = {.sun_family = AF_UNIX};
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(opt.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr unspec = {.sa_family = AF_UNSPEC};
	sigset_t set_of;
	sigemptyset(&set_of);
	sigaddset(&set_of, SIGRTMIN);
	sigaddset(&set_of, SIGIO);
	sigprocmask(SIG_BLOCK, &set_of, NULL);
	if ((fd = socket(opt.path ? AF_UNIX : AF_INET, opt.udp ? SOCK_DGRAM : SOCK_STREAM, 0)) < 0) die("socket");
	if (sets) set(fd, 0);
	if (opt.path) {
		snprintf(u.sun_path, sizeof u.sun_path, "%s", opt.path);
		unlink(opt.path);
		if (bind(fd, (struct sockaddr *)&u, sizeof u) < 0) die("bind");
		if (chmod(opt.path, 0666) < 0) die("chmod");
	} else {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0) die("bind");
	}
	if (sets) set(fd, 1);
	if (user && !bad && (setgid(user) < 0 || setuid(user) < 0)) die("setuid");
	if (!strcmp(what, "unbind")) connect(fd, &unspec, sizeof unspec);
	if (!opt.udp && strcmp(what, "unbind") && listen(fd, !strcmp(what, "listen") ? 3 : sets ? 55 : 99) < 0) die("listen");
	if (sets) set(fd, 2);
	if (group && sets) {
		struct ip_mreqn m = {.imr_ifindex = 1};
		inet_pton(AF_INET, group, &m.imr_multiaddr);
		if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m) < 0) die("IP_ADD_MEMBERSHIP");
	}
	if (signals) {
		fcntl(fd, F_SETOWN, getpid());
		fcntl(fd, F_SETSIG, SIGRTMIN);
		if (fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC) < 0) die("F_SETFL");
	}
	if (!strcmp(what, "shut")) shutdown(fd, SHUT_RDWR);
	fprintf(stderr, "%s sees%s\n", v, settings(fd, -1));
	if (bad) {
		sleep_ms(150); /* for its predecessor to notice */
		return 3;
	}
	if (late) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		for (long end = now_ms() + 150, left; (left = end - now_ms()) > 0;) poll(&p, 1, left);
		return 3;
	}
	while (opt.udp) {
		char buf[4096];
		socklen_t len = sizeof a;
		if (recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&a, &len) < 0) {
			if (errno == EAGAIN && sets) continue;
			die("recvfrom");
		}
		int n = snprintf(buf, sizeof buf, "%d %s%s", (int)getpid(), v, settings(fd, -1));
		if (sendto(fd, buf, n, 0, (struct sockaddr *)&a, len) < 0) die("sendto");
	}
	for (;;) {
		int conn = accept(fd, NULL, NULL);
		if (conn >= 0) {
			serve(fd, conn);
			continue;
		}
		if (errno != EAGAIN || (!sets && !signals)) die("accept");
		if (signals) sigwaitinfo(&set_of, NULL);
	}
}
