/* A thread in each call that can block, for "blocks" milliseconds, while the
 * first thread serves HTTP. What each call said goes to report-PID, a line a
 * call: what it returned, and whether that came early, in time or late.
 * model=handler puts a handler with SA_RESTART on SIGUSR1, model=interrupt one
 * without; else no signal has a handler and nothing may interrupt a call. */
#include "common.h"
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>

static long T; /* how long a call blocks */

static struct timespec after(long ms) { return (struct timespec){ms / 1000, ms % 1000 * 1000000}; }

/* later runs an act after T from a thread of its own, which ends a wait. */
struct later {
	void (*act)(long);
	long arg;
};
static void *run_later(void *p) {
	struct later l = *(struct later *)p;
	free(p);
	sleep_ms(T);
	l.act(l.arg);
	return NULL;
}
static void later(void (*act)(long), long arg) {
	pthread_t thread;
	sigset_t all, old;
	struct later *l = malloc(sizeof *l);
	*l = (struct later){act, arg};
	sigfillset(&all); /* signals are for the threads that wait */
	pthread_sigmask(SIG_BLOCK, &all, &old);
	pthread_create(&thread, NULL, run_later, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_detach(thread);
}
static void write_byte(long fd) { if (write(fd, "xxxxxxxx", 8) < 0) perror("write"); }
static void read_much(long fd) { char b[65536]; if (read(fd, b, sizeof b) < 0) perror("read"); }

static int empty_pipe(int *writer) {
	int p[2];
	if (pipe(p) < 0) die("pipe");
	if (writer) *writer = p[1];
	return p[0];
}
static int timed_socket(void) {
	int p[2];
	struct timeval tv = {T / 1000, T % 1000 * 1000};
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, p) < 0) die("socketpair");
	setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	setsockopt(p[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
	return p[0];
}
static int unix_listener(int timed) {
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct timeval tv = {T / 1000, T % 1000 * 1000};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof(sa_family_t)) < 0 || listen(fd, 4) < 0) die("unix listener");
	if (timed) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	return fd;
}
static int epoll_set(void) {
	int ep = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN};
	epoll_ctl(ep, EPOLL_CTL_ADD, empty_pipe(NULL), &ev);
	return ep;
}

static long b_nanosleep(void) { struct timespec t = after(T); return nanosleep(&t, NULL); }
static long b_clock_nanosleep_abs(void) {
	struct timespec t, d = after(T);
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += d.tv_sec;
	if ((t.tv_nsec += d.tv_nsec) >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
	errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
	return errno ? -1 : 0;
}
static long b_poll(void) { struct pollfd p = {empty_pipe(NULL), POLLIN, 0}; return poll(&p, 1, T); }
static long b_ppoll(void) {
	struct pollfd p = {empty_pipe(NULL), POLLIN, 0};
	struct timespec t = after(T);
	sigset_t none;
	sigemptyset(&none);
	return ppoll(&p, 1, &t, &none);
}
static long b_select(void) { struct timeval t = {T / 1000, T % 1000 * 1000}; return select(0, NULL, NULL, NULL, &t); }
static long b_pselect(void) {
	struct timespec t = after(T);
	sigset_t none;
	sigemptyset(&none);
	return pselect(0, NULL, NULL, NULL, &t, &none);
}
static long b_epoll_wait(void) { struct epoll_event e; return epoll_wait(epoll_set(), &e, 1, T); }
static long b_epoll_pwait(void) {
	struct epoll_event e;
	sigset_t none;
	sigemptyset(&none);
	return epoll_pwait(epoll_set(), &e, 1, T, &none);
}
static long b_epoll_pwait2(void) {
	struct epoll_event e;
	struct timespec t = after(T);
	return syscall(SYS_epoll_pwait2, epoll_set(), &e, 1, &t, NULL, 8);
}
static long b_epoll_event(void) {
	struct epoll_event e = {.events = EPOLLIN};
	int w, fd = empty_pipe(&w), ep = epoll_create1(0);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	later(write_byte, w);
	return epoll_wait(ep, &e, 1, -1);
}
static long b_read_pipe(void) { char c[8]; int w, fd = empty_pipe(&w); later(write_byte, w); return read(fd, c, 8); }
static long b_write_pipe(void) {
	int w, fd = empty_pipe(&w);
	static char much[65536];
	if (write(w, much, fcntl(w, F_GETPIPE_SZ)) < 0) die("write");
	later(read_much, fd);
	return write(w, much, 8);
}
static long b_recv_timeout(void) { char c; return recv(timed_socket(), &c, 1, 0); }
static long b_read_timeout(void) { char c; return read(timed_socket(), &c, 1); }
static long b_accept_timeout(void) { return accept(unix_listener(1), NULL, NULL); }
static long b_recvmmsg_timeout(void) {
	char c;
	struct iovec v = {&c, 1};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};
	return recvmmsg(timed_socket(), &m, 1, 0, NULL);
}
static long b_send_timeout(void) {
	static char much[65536];
	int fd = timed_socket();
	while (send(fd, much, sizeof much, MSG_DONTWAIT) > 0) {
	}
	return send(fd, much, 1, 0);
}
/* A Unix listener whose queue is full. */
static long b_connect_timeout(void) {
	struct sockaddr_un a;
	socklen_t n = sizeof a;
	int fd = unix_listener(0);
	struct timeval tv = {T / 1000, T % 1000 * 1000};
	if (getsockname(fd, (void *)&a, &n) < 0) die("getsockname");
	for (;;) {
		int c = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(c, (void *)&a, n) < 0) break;
	}
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
	return connect(fd, (void *)&a, n);
}
static long b_recvmsg(void) {
	int p[2];
	char c[8];
	struct iovec v = {c, 8};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, p) < 0) die("socketpair");
	later(write_byte, p[1]);
	return recvmsg(p[0], &m, 0);
}
static long b_futex_timeout(void) { int32_t w = 0; struct timespec t = after(T); return syscall(SYS_futex, &w, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0); }
static int32_t word;
static void wake(long unused) { (void)unused; word = 1; syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0); }
static long b_futex_wake(void) { later(wake, 0); return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0); }
static long b_sigtimedwait(void) {
	sigset_t set;
	struct timespec t = after(T);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 7);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return sigtimedwait(&set, NULL, &t);
}
static long b_semtimedop(void) {
	int id = semget(IPC_PRIVATE, 1, 0600);
	struct sembuf op = {0, -1, 0};
	struct timespec t = after(T);
	long r = semtimedop(id, &op, 1, &t);
	int e = errno;
	semctl(id, 0, IPC_RMID);
	errno = e;
	return r;
}
static void post(long id) { struct sembuf op = {0, 1, 0}; semop(id, &op, 1); }
static long b_semop(void) {
	int id = semget(IPC_PRIVATE, 1, 0600);
	struct sembuf op = {0, -1, 0};
	later(post, id);
	long r = semop(id, &op, 1);
	int e = errno;
	semctl(id, 0, IPC_RMID);
	errno = e;
	return r;
}
static void send_message(long id) { struct { long type; char c; } m = {1, 'x'}; msgsnd(id, &m, 1, 0); }
static long b_msgrcv(void) {
	struct { long type; char c; } m;
	int id = msgget(IPC_PRIVATE, 0600);
	later(send_message, id);
	long r = msgrcv(id, &m, 1, 0, 0);
	int e = errno;
	msgctl(id, IPC_RMID, NULL);
	errno = e;
	return r;
}
static long b_waitpid(void) {
	pid_t child = fork();
	if (child == 0) sleep_ms(T), _exit(0);
	return waitpid(child, NULL, 0) == child;
}
/* A child holds a lock for T. */
static int locked(int how) {
	char path[] = "lock-XXXXXX";
	int p[2], fd = mkstemp(path);
	char c;
	struct flock l = {.l_type = F_WRLCK};
	if (fd < 0 || pipe(p) < 0) die("lock");
	if (fork() == 0) {
		int own = open(path, O_RDWR);
		if (how) flock(own, LOCK_EX);
		else fcntl(own, F_SETLK, &l);
		if (write(p[1], "x", 1) < 0) _exit(1);
		sleep_ms(T);
		_exit(0);
	}
	if (read(p[0], &c, 1) < 0) die("read");
	unlink(path);
	return fd;
}
static long b_fcntl_lock(void) { struct flock l = {.l_type = F_WRLCK}; return fcntl(locked(0), F_SETLKW, &l); }
static long b_flock(void) { return flock(locked(1), LOCK_EX); }
static long b_io_getevents(void) {
	aio_context_t ctx = 0;
	struct io_event e;
	struct timespec t = after(T);
	if (syscall(SYS_io_setup, 4, &ctx) < 0) return -1;
	return syscall(SYS_io_getevents, ctx, 1, 1, &e, &t);
}
static int ring(void) {
	struct io_uring_params p = {0};
	return syscall(SYS_io_uring_setup, 4, &p);
}
static long b_ring_timeout(void) {
	struct timespec t = after(T);
	struct io_uring_getevents_arg a = {.ts = (uintptr_t)&t};
	return syscall(SYS_io_uring_enter, ring(), 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &a, sizeof a);
}
/* Nothing ends it. */
static long b_ring_wait(void) { return syscall(SYS_io_uring_enter, ring(), 0, 1, IORING_ENTER_GETEVENTS, NULL, 0); }
static long b_timerfd(void) {
	uint64_t n;
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec t = {.it_value = after(T)};
	timerfd_settime(fd, 0, &t, NULL);
	return read(fd, &n, 8);
}
static long b_eventfd(void) { uint64_t n; int fd = eventfd(0, 0); later(write_byte, fd); return read(fd, &n, 8); }
static void touch(long n) { (void)n; close(open("watched/file", O_CREAT | O_WRONLY, 0600)); }
static long b_inotify(void) {
	char b[512];
	int fd = inotify_init1(0);
	mkdir("watched", 0700);
	inotify_add_watch(fd, "watched", IN_CREATE);
	later(touch, 0);
	return read(fd, b, sizeof b) > 0;
}
static long b_mq(void) {
	struct mq_attr a = {.mq_maxmsg = 1, .mq_msgsize = 8};
	char name[32], c[8];
	struct timespec t, d = after(T);
	snprintf(name, sizeof name, "/hupt-%d", (int)getpid());
	mqd_t q = mq_open(name, O_CREAT | O_RDWR, 0600, &a);
	mq_unlink(name);
	if (q < 0) return -1;
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += d.tv_sec;
	if ((t.tv_nsec += d.tv_nsec) >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
	return mq_timedreceive(q, c, 8, NULL, &t);
}
/* These two return only if a handler ran. */
static long b_pause(void) { return pause(); }
static long b_sigsuspend(void) { sigset_t none; sigemptyset(&none); return sigsuspend(&none); }

#define CALL(name) {#name, b_##name, 0, 0, 0, 0}
static struct call {
	const char *name;
	long (*block)(void);
	long result;
	int error, done;
	long took;
} calls[] = {CALL(nanosleep), CALL(clock_nanosleep_abs), CALL(poll), CALL(ppoll), CALL(select), CALL(pselect), CALL(epoll_wait),
             CALL(epoll_pwait), CALL(epoll_pwait2), CALL(epoll_event), CALL(read_pipe), CALL(write_pipe), CALL(recv_timeout),
             CALL(read_timeout), CALL(accept_timeout), CALL(recvmsg), CALL(recvmmsg_timeout), CALL(send_timeout), CALL(connect_timeout), CALL(futex_timeout), CALL(futex_wake), CALL(sigtimedwait),
             CALL(semtimedop), CALL(semop), CALL(msgrcv), CALL(waitpid), CALL(fcntl_lock), CALL(flock), CALL(io_getevents), CALL(ring_timeout), CALL(ring_wait),
             CALL(timerfd), CALL(eventfd), CALL(inotify), CALL(mq), CALL(pause), CALL(sigsuspend)};
enum { CALLS = sizeof calls / sizeof *calls };

static void *block(void *p) {
	struct call *c = p;
	long from = now_ms();
	errno = 0;
	c->result = c->block();
	c->error = c->result < 0 ? errno : 0;
	c->took = now_ms() - from;
	__atomic_store_n(&c->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *report(void *unused) {
	char name[64], final[32];
	(void)unused;
	sleep_ms(2 * T + 1500); /* late ones may come that late */
	snprintf(final, sizeof final, "report-%d", (int)getpid());
	snprintf(name, sizeof name, "%s.unfinished", final);
	FILE *f = fopen(name, "w");
	for (int i = 0; i < CALLS; i++) {
		struct call *c = &calls[i];
		if (!__atomic_load_n(&c->done, __ATOMIC_ACQUIRE)) fprintf(f, "%s blocks still\n", c->name);
		else
			fprintf(f, "%s %ld %s %s\n", c->name, c->result, c->error ? strerrorname_np(c->error) : "-",
			        c->took < T - 100 ? "early" : c->took > T + 900 ? "late" : "in-time");
	}
	fclose(f);
	rename(name, final);
	return NULL;
}

static void handler(int sig) { (void)sig; }
static void *serve(void *fd) { serve_blocking((int)(intptr_t)fd); return NULL; }

int main(int argc, char **argv) {
	pthread_t thread;
	sigset_t usr1;
	parse_options(argc, argv);
	T = opt.blocks_ms;
	if (opt.model[0]) {
		struct sigaction sa = {.sa_handler = handler, .sa_flags = !strcmp(opt.model, "handler") ? SA_RESTART : 0};
		sigaction(SIGUSR1, &sa, NULL);
	}
	int listener = open_listener(0);
	for (int i = 0; i < CALLS; i++)
		if (pthread_create(&thread, NULL, block, &calls[i])) die("pthread_create");
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	pthread_create(&thread, NULL, report, NULL);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0) die("accept");
		pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
		pthread_detach(thread);
	}
}
