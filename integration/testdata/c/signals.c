/* A server whose processes signal each other by their group, in every way there is.
 * Each request is answered by what each call gave, and by who got what from whom; no
 * pid is in it, so that it is the same line by line whoever runs it.
 *
 * Of its children, "a" and "b" are in its own group, "c" leads one with "d" in it, "s"
 * leads a session, "z" a group in which only it is, dead, and "u" is of another
 * user, if that may be.
 */
#include "common.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { NAMES = 8 };

static const char *const names = "mabcdszu";

/* What all processes share: who they are, and what each got. */
static struct shared {
	pid_t pid[NAMES];
	volatile int ready;
	struct {
		volatile int n, code, from, tid;
	} got[NAMES][65];
} *all;

static int me; /* which of the names */
static char text[1 << 16];
static FILE *out;

static int ours(pid_t pid) {
	for (int n = 0; n < NAMES; n++)
		if (all->pid[n] == pid) return 1;
	return 0;
}

static void note(int sig, siginfo_t *i, void *ctx) {
	(void)ctx;
	if (sig == SIGTERM && !ours(i->si_pid)) _exit(0); /* the end of it all */
	all->got[me][sig].code = i->si_code;
	all->got[me][sig].from = i->si_pid;
	all->got[me][sig].tid = syscall(SYS_gettid);
	__atomic_add_fetch(&all->got[me][sig].n, 1, __ATOMIC_SEQ_CST);
}

static const int kinds[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGWINCH, SIGCONT, SIGTSTP, 0};

static void listen_to_signals(void) {
	struct sigaction s = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
	for (const int *k = kinds; *k; k++) sigaction(*k, &s, NULL);
	s.sa_sigaction = note;
	sigaction(SIGRTMIN + 3, &s, NULL);
	signal(SIGRTMIN + 5, SIG_IGN);
}

static char name_of(pid_t pid) {
	for (int n = 0; n < NAMES; n++)
		if (all->pid[n] == pid) return names[n];
	return pid ? '?' : '0';
}

/* child makes one of the processes; body is what it does when it is there. */
static pid_t child(int who, void (*body)(void)) {
	pid_t p = fork();
	if (p) {
		all->pid[who] = p;
		return p;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	me = who;
	all->pid[who] = getpid();
	if (body) body();
	__atomic_add_fetch(&all->ready, 1, __ATOMIC_SEQ_CST);
	for (;;) pause();
}

static void bear_d(void) {
	setpgid(0, 0);
	child(4, NULL);
}
static void lead_session(void) { setsid(); }
static void lead_and_die(void) {
	setpgid(0, 0);
	__atomic_add_fetch(&all->ready, 1, __ATOMIC_SEQ_CST);
	_exit(0);
}
static void be_another(void) {
	if (setgid(65533) || setuid(65533)) {
		/* It stays what it is. */
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user forgets it */
}

/* at_rest: it waits for signals, and none is on its way to it. */
static int at_rest(pid_t pid) {
	char path[40], line[200];
	int rest = 1;
	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "r");
	if (!f) return 1;
	while (fgets(line, sizeof line, f)) {
		if (!strncmp(line, "State:", 6)) rest &= strchr(line + 6, 'S') || strchr(line + 6, 'Z');
		if (!strncmp(line, "SigPnd:", 7) || !strncmp(line, "ShdPnd:", 7)) rest &= !strtoul(line + 7, NULL, 16);
	}
	fclose(f);
	return rest;
}

static void settle(void) {
	for (int rest = 0; rest < 2;) {
		int all_rest = 1;
		sleep_ms(1);
		for (int n = 0; n < NAMES; n++)
			if (n != me && all->pid[n] && all->pid[n] != getpid()) all_rest &= at_rest(all->pid[n]);
		rest = all_rest ? rest + 1 : 0;
	}
}

static void clear(void) { memset((void *)all->got, 0, sizeof all->got); }

/* report says what a call gave, and who got what, and clears it. */
static void report(const char *what, long result, int e) {
	settle();
	fprintf(out, "%s: %ld %s;", what, result, result < 0 ? strerror(e) : "");
	for (int n = 0; n < NAMES; n++)
		for (int s = 1; s < 65; s++)
			if (all->got[n][s].n)
				fprintf(out, " %c:%d*%d code %d from %c", names[n], s, all->got[n][s].n, all->got[n][s].code, name_of(all->got[n][s].from));
	fputc('\n', out);
	clear();
}

#define TRY(call)                            \
	do {                                     \
		errno = 0;                           \
		long r_ = (call);                    \
		int e_ = errno, n_ = all->got[me][SIGUSR1].n; \
		report(#call, r_, e_);               \
		fprintf(out, " before it returned: %d\n", n_); \
	} while (0)

static void *kill_from_thread(void *arg) {
	sigset_t s;
	(void)arg;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &s, NULL);
	return (void *)(long)kill(0, SIGUSR1);
}

static void *wait_for_signal(void *stop) {
	while (!*(volatile int *)stop) sleep_ms(1);
	return NULL;
}

static void threads(void) {
	pthread_t p;
	void *r;
	sigset_t s, old;
	for (int blocked = 0; blocked < 2; blocked++) {
		sigemptyset(&s);
		sigaddset(&s, SIGUSR1);
		pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &s, &old);
		if (pthread_create(&p, NULL, kill_from_thread, NULL)) die("pthread_create");
		pthread_join(p, &r);
		settle();
		if (blocked) fprintf(out, "in the first thread: %d\n", all->got[me][SIGUSR1].tid == getpid());
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		report("kill(0) in a thread", (long)r, 0);
	}
	/* The first thread calls, and another one could have it. */
	volatile int stop = 0, elsewhere = 0;
	pthread_create(&p, NULL, wait_for_signal, (void *)&stop);
	for (int n = 0; n < 20; n++) {
		kill(0, SIGUSR1);
		elsewhere += all->got[me][SIGUSR1].tid != getpid();
	}
	settle();
	clear(); /* those of the others may be one */
	if (elsewhere > 10) fprintf(out, "another thread has it\n");
	stop = 1;
	pthread_join(p, &r);
	report("kill(0) beside a thread", 0, 0);
}

static void masked(void) {
	sigset_t s, old, pending;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigprocmask(SIG_BLOCK, &s, &old);
	int r = kill(0, SIGUSR1);
	sigpending(&pending);
	fprintf(out, "pending: %d, had: %d\n", sigismember(&pending, SIGUSR1), all->got[me][SIGUSR1].n);
	sigprocmask(SIG_SETMASK, &old, NULL);
	fprintf(out, "then: %d\n", all->got[me][SIGUSR1].n);
	report("kill(0) masked", r, errno);
}

static void ignored(void) {
	signal(SIGUSR1, SIG_IGN);
	int r = kill(0, SIGUSR1);
	listen_to_signals();
	report("kill(0) ignored", r, errno);
}

/* registers are as they were, but for those that the instruction itself changes. */
static void registers(void) {
	long r, a = 0xdead00000000, b = SIGUSR1, d = 0x1234, si, dd, r8v, r10v;
	register long r10 __asm__("r10") = 0x77, r8 __asm__("r8") = 0x88;
	__asm__ volatile("syscall" : "=a"(r), "+D"(a), "+S"(b), "+d"(d), "+r"(r10), "+r"(r8) : "0"(SYS_kill) : "rcx", "r11", "memory");
	si = b, dd = d, r8v = r8, r10v = r10;
	fprintf(out, "registers: %lx %lx %lx %lx %lx\n", a, si, dd, r10v, r8v);
	report("kill(0), upper half", r, 0);
}

static void pidfds(void) {
	int fd = syscall(SYS_pidfd_open, all->pid[3], 0), own = syscall(SYS_pidfd_open, getpid(), 0);
	siginfo_t i = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
	i.si_pid = getpid();
	i.si_value.sival_int = 5;
	TRY(syscall(SYS_pidfd_send_signal, fd, SIGUSR1, NULL, 4));
	TRY(syscall(SYS_pidfd_send_signal, fd, SIGUSR1, &i, 4));
	TRY(syscall(SYS_pidfd_send_signal, own, SIGUSR1, NULL, 0));
	TRY(syscall(SYS_pidfd_send_signal, fd, 99, NULL, 4));
	TRY(syscall(SYS_pidfd_send_signal, fd, SIGUSR1, NULL, 5));
	TRY(syscall(SYS_pidfd_send_signal, -1, SIGUSR1, NULL, 4));
	i.si_signo = SIGUSR2;
	TRY(syscall(SYS_pidfd_send_signal, fd, SIGUSR1, &i, 4));
	TRY(syscall(SYS_pidfd_send_signal, own, SIGUSR1, NULL, 4));
	close(fd);
	close(own);
}

/* none_left waits until nobody has the other end of a pipe any more. */
static int none_left(int *alive) {
	struct pollfd p = {.fd = alive[0], .events = POLLIN};
	close(alive[1]);
	int none = poll(&p, 1, 10000) == 1 && p.revents == POLLHUP;
	close(alive[0]);
	return none;
}

/* a group of its own that is stopped, goes on, and is killed while it forks. */
static void deadly(void) {
	int ws, n = 0, alive[2];
	if (pipe2(alive, O_CLOEXEC)) die("pipe2");
	pid_t p = fork();
	if (!p) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		signal(SIGTERM, SIG_DFL);
		for (;;) {
			pid_t q = fork();
			if (!q) {
				sleep_ms(60000);
				_exit(0);
			}
			if (++n > 60) pause();
		}
	}
	setpgid(p, p);
	sleep_ms(20);
	fprintf(out, "stop: %d", kill(-p, SIGSTOP));
	fprintf(out, " %d", waitpid(p, &ws, WUNTRACED) == p && WIFSTOPPED(ws) && WSTOPSIG(ws) == SIGSTOP);
	fprintf(out, ", go on: %d", kill(-p, SIGCONT));
	fprintf(out, " %d", waitpid(p, &ws, WCONTINUED) == p && WIFCONTINUED(ws));
	fprintf(out, ", kill: %d", kill(-p, SIGKILL));
	fprintf(out, " %d", waitpid(p, &ws, 0) == p && WIFSIGNALED(ws) && WTERMSIG(ws) == SIGKILL);
	fprintf(out, ", none left: %d\n", none_left(alive));
}

/* one in the group takes the rest of it along, but who is told to live. */
static void ends(int sig) {
	int ws, alive[2];
	if (pipe2(alive, O_CLOEXEC)) die("pipe2");
	pid_t p = fork();
	if (!p) {
		setpgid(0, 0);
		signal(sig, SIG_DFL);
		for (int n = 0; n < 3; n++)
			if (!fork())
				for (;;) pause();
		kill(0, sig);
		_exit(1);
	}
	fprintf(out, "ends its group by %d: %d", sig, waitpid(p, &ws, 0) == p && WIFSIGNALED(ws) ? WTERMSIG(ws) : -1);
	fprintf(out, ", none left: %d\n", none_left(alive));
}

/* storm: what forks all the time is ended, with all that it bears meanwhile. */
static void storm(void) {
	char begun;
	int ws, alive[2];
	if (pipe2(alive, O_CLOEXEC)) die("pipe2");
	pid_t p = fork();
	if (!p) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGRTMIN + 5, SIG_DFL);
		for (int n = 0;; n++) {
			if (n > 200) pause();
			if (n == 3 && write(alive[1], "", 1) != 1) _exit(1);
			if (!fork()) {
				sleep_ms(60000);
				_exit(0);
			}
		}
	}
	if (read(alive[0], &begun, 1) != 1) die("read");
	fprintf(out, "a storm: %d", kill(0, SIGRTMIN + 5));
	fprintf(out, " %d", waitpid(p, &ws, 0) == p && WIFSIGNALED(ws) && WTERMSIG(ws) == SIGRTMIN + 5);
	fprintf(out, ", none left: %d\n", none_left(alive));
}

static void all_of_it(void) {
	pid_t c = all->pid[3], z = all->pid[6], s = all->pid[5];
	clear();
	TRY(kill(0, 0));
	TRY(kill(0, SIGUSR1));
	TRY(kill(-getpgrp(), SIGUSR1));
	TRY(killpg(getpgrp(), SIGUSR2));
	TRY(kill(-getpid(), SIGUSR1));
	TRY(kill(0, SIGHUP));
	TRY(kill(0, SIGTERM));
	TRY(kill(0, SIGINT));
	TRY(kill(0, SIGQUIT));
	TRY(kill(0, SIGCONT));
	TRY(kill(0, SIGTSTP));
	TRY(kill(0, SIGRTMIN + 3));
	TRY(kill(0, 65));
	TRY(kill(0, -1));
	TRY(kill(-c, SIGUSR1));
	TRY(kill(-c, 65));
	TRY(kill(-s, SIGHUP));
	TRY(kill(-z, SIGUSR1));
	TRY(kill(-z, 0));
	TRY(kill(z, 0));
	TRY(kill(-0x3ffffff, 0));
	TRY(kill(-0x3ffffff, 65));
	TRY(kill(-0x7fffffff - 1, SIGUSR1));
	TRY(kill(c, SIGUSR1));
	TRY(syscall(SYS_kill, 0x7700000000000000, SIGUSR1));
	TRY(syscall(SYS_kill, 0x7700000000000000 | (unsigned)-c, SIGUSR1));
	registers();
	masked();
	ignored();
	threads();
	pidfds();
	deadly();
	for (int n = 0; n < 3; n++) storm();
	for (int n = 0; n < 3; n++) ends((int[]){SIGTERM, SIGKILL, SIGHUP}[n]);
	settle();
	clear(); /* what came to children that think they are the first process */
	/* From one of another user: it may signal itself alone. */
	pid_t p = fork();
	if (!p) {
		be_another();
		TRY(kill(0, 0));
		TRY(kill(-c, SIGUSR1));
		TRY(kill(-c, 0));
		TRY(kill(-z, 0));
		fclose(out);
		_exit(0);
	}
	waitpid(p, NULL, 0);
}

int main(int argc, char **argv) {
	parse_options(argc, argv);
	all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	listen_to_signals();
	all->pid[0] = getpid();
	child(1, NULL);
	child(2, NULL);
	child(3, bear_d);
	child(5, lead_session);
	child(6, lead_and_die);
	child(7, be_another);
	while (all->ready < 7) sleep_ms(1);
	settle();
	int fd = open_listener(SOCK_CLOEXEC);
	for (;;) {
		int client = accept(fd, NULL, NULL);
		if (client < 0) continue;
		char line[100];
		ssize_t n;
		while ((n = read(client, line, sizeof line - 1)) != 0) {
			if (n < 0) continue;
			int log = memfd_create("log", MFD_CLOEXEC);
			out = fdopen(log, "w+");
			setvbuf(out, NULL, _IOLBF, 0);
			all_of_it();
			fflush(out);
			n = pread(log, text, sizeof text - 10, 0);
			fclose(out);
			sprintf(text + n, "end\n");
			write_all(client, text, n + 4);
		}
		close(client);
	}
}
