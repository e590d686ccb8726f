/* What every C server here shares: its options, its socket, its HTTP, and the
 * version that the tests bake in. Each server is a few lines that show one way
 * to wait for connections. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The tests overwrite the sixteen characters behind the colon in a copy of
 * the program: that is what "new code" is to them. volatile, so that no
 * compiler folds it into an instruction where it could not be found. */
static const volatile char baked_version[] = "hupt-code-version:0               ";

static char version_text[17];

static const char *version(void) {
	size_t start = strlen("hupt-code-version:"), n = 0;
	while (n < 16 && baked_version[start + n] > ' ') {
		version_text[n] = baked_version[start + n];
		n++;
	}
	version_text[n] = 0;
	return version_text;
}

static struct {
	const char *host;
	int port;
	int startup_ms;   /* sleep before socket() */
	int listening_ms; /* sleep between listen() and the first wait */
	int blocks_ms; /* of blocked.c */
	int fd;        /* an inherited listening socket to serve, instead of a port */
	int workers;
	int reuseport;
	const char *pidfile;
	const char *lock; /* a file that must not be locked by another one */
	const char *model;
	const char *path;   /* of a Unix socket, instead of a port; @name is abstract */
	const char *unlink; /* that path: "before" the bind, at the "end" (TERM), or "both" */
	int packets;        /* SOCK_SEQPACKET, not SOCK_STREAM */
	int datagrams;      /* SOCK_DGRAM; set by the program */
	int rename;         /* bind to path.tmp, then rename it to path; 2: once it listens there */
	int mode;           /* chmod the path to that; 0: leave it */
	int udp;            /* a datagram socket, where the server knows them */
	const char *arena;  /* of hostile.c, and whatever it executes itself with */
	unsigned long seed;
	int probes; /* connect to one's own path before the bind: nobody is to be there */
} opt = {"127.0.0.1", 0, 0, 0, 0, -1, 8, 0, NULL, NULL, "", NULL, "", 0, 0, 0, 0, 0, NULL, 0, 0};

static void die(const char *what) {
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(2);
}

/* sleep_ms sleeps the whole time, whatever interrupts it. */
static void sleep_ms(long ms) {
	struct timespec left = {ms / 1000, ms % 1000 * 1000000};
	while (nanosleep(&left, &left) < 0 && errno == EINTR) {
	}
}

static long now_ms(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* number_in reads a number from a file: a new version may have another one. */
static int number_in(const char *path) {
	int n;
	FILE *f = fopen(path, "r");
	if (!f) die(path);
	if (fscanf(f, "%d", &n) != 1) die(path);
	fclose(f);
	return n;
}

static void parse_options(int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		if (!value) {
			fprintf(stderr, "%s: want name=value\n", argv[i]);
			exit(2);
		}
		*value++ = 0;
		if (!strcmp(argv[i], "host")) opt.host = value;
		else if (!strcmp(argv[i], "port")) opt.port = atoi(value);
		else if (!strcmp(argv[i], "startup")) opt.startup_ms = atoi(value);
		else if (!strcmp(argv[i], "listening")) opt.listening_ms = atoi(value);
		else if (!strcmp(argv[i], "blocks")) opt.blocks_ms = atoi(value);
		else if (!strcmp(argv[i], "fd")) opt.fd = atoi(value);
		else if (!strcmp(argv[i], "workers")) opt.workers = *value == '@' ? number_in(value + 1) : atoi(value);
		else if (!strcmp(argv[i], "reuseport")) opt.reuseport = atoi(value);
		else if (!strcmp(argv[i], "pidfile")) opt.pidfile = value;
		else if (!strcmp(argv[i], "lock")) opt.lock = value;
		else if (!strcmp(argv[i], "model")) opt.model = value;
		else if (!strcmp(argv[i], "path")) opt.path = value;
		else if (!strcmp(argv[i], "unlink")) opt.unlink = value;
		else if (!strcmp(argv[i], "packets")) opt.packets = atoi(value);
		else if (!strcmp(argv[i], "rename")) opt.rename = atoi(value);
		else if (!strcmp(argv[i], "udp")) opt.udp = atoi(value);
		else if (!strcmp(argv[i], "arena")) opt.arena = value;
		else if (!strcmp(argv[i], "probes")) opt.probes = atoi(value);
		else if (!strcmp(argv[i], "seed")) opt.seed = strtoul(value, NULL, 10);
		else if (!strcmp(argv[i], "mode")) opt.mode = strtol(value, NULL, 8);
		else {
			fprintf(stderr, "%s: unknown option\n", argv[i]);
			exit(2);
		}
		value[-1] = '='; /* so that /proc/PID/cmdline reads as it was typed */
	}
	if (opt.lock && flock(open(opt.lock, O_CREAT | O_RDWR | O_CLOEXEC, 0644), LOCK_EX | LOCK_NB) < 0) die(opt.lock);
}

static volatile int in_hand; /* what is still to be answered at the end */

static int unlinks(const char *when) { return !strcmp(opt.unlink, when) || !strcmp(opt.unlink, "both"); }

static void unlink_and_exit(int sig) {
	(void)sig;
	if (unlinks("end")) unlink(opt.path);
	while (in_hand > 0) usleep(1000);
	_exit(0);
}

/* give_up ends a version that is named after what it does not get over. */
static void give_up(const char *what) {
	if (strcmp(version(), what)) return;
	fprintf(stderr, "%s\n", what);
	if (unlinks("end")) unlink(opt.path);
	exit(3);
}

/* probe connects to where the program is about to listen, or listens: nobody is there
 * before, and it itself is afterwards. */
static void probe(const struct sockaddr_un *a, socklen_t len, int listens) {
	int fd = socket(AF_UNIX, opt.packets ? SOCK_SEQPACKET : SOCK_STREAM, 0);
	int got = connect(fd, (struct sockaddr *)a, len) == 0;
	if (!got && (listens || (errno != ECONNREFUSED && errno != ENOENT))) die("connect to myself");
	if (got && !listens) {
		fprintf(stderr, "another one listens there\n");
		exit(78);
	}
	close(fd);
}

/* bind_path is bind_port for a Unix socket. */
static int bind_path(int type) {
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	socklen_t len = sizeof a;
	int fd = socket(AF_UNIX, (opt.datagrams ? SOCK_DGRAM : opt.packets ? SOCK_SEQPACKET : SOCK_STREAM) | type, 0);
	if (fd < 0) die("socket");
	snprintf(a.sun_path, sizeof a.sun_path, "%s%s", opt.path, opt.rename ? ".tmp" : "");
	if (opt.path[0] == '@') {
		len = offsetof(struct sockaddr_un, sun_path) + strlen(a.sun_path);
		a.sun_path[0] = 0;
	}
	if (unlinks("end") || opt.datagrams) {
		struct sigaction s = {.sa_handler = unlink_and_exit};
		sigaction(SIGTERM, &s, NULL);
	}
	if (opt.probes) probe(&a, len, 0);
	if ((opt.probes || unlinks("before")) && unlink(a.sun_path) < 0 && errno != ENOENT) die("unlink");
	give_up("bad-unlink");
	if (!strcmp(version(), "elsewhere")) strcat(a.sun_path, "2");
	if (bind(fd, (struct sockaddr *)&a, len) < 0) die("bind");
	if (opt.probes && listen(fd, 1024) == 0) probe(&a, len, 1);
	give_up("bad-bind");
	if (opt.mode && chmod(a.sun_path, opt.mode) < 0) die("chmod");
	if (opt.rename == 1 && rename(a.sun_path, opt.path) < 0) die("rename");
	give_up("bad-rename");
	return fd;
}

/* bind_port makes the socket and binds it, after the startup sleep. */
static int bind_port(int type) {
	int one = 1, fd;
	if (opt.path) return bind_path(type);
	if (strchr(opt.host, ':')) {
		struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(opt.port)};
		inet_pton(AF_INET6, opt.host, &a.sin6_addr);
		if ((fd = socket(AF_INET6, SOCK_STREAM | type, 0)) < 0) die("socket");
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		if (opt.reuseport) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
		if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0) die("bind");
		return fd;
	}
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(opt.port)};
	inet_pton(AF_INET, opt.host, &a.sin_addr);
	if ((fd = socket(AF_INET, SOCK_STREAM | type, 0)) < 0) die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (opt.reuseport) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0) die("bind");
	return fd;
}

/* open_listener is bind_port, listen and both sleeps. type is 0 for a
 * blocking listener, SOCK_NONBLOCK for one that is not. */
static int open_listener(int type) {
	if (opt.startup_ms) sleep_ms(opt.startup_ms);
	if (opt.fd >= 0) return opt.fd;
	int fd = bind_port(type);
	if (listen(fd, 1024) < 0) die("listen");
	if (opt.path && opt.rename == 2) {
		char tmp[sizeof((struct sockaddr_un *)0)->sun_path];
		snprintf(tmp, sizeof tmp, "%s.tmp", opt.path);
		if (rename(tmp, opt.path) < 0) die("rename");
	}
	if (opt.path) give_up("bad-listen");
	if (opt.path && !strcmp(version(), "bad-probation")) {
		/* It seems to serve, and goes without a single accept. */
		signal(SIGALRM, unlink_and_exit);
		ualarm(100000, 0);
		for (struct pollfd p = {.fd = fd, .events = POLLIN};; sleep_ms(5)) poll(&p, 1, -1);
	}
	if (opt.listening_ms) sleep_ms(opt.listening_ms);
	return fd;
}

/* requested_delay is 500 for "GET /slow?ms=500 …", else 0. */
static long requested_delay(const char *request) {
	const char *end = strchr(request, '\r');
	const char *ms = strstr(request, "ms=");
	return ms && (!end || ms < end) ? atol(ms + 3) : 0;
}

static void write_all(int fd, const char *p, size_t n) {
	while (n > 0) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR) continue;
		if (sent <= 0) {
			fprintf(stderr, "send: %s\n", strerror(errno));
			return;
		}
		p += sent;
		n -= sent;
	}
}

static void respond(int fd) {
	char body[96], all[256];
	int n = snprintf(body, sizeof body, "pid=%d version=%s\n", (int)getpid(), version());
	n = snprintf(all, sizeof all,
	             "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n%s", n, body);
	write_all(fd, all, n);
}

/* close_connection ends a connection so that the client surely gets all that
 * was sent: a close() with unread bytes would send a reset. */
static void close_connection(int fd) {
	shutdown(fd, SHUT_WR);
	close(fd);
}

/* serve_blocking reads one request, waits as it asks, answers and closes. */
static void serve_blocking(int fd) {
	char buf[4096];
	size_t have = 0;
	while (have < sizeof buf - 1) {
		ssize_t n = read(fd, buf + have, sizeof buf - 1 - have);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) {
			if (n < 0 || have) fprintf(stderr, "read of a request: %s after %zu bytes\n", n < 0 ? strerror(errno) : "end", have);
			close(fd);
			return;
		}
		have += n;
		buf[have] = 0;
		if (strstr(buf, "\r\n\r\n")) break;
	}
	buf[have] = 0;
	long delay = requested_delay(buf);
	if (delay) sleep_ms(delay);
	respond(fd);
	close_connection(fd);
}
