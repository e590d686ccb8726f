/* A server of root's that is good, with children of other users that are not: they
 * try whatever an ordinary user may, from a seed, to hupt above them and to
 * what is root's beside them. "arena" is a directory that holds
 *   own      the attackers' own
 *   root     root's: nobody else may write to it
 *   sticky   anybody may (1777)
 *   open     likewise (0777)
 * Nothing here keeps to what it is allowed; that is the kernel's and hupt's to do.
 * Processes that are not this program's are left alone, but for hupt. */
#define _GNU_SOURCE
#include "hostile.h"
#include "hostile_sockets.h"
#include "hostile_files.h"
#include "hostile_tasks.h"

static void act(void) {
	switch (below(16)) {
	case 0: case 1: case 2: case 3: case 4: case 5: socket_act(); break;
	case 6: case 7: case 8: case 9: path_act(); break;
	case 10: swap_links(10); break;
	case 11: notify(); break;
	case 12: if (below(4) == 0) flood_known(); break;
	default: task_act();
	}
}

/* kill_children ends all children of the calling process, and theirs, which become
 * its own: it is a subreaper. */
static void kill_children(int within_ms) {
	for (long end = now_ms() + within_ms; now_ms() < end; sleep_ms(2)) {
		DIR *d = opendir("/proc");
		for (struct dirent *e; d && (e = readdir(d));) {
			int pid = atoi(e->d_name), parent;
			char path[300], b[512] = "";
			snprintf(path, sizeof path, "/proc/%d/stat", pid);
			int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
			if (fd < 0) continue;
			if (read(fd, b, sizeof b - 1) < 0) b[0] = 0;
			close(fd);
			char *after = strrchr(b, ')');
			if (after && sscanf(after + 1, " %*c %d", &parent) == 1 && parent == getpid()) kill(pid, SIGKILL);
		}
		if (d) closedir(d);
		for (int n = 0; n < 1000; n++) {
			int pid = waitpid(-1, NULL, WNOHANG | __WALL);
			if (pid < 0 && errno == ECHILD) return;
			if (pid <= 0) break;
		}
	}
}

/* One episode is a process that does random things, with threads and children. */
static void episode(unsigned long n) {
	begin_chance(opt.seed, n);
	signal(SIGPIPE, SIG_IGN);
	setpgid(0, 0);
	shared->pids[0] = getpid();
	for (int n = 0; n < FDS; n++) fds[n] = -1;
	if (chdir(own("."))) _exit(1);
	if (below(4) == 0) filter();
	some_acts(300);
	_exit(0);
}

/* An attacker has one episode after another, of half a second at most. */
static void attacker(int user) {
	struct rlimit none = {0, 0}, some = {256, 512};
	sigset_t nothing;
	sigemptyset(&nothing);
	pthread_sigmask(SIG_SETMASK, &nothing, NULL);
	if (setgroups(0, NULL) || setgid(user) || setuid(user)) die("setuid");
	prctl(PR_SET_DUMPABLE, 1);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	setrlimit(RLIMIT_CORE, &none);
	setrlimit(RLIMIT_NOFILE, &some);
	for (unsigned long n = user * 1000000UL;; n++) {
		memset(shared->pids, 0, sizeof shared->pids);
		shared->forks = 0;
		int pid = fork();
		if (pid < 0) continue;
		if (pid == 0) episode(n);
		for (int ms = 0; ms < 500 && waitpid(pid, NULL, WNOHANG) == 0; ms += 5) sleep_ms(5);
		kill_children(5000);
		if (chmod(own("."), 0777)) errno = 0;
	}
}

static void *serve(void *listener) {
	for (;;) {
		int fd = accept((int)(long)listener, NULL, NULL);
		if (fd >= 0) serve_blocking(fd);
	}
	return NULL;
}

static int listen_at(const char *name) {
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof a.sun_path, "%s/%s", opt.arena, name);
	unlink(a.sun_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 64)) die(a.sun_path);
	if (chmod(a.sun_path, 0666)) die("chmod");
	return fd;
}

int main(int argc, char **argv) {
	static const int users[] = {65534, 65534, 65533};
	sigset_t term;
	pthread_t t;
	int sig;
	parse_options(argc, argv);
	for (int n = 0; n < 3; n++) {
		shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		shared->hupt = getppid(), shared->master = getpid();
		if (!strcmp(opt.model, "again")) { /* an attacker that has executed itself */
			shared->hupt = opt.fd, shared->master = opt.workers;
			depth = 3;
			episode(1);
		}
		if (n == 0) {
			prctl(PR_SET_CHILD_SUBREAPER, 1);
			sigemptyset(&term);
			sigaddset(&term, SIGTERM);
			pthread_sigmask(SIG_BLOCK, &term, NULL);
		}
		if (!fork()) {
			opt.seed += n;
			attacker(users[n]);
		}
	}
	long listeners[] = {open_listener(SOCK_CLOEXEC), listen_at("root/s"), listen_at("sticky/s")};
	if (!freopen("/dev/null", "w", stderr)) die("/dev/null"); /* who breaks a connection off is not told of */
	for (int n = 0; n < 3; n++)
		for (int i = 0; i < opt.workers; i++)
			if (pthread_create(&t, NULL, serve, (void *)listeners[n])) die("pthread_create");
	while (sigwait(&term, &sig)) {
	}
	kill_children(5000);
	return 0;
}
