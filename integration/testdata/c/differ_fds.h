/* Steps on descriptors: flags, duplicates, polls, epoll sets, SCM_RIGHTS. */

static void step_fcntl(void) {
	int n = some_slot(), fd = slots[n].fd, r;
	struct socket *s = slots[n].s;
	switch (below(10)) {
	case 0: case 1:
		say_slot("F_GETFL", n);
		r = fcntl(fd, F_GETFL);
		say(" = %x", r);
		return;
	case 2: case 3: {
		/* Signals of a socket that versions share go to whoever asked last:
		 * its owner is the kernel's, of which there is one. */
		int flags = ONE_OF(((int[]){0, O_NONBLOCK, O_NONBLOCK, O_ASYNC, O_NONBLOCK | O_APPEND}));
		if (s && s->serves) flags &= O_NONBLOCK;
		say_slot("F_SETFL", n), say(" %x", flags);
		gave(fcntl(fd, F_SETFL, flags));
		return;
	}
	case 4:
		say_slot("F_GETFD", n);
		gave(fcntl(fd, F_GETFD));
		return;
	case 5: {
		int flags = ONE_OF(((int[]){0, 1, 1}));
		say_slot("F_SETFD", n), say(" %d", flags);
		gave(fcntl(fd, F_SETFD, flags));
		return;
	}
	case 6:
		say_slot("F_GETOWN", n);
		errno = 0;
		r = fcntl(fd, F_GETOWN);
		say_pid(r);
		say(" %d", errno);
		return;
	case 7: {
		int who = ONE_OF(((int[]){0, 1, 2, 3}));
		int pid = (int[]){0, getpid(), -getpgrp(), 99999999}[who];
		say_slot("F_SETOWN", n);
		say_pid(pid);
		if (s && s->serves) say(" not");
		else gave(fcntl(fd, F_SETOWN, pid));
		return;
	}
	default: {
		int to = free_slot(), how = below(2) ? F_DUPFD : F_DUPFD_CLOEXEC, least = below(2) ? 3 : 40;
		say_slot("F_DUPFD", n), say(" %d %d", how, least);
		r = gave(fcntl(fd, how, least));
		if (r >= 0) {
			if (s) s->refs++; /* it may be what the slot has */
			keep(to, r, s);
			if (s) s->refs--;
		}
	}
	}
}

static void step_dup(void) {
	int n = some_slot(), to = free_slot(), over = own_slot(), how = below(4), fd = slots[n].fd, r;
	struct socket *s = slots[n].s;
	if (how < 2) {
		say("dup %d", fd);
		if ((r = gave(dup(fd))) >= 0) {
			if (s) s->refs++;
			keep(to, r, s);
			if (s) s->refs--;
		}
		return;
	}
	for (int tries = 0; tries < SLOTS && stays(over); tries++) over = (over + 1) % SLOTS;
	int target = slots[over].s ? slots[over].fd : 50 + below(3), flags = ONE_OF(((int[]){0, O_CLOEXEC, O_NONBLOCK}));
	say("%s %d %d %x", how == 2 ? "dup2" : "dup3", fd, target, how == 2 ? 0 : flags);
	r = gave(how == 2 ? dup2(fd, target) : dup3(fd, target, flags));
	if (r < 0 || !s || n == over) return;
	for (int k = 0; k < SLOTS; k++)
		if (slots[k].s && slots[k].fd == target && k != over) let_go(k);
	s->refs++;
	if (slots[over].s) let_go(over);
	s->refs--;
	keep(over, r, s);
}

static void step_close(void) {
	int n = own_slot();
	for (int tries = 0; tries < 6 && !slots[n].s; tries++) n = own_slot();
	say_slot("close", n);
	if (stays(n)) {
		say(" not");
		return;
	}
	gave(close(slots[n].fd));
	if (slots[n].s) let_go(n);
}

static void step_poll(void) {
	struct pollfd p[4];
	int count = 1 + below(4), got;
	say("poll");
	for (int k = 0; k < count; k++) {
		int n = some_slot();
		static const short wanted[] = {POLLIN, POLLOUT, POLLIN | POLLOUT, POLLIN | POLLRDHUP, POLLIN | POLLPRI, 0};
		p[k] = (struct pollfd){.fd = slots[n].fd, .events = ONE_OF(wanted)};
		say(" %d:%x", p[k].fd, p[k].events);
	}
	got = poll(p, count, 0);
	gave(got);
	for (int k = 0; k < count; k++) say(" %x", p[k].revents);
}

static void step_epoll(void) {
	int e = -1, n = some_slot(), how = below(6), to = free_slot();
	struct epoll_event list[8], ev = {.events = ONE_OF(((unsigned[]){EPOLLIN, EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLET, EPOLLIN | EPOLLONESHOT, EPOLLIN | EPOLLEXCLUSIVE})), .data.fd = slots[n].fd};
	for (int k = 0; k < SLOTS; k++)
		if (slots[k].s && slots[k].s->epoll) e = k;
	if (e < 0) {
		say("epoll_create1");
		int fd = gave(epoll_create1(below(2) ? EPOLL_CLOEXEC : 0));
		struct socket *s = keep(to, fd, NULL);
		if (fd >= 0) s->epoll = 1, s->tuned = 1;
		return;
	}
	e = slots[e].fd;
	if (how == 0) {
		say("epoll_wait %d", e);
		int got = gave(epoll_wait(e, list, 8, 0));
		/* In no order that is promised. */
		for (int fd = 0; fd < 100; fd++)
			for (int k = 0; k < got; k++)
				if (list[k].data.fd == fd) say(" %d:%x", fd, list[k].events);
		return;
	}
	int op = ONE_OF(((int[]){EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL}));
	say("epoll_ctl %d %d", e, op), say_slot("", n), say(" %x", ev.events);
	if (gave(epoll_ctl(e, op, slots[n].fd, &ev)) == 0 && slots[n].s) slots[n].s->polled = 1;
}

/* step_rights: a descriptor goes to the process itself, through a socket. */
static void step_rights(void) {
	int n = some_slot(), to = free_slot(), pair[2], fd = -1;
	char byte = 'r', control[CMSG_SPACE(sizeof fd)] = {0};
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	struct socket *s = slots[n].s;
	say_slot("rights", n);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) _exit(9);
	*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
	memcpy(CMSG_DATA(c), &slots[n].fd, sizeof fd);
	say(" send");
	if (gave(sendmsg(pair[0], &m, MSG_NOSIGNAL)) == 1) {
		say(" recv"), gave(recvmsg(pair[1], &m, below(2) ? MSG_CMSG_CLOEXEC : 0));
		if ((c = CMSG_FIRSTHDR(&m))) memcpy(&fd, CMSG_DATA(c), sizeof fd);
		say(" fd %d", fd);
	}
	close(pair[0]);
	close(pair[1]);
	if (fd >= 0) {
		if (s) s->refs++;
		keep(to, fd, s);
		if (s) s->refs--;
	}
}
