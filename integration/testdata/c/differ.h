/* What the parts of differ.c share: chance, addresses, what the sequence has open, and
 * how a line of its log is written.
 *
 * A line must be the same wherever the program runs, so whatever the kernel or the test
 * chose has a name in it: see say_address and say_pid. Nothing else is made alike. */
#define _GNU_SOURCE
#include "common.h"
#include <netinet/tcp.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum { LOG = 200, ORDERS, SLOTS = 8, SERVED = 8, ALL = SLOTS + SERVED, CONNECTED = 3 };

static struct {
	unsigned long seed; /* of this sequence */
	int port, wide, own_wide; /* of everybody; of addresses that are there once; and this version's own */
	int steps;          /* in each part */
	int n, generation;  /* which sequence of which version: they have addresses of their own */
	const char *dir, *without;
	char part;          /* see differ.c */
	int step, depth;
} me;

/* Each step has a chance of its own, so that steps can be left out. */
static unsigned long chance;

static unsigned long random_word(void) {
	chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
	return chance * 0x2545f4914f6cdd1dUL >> 11;
}

static void begin_chance(unsigned long a, unsigned long b) {
	chance = (a * 0x9e3779b97f4a7c15UL ^ b * 0xbf58476d1ce4e5b9UL) | 1;
	for (int n = 0; n < 8; n++) random_word();
}

static int below(int n) { return random_word() % n; }

#define ONE_OF(list) (list)[below(sizeof(list) / sizeof *(list))]

/* A place to bind to. */
struct address {
	char name[8];
	int family, type; /* type: of what serves there */
	socklen_t len;
	int zero; /* the kernel chooses */
	int absent; /* of a kind that this sequence does not serve on */
	int chmods;  /* the permissions are changed at each bind */
	int renamed; /* bound by another name first, which the socket tells ever after */
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
		char room[300];
	} a;
};

enum { OWN = 12 };
static struct address own[OWN], served[SERVED];

/* What an open socket is, as far as the calls made so far say. */
struct socket {
	int refs, family, type;
	int epoll;
	const struct address *at; /* bound there */
	int serves;    /* at is one that every version has */
	int listening, tuned, connected;
	int polled;    /* an epoll set has it */
	int old;       /* it was there when the last part began */
};

static struct {
	int fd, late; /* late: a duplicate that was made when a stand-in may be there */
	struct socket *s;
} slots[ALL];

/* early: the version does not serve yet; its predecessor does, on the same addresses. */
static int early(void) { return me.part == 'A' || me.part == 'B'; }

/* deaf: another version may have taken over from this one. */
static int deaf(void) { return me.part == 'E'; }

/* queue_is_another's: what comes to this socket is not for this version: not yet, or not
 * any more. Who gets what is what a restart is about; TestRestartUnderLoad looks at it. */
static int queue_is_anothers(const struct socket *s) { return s->serves ? early() || deaf() : s->old && deaf(); }

static int without(const char *kind) {
	size_t n = strlen(kind);
	for (const char *p = me.without; p && (p = strstr(p, kind)); p += n)
		if ((p == me.without || p[-1] == ',') && (!p[n] || p[n] == ',')) return 1;
	return 0;
}

static char line[4000];
static size_t line_len;

static void say(const char *format, ...) {
	va_list list;
	va_start(list, format);
	line_len += vsnprintf(line + line_len, sizeof line - line_len, format, list);
	if (line_len >= sizeof line) line_len = sizeof line - 1;
	va_end(list);
}

static void end_line(void) {
	say("\n");
	if (write(LOG, line, line_len) < 0) _exit(9);
	line_len = 0;
}

/* gave is a call's result, or its errno. */
static long gave(long r) {
	if (r < 0) say(" = %s", strerrorname_np(errno) ? strerrorname_np(errno) : "?");
	else say(" = %ld", r);
	return r;
}

static void say_pid(int pid) {
	const char *sign = pid < 0 ? "-" : "";
	int p = abs(pid);
	if (p == getpid()) say(" %sme", sign);
	else if (p == getpgrp()) say(" %sgroup", sign);
	else if (p == getppid()) say(" %sparent", sign);
	else say(pid > 1 && pid != 99999999 ? " somebody" : " %d", pid);
}

/* Ports that the kernel chose are numbered as they are met. */
static int port_number(int port) {
	static int known[256], n;
	for (int k = 0; k < n; k++)
		if (known[k] == port) return k;
	known[n++ & 255] = port;
	return n - 1;
}

static void say_port(int port) {
	if (port == me.port) say(":port");
	else if (port == me.wide) say(":wide");
	else if (port == me.own_wide) say(":own");
	else if (port < 1024) say(":%d", port);
	else say(":k%d", port_number(port));
}

static void say_host(unsigned host) {
	unsigned b = host >> 16 & 255, c = host >> 8 & 255;
	if (host >> 24 == 127 && c == (unsigned)me.n && b == 10U + me.generation) say(" own%d", host & 255);
	else if (host >> 24 == 127 && c == (unsigned)me.n && b == 1) say(" served%d", host & 255);
	else say(" %d.%d.%d.%d", host >> 24, b, c, host & 255);
}

static void say_path(const char *p, size_t n) {
	char own[40], shared[40];
	snprintf(own, sizeof own, "hupt-%d-%d-%d", me.port, me.n, me.generation);
	snprintf(shared, sizeof shared, "hupt-%d-%d-s", me.port, me.n);
	if (n == 0) say(" none");
	else if (p[0]) say(" path%zu %s", n - strnlen(p, n), strstr(p, "/own-") ? "own" : strrchr(p, '/') ? strrchr(p, '/') : p);
	else if (n > 5 && !strncmp(p + 1, own, strlen(own))) say(" @own+%zu", n - 1 - strlen(own));
	else if (n > 5 && !strncmp(p + 1, shared, strlen(shared))) say(" @served%s", p + 1 + strlen(shared));
	else if (n == 6) say(" @auto");
	else say(" @?%.*s", (int)n - 1, p + 1);
}

static void say_address(const void *p, socklen_t len) {
	struct sockaddr_un u = {0}; /* copied: what follows is not part of it */
	struct sockaddr_in *i = (void *)&u;
	struct sockaddr_in6 *i6 = (void *)&u;
	memcpy(&u, p, len < sizeof u ? len : sizeof u);
	say(" [%d", len > 110 || len < 2 ? (int)len : u.sun_family);
	if (len < 2) {
	} else if (u.sun_family == AF_UNIX) {
		say_path(u.sun_path, len - 2);
	} else if (u.sun_family == AF_INET) {
		say_host(ntohl(i->sin_addr.s_addr));
		say_port(ntohs(i->sin_port));
	} else if (u.sun_family == AF_INET6) {
		char text[64];
		if (IN6_IS_ADDR_V4MAPPED(&i6->sin6_addr)) {
			say(" mapped");
			say_host(ntohl(i6->sin6_addr.s6_addr32[3]));
		} else {
			say(" %s", inet_ntop(AF_INET6, &i6->sin6_addr, text, sizeof text));
		}
		say_port(ntohs(i6->sin6_port));
		say(" %d %d", i6->sin6_flowinfo, i6->sin6_scope_id);
	}
	say("]");
}

/* say_slot: a stand-in may be in the place of what was there when the last part began. */
static void say_slot(const char *call, int n) {
	const struct socket *s = slots[n].s;
	int may = s && s->old && s->at && !s->connected; /* a child may have listened on it */
	say("%s %d%s", call, slots[n].fd, !may ? "" : slots[n].late ? "(late)" : "(old)");
}

static void let_go(int n) {
	struct socket *s = slots[n].s;
	if (s && --s->refs == 0) free(s);
	slots[n].s = NULL;
	slots[n].fd = -1;
}

/* keep puts a descriptor into a slot. What was there is closed. */
static struct socket *keep(int n, int fd, struct socket *s) {
	if (fd < 0) return s;
	if (slots[n].s) {
		close(slots[n].fd);
		let_go(n);
	}
	if (!s) s = calloc(1, sizeof *s);
	s->refs++;
	slots[n].fd = fd;
	slots[n].s = s;
	slots[n].late = s->old;
	return s;
}

/* some_slot is any, or of a few tries one that has a socket. */
static int some_slot(void) {
	int n = below(ALL);
	for (int tries = 0; tries < 6 && !slots[n].s; tries++) n = below(ALL);
	return n;
}

static int own_slot(void) { return below(SLOTS); }

static int is_listening(const struct socket *s) { return s->listening && s->at; }
static int is_datagram(const struct socket *s) { return s->type == SOCK_DGRAM && s->at && !s->connected; }
static int is_new(const struct socket *s) { return !s->at && !s->connected && !s->listening && !s->epoll; }
static int is_any(const struct socket *s) { return !s->epoll; }

/* slot_that is one of the first many that has such a socket, if there is one. */
static int slot_that(int many, int (*is)(const struct socket *)) {
	int n = below(many);
	for (int tries = 0; tries < many && !(slots[n].s && is(slots[n].s)); tries++) n = (n + 1) % many;
	return n;
}

/* stays: what hupt may have a duplicate of, and an epoll set has. */
static int stays(int n) {
	const struct socket *s = slots[n].s;
	return s && s->polled && (s->serves || s->old) && without("held-polled");
}

static int free_slot(void) {
	int n = below(SLOTS);
	for (int tries = 0; tries < SLOTS && slots[n].s; tries++) n = (n + 1) % SLOTS;
	for (int tries = 0; tries < SLOTS && stays(n); tries++) n = (n + 1) % SLOTS;
	return n;
}

/* alone: nobody else has what is bound to this socket's address. Which of several gets a
 * client is the kernel's to choose. */
static int alone(const struct socket *s) {
	const struct socket *o;
	for (int n = 0; n < ALL; n++)
		if ((o = slots[n].s) && o != s && o->at == s->at && o->type == s->type) return 0;
	return s->at != NULL;
}
