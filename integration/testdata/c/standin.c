/* A server that tells what it sees of its own listener: whoever sends a line gets its
 * names, flags and every socket option, then a line with a dot. It has options of its
 * own set, so that they are not the usual ones. model=timeout: SO_RCVTIMEO on the
 * listener; it says "tick" each time that accept() gives EAGAIN. model=late: it polls
 * and then calls accept(), which blocks, or does that alone after a SIGUSR1. Who comes from another family is told of. The
 * version "dies" does so a tenth of a second after it listens. */
#include "common.h"
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/time.h>

static int listener;

static void option(FILE *out, int level, int name) {
	unsigned char b[256] = {0};
	socklen_t n = sizeof b;
	if (getsockopt(listener, level, name, b, &n) < 0) return;
	fprintf(out, "option %d %d:", level, name);
	for (socklen_t i = 0; i < n && i < sizeof b; i++) fprintf(out, " %02x", b[i]);
	fprintf(out, "\n");
}

static void tell(FILE *out) {
	unsigned char a[sizeof(struct sockaddr_storage)];
	socklen_t n = sizeof a;
	struct stat st;
	struct f_owner_ex owner = {0};
	int levels[] = {SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP};
	if (getsockname(listener, (struct sockaddr *)a, &n) == 0) {
		fprintf(out, "name %u:", n);
		for (socklen_t i = 0; i < n && i < sizeof a; i++) fprintf(out, " %02x", a[i]);
		fprintf(out, "\n");
	}
	fprintf(out, "flags %x %x\n", fcntl(listener, F_GETFL), fcntl(listener, F_GETFD));
	fcntl(listener, F_GETOWN_EX, &owner);
	fprintf(out, "owner %d %d, signal %d\n", owner.type, owner.pid, fcntl(listener, F_GETSIG));
	fstat(listener, &st);
	fprintf(out, "of %d:%d\n", st.st_uid, st.st_gid);
	for (size_t l = 0; l < sizeof levels / sizeof *levels; l++)
		for (int name = 0; name < 100; name++) option(out, levels[l], name);
	fprintf(out, ".\n");
	fflush(out);
}

static void *serve(void *conn) {
	struct timeval none = {0, 0}; /* it has the listener's time-outs */
	setsockopt((int)(long)conn, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
	setsockopt((int)(long)conn, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
	FILE *in = fdopen((int)(long)conn, "r"), *out = fdopen(dup((int)(long)conn), "w");
	char line[100];
	while (fgets(line, sizeof line, in)) tell(out);
	fclose(in);
	fclose(out);
	return NULL;
}

static volatile sig_atomic_t polled;

static void usr1(int sig) {
	(void)sig;
	polled = 1;
}

static void set(int level, int name, int value) { setsockopt(listener, level, name, &value, sizeof value); }

static void prepare(void) {
	struct linger linger = {1, 7};
	struct timeval t = {0, 50000};
	set(SOL_SOCKET, SO_KEEPALIVE, 1);
	set(SOL_SOCKET, SO_RCVBUF, 30000);
	set(SOL_SOCKET, SO_SNDBUF, 40000);
	set(SOL_SOCKET, SO_PRIORITY, 3);
	set(SOL_SOCKET, SO_RCVLOWAT, 3);
	set(SOL_SOCKET, SO_OOBINLINE, 1);
	setsockopt(listener, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
	set(IPPROTO_IP, IP_TOS, 16);
	set(IPPROTO_IP, IP_TTL, 77);
	set(IPPROTO_IPV6, IPV6_TCLASS, 32);
	set(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 66);
	set(IPPROTO_TCP, TCP_NODELAY, 1);
	set(IPPROTO_TCP, TCP_KEEPIDLE, 111);
	set(IPPROTO_TCP, TCP_KEEPINTVL, 22);
	set(IPPROTO_TCP, TCP_KEEPCNT, 5);
	set(IPPROTO_TCP, TCP_SYNCNT, 4);
	set(IPPROTO_TCP, TCP_LINGER2, 33);
	set(IPPROTO_TCP, TCP_USER_TIMEOUT, 44444);
	set(IPPROTO_TCP, TCP_FASTOPEN, 5);
	set(IPPROTO_TCP, TCP_MAXSEG, 1200);
	set(IPPROTO_TCP, TCP_NOTSENT_LOWAT, 55555);
	set(IPPROTO_TCP, TCP_WINDOW_CLAMP, 66666);
	if (!strcmp(opt.model, "timeout")) setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	else setsockopt(listener, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
	fcntl(listener, F_SETOWN, getpid());
	fcntl(listener, F_SETSIG, SIGURG);
}

int main(int argc, char **argv) {
	parse_options(argc, argv);
	listener = bind_port(0);
	prepare();
	if (listen(listener, 17) < 0) die("listen");
	if (!strcmp(version(), "dies")) ualarm(100000, 0);
	sa_family_t family = opt.path ? AF_UNIX : strchr(opt.host, ':') ? AF_INET6 : AF_INET;
	struct sigaction s = {.sa_handler = usr1};
	if (!strcmp(opt.model, "late")) sigaction(SIGUSR1, &s, NULL);
	for (;;) {
		struct sockaddr_storage a = {0};
		socklen_t n = sizeof a;
		struct pollfd p = {.fd = listener, .events = POLLIN};
		/* A signal that comes just before it waits is looked at a moment later. */
		if (!strcmp(opt.model, "late") && poll(&p, 1, 20) != 1 && !polled) continue;
		int conn = accept(listener, (struct sockaddr *)&a, &n);
		if (conn < 0 && errno == EAGAIN && !strcmp(opt.model, "timeout")) {
			static int ticks;
			if (ticks++ % 4 == 0) fprintf(stderr, "tick of %s\n", version());
			continue;
		}
		if (conn < 0) die("accept");
		if (polled) {
			polled = 0;
			fprintf(stderr, "woken\n");
		}
		if (a.ss_family != family) fprintf(stderr, "a stranger of family %d\n", a.ss_family);
		pthread_t t;
		if (pthread_create(&t, NULL, serve, (void *)(long)conn) == 0) pthread_detach(t);
	}
}
