/* Writes everything that a process can know of itself into the file that
 * PROBE_OUT names, a fact a line, and exits with PROBE_EXIT; with PROBE_SERVE
 * it then serves on that port, and with PROBE_MESS it first changes all that it
 * can of itself. Run bare and under a supervisor, the two files
 * must be equal: numbers that change from run to run are written as what they
 * are compared with. */
#include "common.h"
#include <dirent.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>

extern char **environ;
static FILE *out;

static int starts(const char *s, const char *prefix) { return !strncmp(s, prefix, strlen(prefix)); }

static void quoted(const char *s) {
	for (; *s; s++)
		if (*s < ' ' || *s == '\\' || *s > '~') fprintf(out, "\\x%02x", (unsigned char)*s);
		else fputc(*s, out);
	fputc('\n', out);
}

static void copy_file(const char *path, const char *const *prefixes) {
	char line[512];
	FILE *f = fopen(path, "r");
	while (f && fgets(line, sizeof line, f)) {
		int wanted = !prefixes;
		for (int i = 0; prefixes && prefixes[i]; i++) wanted |= starts(line, prefixes[i]);
		if (wanted) fprintf(out, "%s: %s%s", path, line, strchr(line, '\n') ? "" : "\n");
	}
	if (f) fclose(f);
}

static void environment(void) {
	for (char **e = environ; *e; e++) {
		if (starts(*e, "LISTEN_PID=")) fprintf(out, "env LISTEN_PID=%s\n", atoi(*e + 11) == getpid() ? "this process" : "another process");
		else if (!starts(*e, "SETUP_PID=") && !starts(*e, "HUPT_TEST_MARK=") && !starts(*e, "PROBE_")) {
			fputs("env ", out);
			quoted(*e);
		}
	}
}

static void one_fd(int fd) {
	char path[64], target[512];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, target, sizeof target - 1);
	if (n < 0) return;
	target[n] = 0;
	char *inode = strchr(target, '[');
	if (starts(target, "pipe:") || starts(target, "socket:")) *inode = 0;
	fprintf(out, "fd %d %s", fd, target);
	if (starts(target, "socket:")) {
		int type = 0, listens = 0;
		socklen_t l = sizeof type;
		getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &l);
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &l);
		fprintf(out, " type %d listens %d", type, listens);
	}
	fputc('\n', out);
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	static const char *const wanted[] = {"pos:", "flags:", NULL};
	copy_file(path, wanted);
}

/* descriptors must run before anything here opens a file. */
static int fds[1024], fd_count;
static void find_descriptors(void) {
	DIR *d = opendir("/proc/self/fd");
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.' && atoi(e->d_name) != dirfd(d)) fds[fd_count++] = atoi(e->d_name);
	if (d) closedir(d);
}

static void limits(void) {
	for (int r = 0; r < RLIM_NLIMITS; r++) {
		struct rlimit l;
		getrlimit(r, &l);
		fprintf(out, "limit %d soft %llu hard %llu\n", r, (unsigned long long)l.rlim_cur, (unsigned long long)l.rlim_max);
	}
}

static void process(int argc, char **argv) {
	static const char *const wanted[] = {"Umask:", "Uid:", "Gid:", "Groups:", "Threads:", "SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:",
	                                     "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Cpus_allowed_list:",
	                                     "THP_enabled:", "Speculation_Store_Bypass:", NULL};
	char cwd[512], exe[512];
	int launcher = getenv("SETUP_PID") ? atoi(getenv("SETUP_PID")) : 0;
	for (int i = 0; i < argc; i++) {
		fprintf(out, "arg %d ", i);
		quoted(argv[i]);
	}
	fprintf(out, "cwd %s\n", getcwd(cwd, sizeof cwd));
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	exe[n < 0 ? 0 : n] = 0;
	fprintf(out, "exe %s\n", exe);
	fprintf(out, "execfn %s secure %lu\n", (char *)getauxval(AT_EXECFN), getauxval(AT_SECURE));
	fprintf(out, "group is the launcher's: %d, session is: %d\n", getpgrp() == launcher, getsid(0) == getsid(launcher ? launcher : 0));
	fprintf(out, "nice %d policy %d ioprio %ld personality %x\n", getpriority(PRIO_PROCESS, 0), sched_getscheduler(0),
	        syscall(SYS_ioprio_get, 1, 0), personality(0xffffffff));
	fprintf(out, "dumpable %d keepcaps %d securebits %d slack %d subreaper-free\n", prctl(PR_GET_DUMPABLE), prctl(PR_GET_KEEPCAPS),
	        prctl(PR_GET_SECUREBITS), prctl(PR_GET_TIMERSLACK));
	int deathsig = 0;
	prctl(PR_GET_PDEATHSIG, &deathsig);
	fprintf(out, "parent death signal %d\n", deathsig);
	copy_file("/proc/self/status", wanted);
	copy_file("/proc/self/comm", NULL);
	copy_file("/proc/self/oom_score_adj", NULL);
	copy_file("/proc/self/coredump_filter", NULL);
	copy_file("/proc/self/cgroup", NULL);
}

static void handler(int sig) { (void)sig; }

/* mess makes the process another one than it was started as. */
static void mess(void) {
	struct itimerval soon = {{0, 0}, {1, 0}}, later = {{100, 0}, {100, 0}};
	struct rlimit l;
	sigset_t all;
	for (int s = 1; s <= 64; s++)
		if (s != SIGTERM && s != SIGHUP) signal(s, s % 3 == 0 ? SIG_DFL : s % 3 == 1 ? SIG_IGN : handler);
	signal(SIGUSR1, handler);
	sigfillset(&all);
	sigdelset(&all, SIGTERM);
	sigprocmask(SIG_SETMASK, &all, NULL);
	raise(SIGUSR1);                     /* pending for the thread */
	kill(getpid(), SIGUSR2);            /* …and for the process */
	sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 1});
	setitimer(ITIMER_REAL, &soon, NULL);
	setitimer(ITIMER_VIRTUAL, &later, NULL);
	umask(0);
	if (chdir("/") < 0) die("chdir");
	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_cur = 100;
	setrlimit(RLIMIT_NOFILE, &l);
	getrlimit(RLIMIT_STACK, &l);
	l.rlim_cur = 1 << 20;
	setrlimit(RLIMIT_STACK, &l);
	prctl(PR_SET_NAME, "somebody else");
	prctl(PR_SET_PDEATHSIG, SIGUSR1);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_TIMERSLACK, 1);
	close(0);
	dup2(2, 1); /* elsewhere */
	close(30);
	dup2(20, 3); /* an inherited one is another one now */
	for (int fd = 40; fd < 50; fd++) dup2(20, fd);
	if (open("/dev/null", O_RDWR) != 0) die("0 was open");
	fcntl(22, F_SETFD, FD_CLOEXEC);
}

int main(int argc, char **argv) {
	find_descriptors();
	const char *name = getenv("PROBE_OUT"), *code = getenv("PROBE_EXIT"), *serve = getenv("PROBE_SERVE");
	char unfinished[512];
	snprintf(unfinished, sizeof unfinished, "%s.unfinished", name);
	mode_t mask = umask(022);
	if (!(out = fopen(unfinished, "we"))) die(unfinished);
	umask(mask);
	process(argc, argv);
	environment();
	limits();
	for (int i = 0; i < fd_count; i++) one_fd(fds[i]);
	fclose(out);
	if (rename(unfinished, name) < 0) die("rename");
	if (serve) {
		opt.port = atoi(serve);
		if (getenv("PROBE_MESS")) mess();
		int fd = open_listener(0);
		for (;;) {
			int conn = accept(fd, NULL, NULL);
			if (conn >= 0) serve_blocking(conn);
			else if (errno != ECONNABORTED) die("accept");
		}
	}
	return code ? atoi(code) : 0;
}
