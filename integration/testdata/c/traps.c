/* A server that does, all the time and while it serves, one thing that is hard
 * on a tracer:
 *   model=clone         12 threads that start and join threads
 *   model=fork          threads that fork, exec and wait
 *   model=vfork         a child that takes 300 ms between vfork and exec
 *   model=signals       a handler that runs every millisecond, SA_RESTART
 *   model=exec          a thread that is not the leader executes the server
 *   model=leaderless    the first thread has ended, another serves
 *   model=closefrom     every descriptor above 2 is closed at start
 *   model=fewfds        hardly a descriptor more than it needs, but it may have more
 *   model=nofds         and may not
 *   model=nostack       serves on a thread with the smallest stack there is
 *   model=sandbox       its own seccomp filter kills it for any call but a few
 *   model=dropped       it gives up root after the bind, and is not dumpable
 *   model=daemon        forks twice, and its first process exits */
#include "common.h"
#include <grp.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>

static int listener;
static int is(const char *model) { return !strcmp(opt.model, model); }

static void *serve(void *unused) {
	(void)unused;
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd >= 0) serve_blocking(fd);
		else if (errno != ECONNABORTED) die("accept");
	}
	return NULL;
}

static pthread_t start(void *(*f)(void *)) {
	pthread_t thread;
	if (pthread_create(&thread, NULL, f, NULL)) die("pthread_create");
	return thread;
}

static void *nothing(void *unused) { return unused; }
static void *clones(void *unused) {
	for (;; usleep(200)) pthread_join(start(nothing), NULL);
	return unused;
}
/* ended says how a child of ours ended. TERM may have been for all of us. */
static void ended(const char *what, pid_t child) {
	int status = 0;
	if (child < 0 || waitpid(child, &status, 0) != child) die(what);
	if (!status || (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM)) return;
	fprintf(stderr, "a child of ours failed: %s: status %x\n", what, status);
	exit(2);
}

static void *forks(void *unused) {
	for (;; usleep(500)) {
		pid_t child = fork();
		if (child == 0) {
			execl("/bin/true", "true", (char *)NULL);
			_exit(1);
		}
		ended("fork", child);
	}
	return unused;
}
static void *vforks(void *unused) {
	for (;; usleep(1000)) {
		pid_t child = vfork();
		if (child == 0) {
			struct timespec t = {0, 300000000};
			nanosleep(&t, NULL);
			execl("/bin/true", "true", (char *)NULL);
			_exit(1);
		}
		ended("vfork", child);
	}
	return unused;
}

static void count(int sig) { (void)sig; }
static void ticks(void) {
	struct sigaction sa = {.sa_handler = count, .sa_flags = SA_RESTART};
	struct itimerval every = {{0, 1000}, {0, 1000}};
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
}

static char **args;
static void *execute(void *unused) {
	char fd[16];
	snprintf(fd, sizeof fd, "fd=%d", listener);
	char *argv[] = {args[0], fd, NULL};
	usleep(50000); /* let the leader block */
	execv(args[0], argv);
	die("execv");
	return unused;
}

/* sandbox kills the process for every call that serving does not need. */
static void sandbox(void) {
	static const int allowed[] = {SYS_accept, SYS_read, SYS_write, SYS_sendto, SYS_close, SYS_shutdown, SYS_nanosleep, SYS_clock_nanosleep,
	                              SYS_getpid, SYS_exit_group, SYS_restart_syscall, SYS_rt_sigreturn, SYS_futex};
	enum { N = sizeof allowed / sizeof *allowed };
	struct sock_filter f[N + 3] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
	for (int i = 0; i < N; i++) f[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], N - i, 0);
	f[N + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	f[N + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog p = {N + 3, f};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) < 0) die("seccomp");
}

static void become_daemon(void) {
	int ready[2];
	char c;
	if (pipe(ready) < 0) die("pipe");
	pid_t child = fork();
	if (child > 0) {
		/* As good daemons do, the first process exits when the last is up. */
		close(ready[1]);
		if (read(ready[0], &c, 1) != 1) exit(1);
		exit(0);
	}
	setsid();
	if (fork() > 0) _exit(0);
	if (chdir("/") < 0) die("chdir");
	listener = open_listener(0);
	if (write(ready[1], "x", 1) != 1) die("write");
	close(ready[0]), close(ready[1]);
	if (opt.pidfile) {
		FILE *f = fopen(opt.pidfile, "w");
		if (!f) die(opt.pidfile);
		fprintf(f, "%d\n", (int)getpid());
		fclose(f);
	}
	serve(NULL);
}

int main(int argc, char **argv) {
	args = argv;
	parse_options(argc, argv);
	if (is("closefrom")) close_range(3, ~0U, 0);
	if (is("daemon")) become_daemon();
	if (is("fewfds") || is("nofds")) {
		/* 0, 1, 2, the listener and one connection. */
		struct rlimit few = {5, is("nofds") ? 5 : 64};
		setrlimit(RLIMIT_NOFILE, &few);
	}
	listener = open_listener(0);
	if (is("clone"))
		for (int i = 0; i < 12; i++) start(clones);
	if (is("fork"))
		for (int i = 0; i < 3; i++) start(forks);
	if (is("vfork")) start(vforks);
	if (is("signals")) ticks();
	if (is("exec")) {
		start(execute);
		for (;;) pause();
	}
	if (is("leaderless")) {
		start(serve);
		pthread_exit(NULL);
	}
	if (is("nostack")) {
		pthread_attr_t small;
		pthread_t thread;
		pthread_attr_init(&small);
		pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN + 8192);
		if (pthread_create(&thread, &small, serve, NULL)) die("pthread_create");
		pthread_join(thread, NULL);
	}
	if (is("dropped") && getuid() == 0) {
		if (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0) die("setuid");
		prctl(PR_SET_DUMPABLE, 0);
	}
	if (is("sandbox")) sandbox();
	serve(NULL);
}
