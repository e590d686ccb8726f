/* The addresses of a sequence: its version's own, which nobody else has, and
 * those that every version of it serves on. */

static struct address *next_at;

static void at_inet(int family, unsigned second, unsigned last, int port) {
	unsigned host = 127U << 24 | second << 16 | (unsigned)me.n << 8 | last;
	next_at->family = family;
	next_at->zero = port == 0;
	if (family == AF_INET) {
		next_at->len = sizeof(struct sockaddr_in);
		next_at->a.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(host)};
	} else {
		next_at->len = sizeof(struct sockaddr_in6);
		next_at->a.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
		next_at->a.in6.sin6_addr.s6_addr32[2] = htonl(0xffff);
		next_at->a.in6.sin6_addr.s6_addr32[3] = htonl(host);
	}
	next_at++;
}

static void at_text(const char *text, int port) {
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;
	next_at->family = family;
	next_at->len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	next_at->a.in.sin_family = family;
	next_at->a.in.sin_port = htons(port);
	next_at->zero = port == 0;
	inet_pton(family, text, family == AF_INET ? (void *)&next_at->a.in.sin_addr : (void *)&next_at->a.in6.sin6_addr);
	next_at++;
}

static void at_path(const char *format, ...) {
	va_list list;
	va_start(list, format);
	next_at->family = AF_UNIX;
	next_at->a.un.sun_family = AF_UNIX;
	int n = vsnprintf(next_at->a.un.sun_path, sizeof next_at->a.un.sun_path, format, list);
	va_end(list);
	next_at->len = 2 + n + 1;
	if (next_at->a.un.sun_path[0] == '@') {
		next_at->a.un.sun_path[0] = 0;
		next_at->len--;
	}
	/* Directories of the test have names of different lengths. */
	if (next_at->a.un.sun_path[0] == '/') next_at->len = sizeof(struct sockaddr_un);
	next_at->zero = n == 0;
	if (n == 0) next_at->len = 2; /* the kernel chooses a name */
	next_at++;
}

static int has_file(const struct address *a) { return a->family == AF_UNIX && a->a.un.sun_path[0]; }

static void make_addresses(void) {
	unsigned mine = 10 + me.generation;
	next_at = own;
	at_inet(AF_INET, mine, 1, me.port);
	at_inet(AF_INET, mine, 2, me.port);
	at_inet(AF_INET6, mine, 3, me.port);
	/* There is one ::1, so one sequence has it. */
	if (me.n == 1) at_text("::1", me.own_wide);
	else at_inet(AF_INET6, mine, 4, me.port);
	if (me.n == 1) at_text(me.seed & 1 ? "0.0.0.0" : "::", me.own_wide);
	else at_inet(AF_INET, mine, 5, me.port);
	at_inet(AF_INET, mine, 1, 0);
	at_text("::1", 0);
	at_path("%s/own-%d-%d/a", me.dir, me.generation, me.n);
	at_path("b");
	at_path("@hupt-%d-%d-%d", me.port, me.n, me.generation);
	at_path("");
	at_text("192.0.2.1", me.port); /* not this machine's */
	next_at = served;
	at_inet(AF_INET, 1, 1, me.port), next_at[-1].type = SOCK_STREAM;
	if (me.n == 0) at_text(me.seed & 1 ? "::1" : "0.0.0.0", me.wide);
	else at_inet(AF_INET6, 1, 2, me.port);
	next_at[-1].type = SOCK_STREAM;
	at_inet(AF_INET, 1, 1, me.port), next_at[-1].type = SOCK_DGRAM;
	at_inet(AF_INET6, 1, 3, me.port), next_at[-1].type = SOCK_DGRAM;
	at_path("%s/s%d/stream", me.dir, me.n), next_at[-1].type = SOCK_STREAM;
	at_path("@hupt-%d-%d-spackets", me.port, me.n), next_at[-1].type = SOCK_SEQPACKET;
	at_path("%s/s%d/datagrams", me.dir, me.n), next_at[-1].type = SOCK_DGRAM;
	at_path("@hupt-%d-%d-sstream", me.port, me.n), next_at[-1].type = SOCK_STREAM;
	for (int n = 0; n < OWN; n++) sprintf(own[n].name, "P%d", n);
	for (int n = 0; n < SERVED; n++) {
		sprintf(served[n].name, "S%d", n);
		begin_chance(me.seed, 1000 + n);
		served[n].absent = below(2);
		served[n].renamed = has_file(&served[n]) && below(3) == 0;
		served[n].chmods = has_file(&served[n]) && below(2);
	}
}

/* serve_options are those that every version gives what it serves on. */
static void serve_options(int fd, int family, int type) {
	int one = 1;
	setsockopt(fd, SOL_SOCKET, family != AF_UNIX && type == SOCK_STREAM ? SO_REUSEADDR : SO_KEEPALIVE, &one, sizeof one);
}

/* serve opens what this sequence serves on, as its seed says, whatever was before. */
static void serve(void) {
	for (int n = 0; n < SERVED; n++) {
		struct address *a = &served[n];
		if (a->absent) continue;
		begin_chance(me.seed, 2000 + n);
		int type = a->type | (below(2) ? SOCK_CLOEXEC : 0) | (below(2) ? SOCK_NONBLOCK : 0);
		int fd = socket(a->family, type, 0), unlinks_own = has_file(a);
		say("S %d serve", n), gave(fd);
		serve_options(fd, a->family, a->type);
		if (a->renamed) {
			struct sockaddr_un u = a->a.un;
			strcat(u.sun_path, ".tmp");
			say(" bind"), gave(bind(fd, (void *)&u, sizeof u));
			say(" rename"), gave(rename(u.sun_path, a->a.un.sun_path));
		} else {
			/* What is there depends on who was before. */
			if (unlinks_own) unlink(a->a.un.sun_path);
			say(" bind"), gave(bind(fd, &a->a.any, a->len));
		}
		if (a->chmods) say(" chmod"), gave(chmod(a->a.un.sun_path, 0660));
		if (a->type != SOCK_DGRAM) say(" listen"), gave(listen(fd, 5 + below(100)));
		struct socket *s = keep(SLOTS + n, fd, NULL);
		s->family = a->family, s->type = a->type, s->at = a, s->serves = 1, s->listening = a->type != SOCK_DGRAM;
		end_line();
	}
}
