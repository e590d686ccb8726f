/* Steps that read and set options. */

static const struct option {
	const char *name;
	int level, number;
	int len;
} options[] = {
#define O(level, name, len) {#name, level, name, len}
	O(SOL_SOCKET, SO_TYPE, 4), O(SOL_SOCKET, SO_DOMAIN, 4), O(SOL_SOCKET, SO_PROTOCOL, 4), O(SOL_SOCKET, SO_ERROR, 4),
	O(SOL_SOCKET, SO_ACCEPTCONN, 4), O(SOL_SOCKET, SO_REUSEADDR, 4), O(SOL_SOCKET, SO_REUSEPORT, 4), O(SOL_SOCKET, SO_KEEPALIVE, 4),
	O(SOL_SOCKET, SO_BROADCAST, 4), O(SOL_SOCKET, SO_OOBINLINE, 4), O(SOL_SOCKET, SO_SNDBUF, 4), O(SOL_SOCKET, SO_RCVBUF, 4),
	O(SOL_SOCKET, SO_LINGER, 8), O(SOL_SOCKET, SO_RCVTIMEO, 16), O(SOL_SOCKET, SO_SNDTIMEO, 16), O(SOL_SOCKET, SO_RCVLOWAT, 4),
	O(SOL_SOCKET, SO_PASSCRED, 4), O(SOL_SOCKET, SO_PEERCRED, 12), O(SOL_SOCKET, SO_PRIORITY, 4), O(SOL_SOCKET, SO_MARK, 4),
	O(SOL_SOCKET, SO_TIMESTAMP, 4), O(SOL_SOCKET, SO_DONTROUTE, 4), O(SOL_SOCKET, SO_PEEK_OFF, 4), O(SOL_SOCKET, SO_BUSY_POLL, 4),
	O(SOL_SOCKET, SO_BINDTODEVICE, 16), O(SOL_SOCKET, 9999, 4),
	O(IPPROTO_TCP, TCP_NODELAY, 4), O(IPPROTO_TCP, TCP_CORK, 4), O(IPPROTO_TCP, TCP_MAXSEG, 4), O(IPPROTO_TCP, TCP_KEEPIDLE, 4),
	O(IPPROTO_TCP, TCP_KEEPCNT, 4), O(IPPROTO_TCP, TCP_SYNCNT, 4), O(IPPROTO_TCP, TCP_USER_TIMEOUT, 4), O(IPPROTO_TCP, TCP_FASTOPEN, 4),
	O(IPPROTO_TCP, TCP_QUICKACK, 4), O(IPPROTO_TCP, TCP_CONGESTION, 16), O(IPPROTO_TCP, TCP_INFO, 1), O(IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4),
	O(IPPROTO_IP, IP_TOS, 4), O(IPPROTO_IP, IP_TTL, 4), O(IPPROTO_IP, IP_FREEBIND, 4), O(IPPROTO_IP, IP_PKTINFO, 4),
	O(IPPROTO_IP, IP_RECVERR, 4), O(IPPROTO_IP, IP_MTU_DISCOVER, 4), O(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 4),
	O(IPPROTO_IPV6, IPV6_V6ONLY, 4), O(IPPROTO_IPV6, IPV6_RECVPKTINFO, 4), O(IPPROTO_IPV6, IPV6_TCLASS, 4), O(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 4),
};
enum { OPTIONS = sizeof options / sizeof *options };

static void step_getsockopt(void) {
	int n = some_slot(), k = below(OPTIONS), odd = below(10) == 0;
	const struct option *o = &options[k];
	struct socket *s = slots[n].s;
	unsigned char room[64] = {0};
	socklen_t len = odd ? ONE_OF(((socklen_t[]){0, 1, 3, -1})) : (socklen_t)o->len;
	say_slot("getsockopt", n), say(" %s %d", o->name, (int)len);
	/* What hupt gives a datagram socket whose address two versions have
	 * (ARCHITECTURE, "What a program can still tell"). */
	if (o->number == SO_REUSEPORT && o->level == SOL_SOCKET && s && s->type == SOCK_DGRAM && (s->serves || s->old)) {
		say(" not");
		return;
	}
	if (gave(getsockopt(slots[n].fd, o->level, o->number, room, &len)) < 0) return;
	say(" len %d:", (int)len);
	if (o->number == SO_PEERCRED && o->level == SOL_SOCKET) {
		if (len < 12) return;
		say_pid(((int *)room)[0]);
		say(" %d %d", ((int *)room)[1], ((int *)room)[2]);
		return;
	}
	for (unsigned i = 0; i < len && i < sizeof room; i++) say("%02x", room[i]);
}

/* step_setsockopt: not on what serves. A socket that versions share has one set of options:
 * see bind_served. */
static void step_setsockopt(void) {
	int n = slot_that(SLOTS, is_any), k = below(OPTIONS), odd = below(10) == 0;
	const struct option *o = &options[k];
	struct socket *s = slots[n].s;
	int value[4] = {ONE_OF(((int[]){0, 1, 1, 2, 7, 100, 5000, -1}))};
	/* No wait without an end, here as elsewhere; nothing that changes where a client
	 * gets to, or when. */
	if (o->level == SOL_SOCKET && (o->number == SO_RCVTIMEO || o->number == SO_SNDTIMEO)) value[0] = 0, value[2] = 20000;
	if (o->level == SOL_SOCKET && o->number == SO_LINGER) value[1] = 0;
	socklen_t len = odd ? ONE_OF(((socklen_t[]){0, 1, 3, -1})) : (socklen_t)o->len;
	say_slot("setsockopt", n), say(" %s %d %d", o->name, (int)len, value[0]);
	if (s && (s->serves || (o->level == SOL_SOCKET && o->number == SO_RCVLOWAT))) {
		say(" not");
		return;
	}
	if (s) s->tuned = 1;
	gave(setsockopt(slots[n].fd, o->level, o->number, value, len));
}
