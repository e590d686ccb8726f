/* A program that makes random sequences of calls from a seed and writes down what each
 * gave, for a comparison of what it finds bare with what it finds under hupt.
 *   port=   where it is told what to do, and much of what it binds to
 *   wide=, own1=, own2=, own3=  ports of addresses of which a machine has one
 *   dir=    where its files are
 *   seed=, count=  of the first sequence, and how many there are
 *   steps=  in each part
 *   without=  kinds of steps that are left out
 * The version is "v1", "v2" or "bad:" and where it fails: "bad:later" is killed. Each sequence is a process. Its parts:
 *   A  before it serves; all is closed at its end
 *   S  it opens what it serves on
 *   B  before it waits for clients; what it opened is closed at its end, as it would be
 *      waited for otherwise
 *   C  while it serves
 *   D  later, E  later, when another version may serve
 * A, S and B are made at the start, the others when the letter comes on a connection to
 * port. Sequence n of version v1 writes to log-v1-n in dir. */
#include "differ.h"
#include "differ_addresses.h"
#include "differ_sockets.h"
#include "differ_options.h"
#include "differ_fds.h"
#include "differ_tasks.h"

static const struct {
	const char *name;
	int weight;
	void (*step)(void);
} steps[] = {
	{"socket", 16, step_socket}, {"bind", 16, step_bind}, {"listen", 8, step_listen}, {"name", 8, step_name},
	{"getsockopt", 12, step_getsockopt}, {"setsockopt", 6, step_setsockopt}, {"fcntl", 12, step_fcntl}, {"dup", 6, step_dup},
	{"open", 16, step_open}, {"reload", 6, step_reload}, {"close", 8, step_close}, {"connect", 4, step_connect}, {"accept", 5, step_accept}, {"talk", 8, step_talk},
	{"datagram", 6, step_datagram}, {"shutdown", 3, step_shutdown}, {"poll", 6, step_poll}, {"epoll", 10, step_epoll},
	{"rights", 5, step_rights}, {"fork", 2, step_fork}, {"kill", 8, step_kill}, {"mask", 4, step_mask}, {"file", 8, step_file},
};
enum { KINDS = sizeof steps / sizeof *steps };

static void some_steps(int from, int to) {
	for (me.step = from; me.step < to; me.step++) {
		/* One that fails makes a mess of its own before. */
		begin_chance(me.seed + (me.generation == 3) * 1000000007UL, me.part * 1000000UL + me.step);
		int total = 0, k = 0;
		for (int n = 0; n < KINDS; n++) total += steps[n].weight;
		for (int w = below(total); w >= steps[k].weight; k++) w -= steps[k].weight;
		if (without(steps[k].name)) continue;
		say("%c %d%s ", me.part, me.step, me.depth ? " child" : "");
		steps[k].step();
		end_line();
	}
}

static void close_all(int which) {
	for (int n = 0; n < SLOTS; n++) {
		if (!slots[n].s || (which == 'C' && !(slots[n].s->at && slots[n].s->at->zero) && (slots[n].s->at || !slots[n].s->listening))) continue;
		close(slots[n].fd);
		let_go(n);
	}
}

static void do_part(char part) {
	me.part = part;
	memset((void *)got, 0, sizeof got);
	if (part == 'D' || part == 'E')
		for (int n = 0; n < ALL; n++)
			if (slots[n].s) slots[n].s->old = 1;
	if (part == 'S') {
		umask(022);
		serve();
		return;
	}
	some_steps(0, me.steps);
	say("%c end", part), end_line();
	/* Ports that the kernel chose are had in order by the versions that ask for
	 * one: they are everybody's, too. */
	if (part != 'D' && part != 'E') close_all(part);
}

/* sequence is the process of one. It waits on all that it serves on. */
static void sequence(int orders) {
	char path[200];
	me.seed += me.n;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (me.seed % 4) setpgid(0, 0); /* else it shares its group with the others */
	snprintf(path, sizeof path, "%s/log-%s-%d", me.dir, version(), me.n);
	int log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	if (dup3(log, LOG, O_CLOEXEC) < 0 || dup3(orders, ORDERS, O_CLOEXEC) < 0) die("dup3");
	for (int fd = 3; fd < LOG; fd++) close(fd);
	snprintf(path, sizeof path, "%s/s%d", me.dir, me.n);
	mkdir(path, 0755);
	snprintf(path, sizeof path, "%s/own-%d-%d", me.dir, me.generation, me.n);
	if (mkdir(path, 0755) && errno != EEXIST) die(path);
	if (chdir(path)) die("chdir");
	edge = (char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 4095;
	munmap(edge + 1, 4096);
	make_addresses();
	for (int n = 0; n < ALL; n++) slots[n].fd = -1;
	for (;;) {
		struct pollfd p[1 + SERVED] = {{.fd = ORDERS, .events = POLLIN}};
		for (int n = 0; n < SERVED; n++) p[1 + n] = (struct pollfd){.fd = slots[SLOTS + n].fd, .events = POLLIN};
		poll(p, 1 + SERVED, -1);
		char part;
		if (p[0].revents) {
			ssize_t n = read(ORDERS, &part, 1);
			if (n < 0) continue;
			if (n == 0) _exit(0);
			do_part(part);
			if (write(ORDERS, "", 1) != 1) _exit(0);
		} else {
			sleep_ms(20); /* somebody was told something that nobody fetches */
		}
	}
}

static int orders[64], count;

static void all_do(char part) {
	char done;
	for (int n = 0; n < count; n++) {
		if (write(orders[n], &part, 1) != 1) continue;
		while (read(orders[n], &done, 1) < 0 && errno == EINTR) {
		}
	}
}

static void fails(const char *where) {
	if (!strcmp(version(), where)) exit(3);
}

static void options_of(int argc, char **argv, int *ports) {
	for (int i = 1; i < argc; i++) {
		const char *value = strchr(argv[i], '=');
		if (!value++) die(argv[i]);
		int n = atoi(value);
		if (!strncmp(argv[i], "port=", 5)) me.port = n;
		else if (!strncmp(argv[i], "wide=", 5)) me.wide = n;
		else if (!strncmp(argv[i], "own1=", 5)) ports[1] = n;
		else if (!strncmp(argv[i], "own2=", 5)) ports[2] = n;
		else if (!strncmp(argv[i], "own3=", 5)) ports[3] = n;
		else if (!strncmp(argv[i], "dir=", 4)) me.dir = value;
		else if (!strncmp(argv[i], "seed=", 5)) me.seed = strtoul(value, NULL, 10);
		else if (!strncmp(argv[i], "count=", 6)) count = n;
		else if (!strncmp(argv[i], "steps=", 6)) me.steps = n;
		else if (!strncmp(argv[i], "without=", 8)) me.without = value;
		else die(argv[i]);
	}
}

int main(int argc, char **argv) {
	int ports[4] = {0};
	options_of(argc, argv, ports);
	me.generation = version()[0] == 'v' ? atoi(version() + 1) : 3;
	me.own_wide = ports[me.generation];
	hear(); /* before anybody of the group signals it */
	for (int n = 0; n < count; n++) {
		int pair[2];
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) die("socketpair");
		me.n = n;
		if (fork() == 0) sequence(pair[1]);
		close(pair[1]);
		orders[n] = pair[0];
	}
	signal(SIGPIPE, SIG_IGN);
	all_do('A');
	fails("bad:bound");
	all_do('S');
	fails("bad:served");
	all_do('B');
	fails("bad:listens");
	opt.port = me.port;
	int fd = open_listener(SOCK_CLOEXEC);
	for (;;) {
		int client = accept(fd, NULL, NULL);
		char part;
		ssize_t n;
		while (client >= 0 && (n = read(client, &part, 1)) != 0) {
			if (n < 0) continue;
			all_do(part);
			write_all(client, &part, 1);
		}
		close(client);
	}
}
