/* Gives itself as odd a state as a process can hand to the program that it
 * executes, and executes it: setup PROGRAM ARG… The current directory must
 * hold a file "data" of 200 bytes. What it does:
 * signals ignored and blocked, umask, limits, priority, affinity, personality,
 * descriptors of every sort at odd numbers, environment with oddities. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

static void die(const char *what) {
	perror(what);
	exit(99);
}

static void limit(int resource, rlim_t soft, rlim_t hard) {
	struct rlimit now, r = {soft, hard};
	if (getrlimit(resource, &now) < 0) die("getrlimit");
	if (r.rlim_max > now.rlim_max) r.rlim_max = now.rlim_max;
	if (r.rlim_cur > r.rlim_max) r.rlim_cur = r.rlim_max;
	if (setrlimit(resource, &r) < 0) die("setrlimit");
}

/* at moves fd to number, without O_CLOEXEC. */
static void at(int fd, int number) {
	if (fd < 0) die("open");
	if (fd == number) return;
	if (dup2(fd, number) < 0) die("dup2");
	close(fd);
}

static int listener(void) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 16) < 0) die("listener");
	return fd;
}

static void descriptors(void) {
	int pipes[2], pair[2];
	for (int fd = 3; fd < 64; fd++) close(fd);
	/* From high to low, so that none lands on a number already given. */
	if (pipe(pipes) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) die("pipe");
	at(pair[1], 31), at(pair[0], 30);
	at(pipes[1], 29), at(pipes[0], 28);
	at(open("/", O_PATH | O_DIRECTORY), 27);
	at(memfd_create("memory", 0), 26);
	at(epoll_create1(0), 25);
	at(eventfd(3, EFD_NONBLOCK), 24);
	at(socket(AF_INET, SOCK_DGRAM, 0), 23);
	at(open("data", O_RDONLY), 22);
	lseek(22, 123, SEEK_SET);
	at(open("appended", O_CREAT | O_WRONLY | O_APPEND, 0600), 21);
	at(open("/dev/null", O_RDWR), 20);
	/* This one the program must not have. */
	if (dup3(20, 19, O_CLOEXEC) < 0) die("dup3");
	at(listener(), 4);
	at(listener(), 3);
	/* A file on stdin, of which somebody has read a part. */
	at(open("data", O_RDWR), 0);
	lseek(0, 7, SEEK_SET);
}

int main(int argc, char **argv) {
	char pid[32], launcher[32];
	(void)argc;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	signal(SIGRTMIN + 3, SIG_IGN);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGIO);
	sigaddset(&set, SIGRTMIN + 5);
	sigprocmask(SIG_BLOCK, &set, NULL);
	umask(027);
	limit(RLIMIT_NOFILE, 777, 2000);
	limit(RLIMIT_STACK, 7 << 20, 64 << 20);
	limit(RLIMIT_CORE, 0, 4096);
	limit(RLIMIT_MEMLOCK, 12288, 65536);
	limit(RLIMIT_FSIZE, 1 << 30, RLIM_INFINITY);
	// Whoever runs the tests may be nicer already, and only root can take that back.
	int nice_now = getpriority(PRIO_PROCESS, 0);
	if (setpriority(PRIO_PROCESS, 0, nice_now < 3 ? 3 : nice_now) < 0) die("setpriority");
	struct sched_param batch = {0};
	sched_setscheduler(0, SCHED_BATCH, &batch);
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof one, &one);
	personality(ADDR_NO_RANDOMIZE);
	prctl(PR_SET_TIMERSLACK, 123456, 0, 0, 0);
	syscall(SYS_ioprio_set, 1, 0, (2 << 13) | 6);
	int adj = open("/proc/self/oom_score_adj", O_WRONLY);
	if (adj >= 0 && write(adj, "345", 3) < 0) die("oom_score_adj");
	descriptors();
	setenv("LISTEN_FDS", "2", 1);
	setenv("LISTEN_FDNAMES", "one:two", 1);
	snprintf(pid, sizeof pid, "LISTEN_PID=%d", (int)getpid());
	snprintf(launcher, sizeof launcher, "SETUP_PID=%d", (int)getpid());

	char *env[1000];
	int n = 0;
	for (; environ[n] && n < 900; n++) env[n] = environ[n];
	env[n++] = pid;
	env[n++] = launcher;
	env[n++] = "EMPTY=";
	env[n++] = "no equals sign";
	env[n++] = "TWICE=first";
	env[n++] = "TWICE=second";
	env[n++] = "BYTES=\xff\xfe\n\t";
	env[n] = NULL;
	execvpe(argv[1], argv + 1, env);
	die(argv[1]);
}
