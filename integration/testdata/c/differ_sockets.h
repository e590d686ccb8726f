/* Steps on sockets: they are made, bound, listen, are connected to, say their names. */

static const struct { int family, type; } kinds[] = {
	{AF_INET, SOCK_STREAM}, {AF_INET, SOCK_STREAM}, {AF_INET6, SOCK_STREAM}, {AF_INET, SOCK_DGRAM}, {AF_INET6, SOCK_DGRAM},
	{AF_UNIX, SOCK_STREAM}, {AF_UNIX, SOCK_STREAM}, {AF_UNIX, SOCK_SEQPACKET}, {AF_UNIX, SOCK_DGRAM},
	{AF_INET, SOCK_SEQPACKET}, {99, SOCK_STREAM},
};

static void step_socket(void) {
	int k = below(sizeof kinds / sizeof *kinds), n = free_slot();
	int flags = (below(2) ? SOCK_NONBLOCK : 0) | (below(2) ? SOCK_CLOEXEC : 0);
	say("socket %d %d %x", kinds[k].family, kinds[k].type, flags);
	if (slots[n].s) close(slots[n].fd), let_go(n);
	int fd = gave(socket(kinds[k].family, kinds[k].type | flags, 0));
	struct socket *s = keep(n, fd, NULL);
	if (fd >= 0) s->family = kinds[k].family, s->type = kinds[k].type;
}

/* bind_served: to where a predecessor may serve. What is adopted there listens already, has
 * the options that the predecessor gave it, and is one socket (ARCHITECTURE, "What a
 * program can still tell"), and the name that it was bound by: so the socket has none of its own, there is one at a time, and
 * it listens at once. And a path that was unlinked is still there, so it is bound at once. */
static void bind_served(int n, struct address *a) {
	struct socket *s = slots[n].s;
	for (int k = 0; k < ALL; k++)
		if (slots[k].s && slots[k].s->serves && slots[k].s->at == a) {
			say(" taken");
			return;
		}
	if (s->tuned || s->at || s->connected || s->listening || a->absent || a->renamed || s->type != a->type) {
		say(" not");
		return;
	}
	if (has_file(a)) unlink(a->a.un.sun_path);
	serve_options(slots[n].fd, s->family, s->type);
	if (gave(bind(slots[n].fd, &a->a.any, a->len)) < 0) return;
	s->at = a, s->serves = 1;
	if (s->type == SOCK_DGRAM) return;
	int backlog = 1 + below(200);
	say(" listen");
	s->listening = gave(listen(slots[n].fd, backlog)) == 0;
}

static char *edge; /* the last byte before a page that is not there */

static void step_bind(void) {
	int n = below(4) ? slot_that(SLOTS, is_new) : own_slot(), use_served = me.part == 'A' && below(3) == 0, k = below(1000), how = below(16);
	struct socket *s = slots[n].s;
	struct address *list = use_served ? served : own, *a;
	int count = use_served ? SERVED : OWN, fd = slots[n].fd;
	for (int tries = 0; s && tries < count && list[k % count].family != s->family && how != 15; tries++) k++;
	a = &list[k % count];
	say_slot("bind", n), say(" %s", a->name);
	if (use_served) {
		if (s && s->family == a->family) bind_served(n, a);
		else say(" not");
		return;
	}
	socklen_t len = a->len;
	char room[400] = {0}, *p = room;
	memcpy(room, &a->a, sizeof a->a);
	static const socklen_t inet[] = {-1, 0, 1, 2, 3, 15, 16, 24, 27, 28, 29, 110, 128, 129, 300, 2000000000};
	/* A path is not cut short where it would lead out of the directory, nor a name
	 * where it would be somebody else's. */
	static const socklen_t paths[] = {-1, 0, 1, 2, 110, 111, 128, 129, 300, 2000000000};
	if (how < 2) {
		len = a->family == AF_UNIX ? ONE_OF(paths) : ONE_OF(inet);
		if (a->family == AF_UNIX && len == 110 && !a->a.un.sun_path[0] && a->len <= 3) len = 2;
	} else if (how == 2) {
		/* IPv6 and Unix would see another address in these bytes. */
		((struct sockaddr *)room)->sa_family = (int[]){AF_UNSPEC, 99, AF_NETLINK}[below(3)];
	} else if (how == 3) {
		p = (char *)0x10;
	} else if (how == 4) {
		p = edge + 1 - (len < 200 ? len : 200) + below(2); /* all of it is there, or its last byte is not */
		memcpy(p, room, edge + 1 - p < (int)len ? edge + 1 - p : (int)len);
	}
	/* Another version is there, which may have the address by now, as it would bare; and who
	 * connects to what a version binds anew that drains comes to the other one. */
	if (deaf()) {
		say(" not");
		return;
	}
	say(" len %d family %d how %d", (int)len, how == 3 ? 0 : ((struct sockaddr *)room)->sa_family, how);
	/* What is left of connections there is not to count, as with any server. */
	if (s && s->type == SOCK_STREAM && s->family != AF_UNIX) serve_options(fd, s->family, s->type);
	if (gave(bind(fd, (void *)p, len)) == 0 && s) s->at = a;
}

static void step_listen(void) {
	int n = below(2) ? some_slot() : slot_that(SLOTS, is_any);
	struct socket *s = slots[n].s;
	int backlog = ONE_OF(((int[]){0, 1, 5, 128, -1, 100000}));
	say_slot("listen", n), say(" %d", backlog);
	/* Another one listens there, which a child made. */
	if (s && s->old && deaf() && !s->listening && without("listen-again")) {
		say(" without");
		return;
	}
	if (early() && !(s && s->serves && s->listening) && without("early-listen")) {
		say(" without");
		return;
	}
	if (gave(listen(slots[n].fd, backlog)) == 0 && s) s->listening = 1;
}

static void step_name(void) {
	char room[300] = {0};
	int n = some_slot(), peer = below(4) == 0, how = below(8);
	socklen_t len = how == 0 ? ONE_OF(((socklen_t[]){0, 1, 2, 8, -1})) : sizeof room, asked = len;
	struct sockaddr *p = how == 1 ? (void *)0x10 : (void *)room;
	say_slot(peer ? "getpeername" : "getsockname", n), say(" %d", (int)asked);
	if (gave(peer ? getpeername(slots[n].fd, p, &len) : getsockname(slots[n].fd, p, &len)) < 0) return;
	if (asked >= sizeof(struct sockaddr_un) && how != 1) say_address(room, len);
	else say(" len %d", len > 30 ? 30 : (int)len); /* paths are of any length */
}

static void step_shutdown(void) {
	int n = slot_that(SLOTS, is_any), how = ONE_OF(((int[]){SHUT_RD, SHUT_WR, SHUT_RDWR, 7}));
	struct socket *s = slots[n].s;
	say_slot("shutdown", n), say(" %d", how);
	/* It acts on the socket, which the predecessor serves, so it is put off. */
	if (s && (s->serves || (s->old && s->at && deaf() && without("shut-stand-ins")))) {
		say(" not");
		return;
	}
	if (gave(shutdown(slots[n].fd, how)) == 0 && s && how != SHUT_WR) s->listening = 0;
}

/* step_accept: never one that would wait. */
static void step_accept(void) {
	int n = some_slot(), to = free_slot();
	struct socket *s = slots[n].s;
	struct pollfd p = {.fd = slots[n].fd, .events = POLLIN};
	int got = poll(&p, 1, 0), waits = !(fcntl(slots[n].fd, F_GETFL) & O_NONBLOCK);
	say_slot("accept", n);
	if (s && (s->serves || s->old) && queue_is_anothers(s) && (got || waits)) {
		say(" not");
		return;
	}
	say(" poll %x", p.revents);
	if (s && waits && !got) {
		say(" would wait");
		return;
	}
	int fd = gave(accept4(slots[n].fd, NULL, NULL, SOCK_CLOEXEC));
	if (fd >= 0) {
		s = keep(to, fd, NULL);
		s->connected = 1, s->tuned = 1;
	}
}

/* step_talk: a client connects and is served. */
static void step_talk(void) {
	int n = slot_that(ALL, is_listening), to = free_slot(), both = below(2), flags = below(2) ? SOCK_NONBLOCK : 0, asks = below(2);
	struct socket *s = slots[n].s;
	char room[300] = {0}, byte = 0;
	socklen_t len = sizeof room;
	say_slot("talk", n);
	if (!s || !s->listening || !alone(s) || queue_is_anothers(s) || s->at->zero || s->epoll || deaf()) {
		say(" not");
		return;
	}
	/* Not for ever, whatever becomes of it. */
	struct timeval limit = {2, 0};
	int client = socket(s->family, s->type | SOCK_CLOEXEC, 0);
	setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	say(" client %d connect", client);
	if (gave(connect(client, &s->at->a.any, s->at->len)) < 0) {
		close(client);
		return;
	}
	struct pollfd p = {.fd = slots[n].fd, .events = POLLIN};
	say(" poll"), gave(poll(&p, 1, 2000));
	say(" accept");
	int fd = p.revents ? accept4(slots[n].fd, asks ? (void *)room : NULL, asks ? &len : NULL, flags) : -2;
	gave(fd);
	if (fd >= 0) {
		if (asks) say_address(room, len);
		say(" send"), gave(send(client, "x", 1, MSG_NOSIGNAL));
		p.fd = fd, p.revents = 0;
		say(" poll"), gave(poll(&p, 1, 2000));
		say(" recv"), gave(recv(fd, &byte, 1, MSG_DONTWAIT));
		say(" send"), gave(send(fd, "y", 1, MSG_NOSIGNAL));
		say(" recv"), gave(recv(client, &byte, 1, 0));
		struct socket *kept = both ? keep(to, fd, NULL) : NULL;
		if (kept) kept->family = s->family, kept->type = s->type, kept->connected = 1, kept->tuned = 1;
		else close(fd);
	}
	close(client);
}

/* step_connect: to where nobody of this version listens. */
static void step_connect(void) {
	int n = slot_that(SLOTS, is_new), k = below(OWN), dissolve = below(6) == 0;
	struct socket *s = slots[n].s;
	struct address *a = &own[k];
	say_slot("connect", n), say(" %s", a->name);
	/* What a draining version closes, hupt still holds: "What a program can still tell". */
	if (!s || s->epoll || s->serves || deaf()) {
		say(" not");
		return;
	}
	for (int i = 0; i < ALL; i++)
		if (slots[i].s && slots[i].s->at == a && !(s->type == SOCK_DGRAM && slots[i].s->type == SOCK_DGRAM)) {
			say(" somebody");
			return;
		}
	if (a == &own[OWN - 1] || a == &own[5] || a == &own[6] || a == &own[4] || (a->family == AF_UNIX && a->len <= 2)) {
		say(" nowhere"); /* it would wait, or reach whoever has that port */
		return;
	}
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	if (dissolve) say(" unspec");
	if (gave(dissolve ? connect(slots[n].fd, &none, sizeof none) : connect(slots[n].fd, &a->a.any, a->len)) == 0) s->connected = !dissolve, s->tuned = 1;
}

/* step_open is what servers do: a socket that is bound listens. */
static void step_open(void) {
	int n = free_slot(), k = below(5), flags = (below(2) ? SOCK_NONBLOCK : 0) | (below(2) ? SOCK_CLOEXEC : 0), unlinks = below(2);
	struct address *a = &own[(int[]){0, 1, 2, 3, 4, 7, 8, 9}[below(8)]];
	int type = a->family != AF_UNIX ? (k ? SOCK_STREAM : SOCK_DGRAM) : k < 3 ? SOCK_STREAM : k == 3 ? SOCK_SEQPACKET : SOCK_DGRAM;
	say("open %s %d", a->name, type);
	if (deaf()) { /* see step_bind */
		say(" not");
		return;
	}
	if (slots[n].s) close(slots[n].fd), let_go(n);
	int fd = gave(socket(a->family, type | flags, 0)), r;
	struct socket *s = keep(n, fd, NULL);
	s->family = a->family, s->type = type;
	serve_options(fd, a->family, type);
	if (has_file(a) && unlinks && !(deaf() && without("old-paths"))) say(" unlink"), gave(unlink(a->a.un.sun_path));
	say(" bind");
	if ((r = gave(bind(fd, &a->a.any, a->len))) == 0) s->at = a;
	if (r || type == SOCK_DGRAM || (early() && without("early-listen"))) return;
	say(" listen");
	s->listening = gave(listen(fd, 16)) == 0;
}

/* step_reload closes what listens, and binds the address anew. */
static void step_reload(void) {
	int n = slot_that(ALL, is_listening), unlinks = below(4) > 0;
	struct socket *s = slots[n].s;
	say_slot("reload", n);
	if (deaf()) { /* see step_bind */
		say(" not");
		return;
	}
	/* Where another version serves by now, or still does, it would be in the way bare, too. */
	if (!s || !is_listening(s) || (deaf() && has_file(s->at) && without("old-paths")) || (s->serves && (early() || deaf() || s->refs > 1)) || s->at->zero || s->at->renamed || (early() && without("early-listen")) || without("reload") || stays(n)) {
		say(" not");
		return;
	}
	const struct address *a = s->at;
	int type = s->type, flags = fcntl(slots[n].fd, F_GETFL) & O_NONBLOCK ? SOCK_NONBLOCK : 0, serves = s->serves;
	say(" close"), gave(close(slots[n].fd));
	let_go(n);
	if (has_file(a) && (unlinks || serves)) say(" unlink"), gave(unlink(a->a.un.sun_path));
	int fd = gave(socket(a->family, type | flags | SOCK_CLOEXEC, 0));
	s = keep(n, fd, NULL);
	s->family = a->family, s->type = type;
	serve_options(fd, a->family, type);
	say(" bind");
	if (gave(bind(fd, &a->a.any, a->len))) return;
	s->at = a, s->serves = serves;
	say(" listen");
	s->listening = gave(listen(fd, 20)) == 0;
	/* As serve leaves it: the permissions are those of who binds. */
	if (serves && a->chmods) say(" chmod"), gave(chmod(a->a.un.sun_path, 0660));
}

/* step_datagram: one is sent to a bound socket, and answered from it. */
static void step_datagram(void) {
	int n = slot_that(ALL, is_datagram);
	struct socket *s = slots[n].s;
	char byte = 0, room[300];
	socklen_t len = sizeof room;
	struct timeval limit = {2, 0};
	say_slot("datagram", n);
	if (!s || s->epoll || s->type != SOCK_DGRAM || !s->at || s->at->zero || s->connected || !alone(s) || s->tuned) {
		say(" not");
		return;
	}
	int client = socket(s->family, s->type | SOCK_CLOEXEC, 0);
	struct sockaddr_in host = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 host6 = {.sin6_family = AF_INET6};
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	host6.sin6_addr = s->at->a.in6.sin6_addr;
	if (s->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&host6.sin6_addr)) host6.sin6_addr.s6_addr32[3] = htonl(INADDR_LOOPBACK);
	setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	say(" client %d bind", client);
	gave(s->family == AF_INET ? bind(client, (void *)&host, sizeof host) : s->family == AF_INET6 ? bind(client, (void *)&host6, sizeof host6) : bind(client, (void *)&name, 2));
	if (getsockname(client, (void *)room, &len) < 0) say(" no name");
	if (!queue_is_anothers(s)) {
		struct pollfd p = {.fd = slots[n].fd, .events = POLLIN};
		int sent = (say(" send"), gave(sendto(client, "x", 1, MSG_NOSIGNAL, &s->at->a.any, s->at->len)));
		say(" poll"), gave(poll(&p, 1, sent == 1 ? 2000 : 0));
		say(" recv"), gave(recv(slots[n].fd, &byte, 1, MSG_DONTWAIT));
	}
	/* The answer comes from the address that was asked, whoever serves there by now. */
	say(" answer");
	if (gave(sendto(slots[n].fd, "y", 1, MSG_NOSIGNAL, (void *)room, len)) == 1) {
		len = sizeof room;
		say(" recv"), gave(recvfrom(client, &byte, 1, 0, (void *)room, &len));
		say_address(room, len);
	}
	close(client);
}
