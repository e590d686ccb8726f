/* A server that answers what it is told to, by the calls that it is told to
 * use: a request is a script of what to write. Whatever the calls return that
 * they would not return to a program alone on its machine ends it.
 *
 * It is a POST with a head of HEAD bytes. The body is the script: its length,
 * and then operations, what, how many bytes, the bytes; numbers are 32 bits,
 * little endian. What the body has behind that, an operation reads. */
#include "common.h"
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

enum { WRITE, WRITEV, SENDTO, SENDMSG, SENDFILE, MORE, THREAD, NONBLOCK, WAIT, SMALL, DONTWAIT, UPLOAD };

#define HEAD 56

static void wrong(const char *what, ssize_t got, size_t want) {
	fprintf(stderr, "%s gave %zd (%s) for %zu bytes\n", what, got, got < 0 ? strerror(errno) : "", want);
	exit(3);
}

/* alone exits if a blocking call did not take all. A client that has left is
 * none of our business. */
static int alone(const char *what, ssize_t got, size_t want) {
	if (got < 0 && (errno == EPIPE || errno == ECONNRESET)) return 0;
	if (got != (ssize_t)want) wrong(what, got, want);
	return 1;
}

static int wait_writable(int fd) {
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	return poll(&p, 1, -1) == 1;
}

/* in_pieces writes as an event loop does: what the socket takes, and the rest
 * when it takes more. */
static int in_pieces(int fd, char *b, size_t n, int flags) {
	while (n > 0) {
		ssize_t got = flags ? send(fd, b, n, flags) : write(fd, b, n);
		if (got < 0 && errno == EAGAIN) {
			wait_writable(fd);
			continue;
		}
		if (got < 0 && (errno == EPIPE || errno == ECONNRESET)) return 0;
		if (got <= 0 || (size_t)got > n) wrong("a write that does not block", got, n);
		b += got;
		n -= got;
	}
	return 1;
}

static int from_file(int fd, char *b, size_t n) {
	int file = memfd_create("body", MFD_CLOEXEC);
	if (file < 0 || write(file, b, n) != (ssize_t)n) die("memfd");
	off_t at = 0;
	int ok = alone("sendfile", sendfile(fd, file, &at, n), n);
	close(file);
	return ok;
}

struct job { int fd, ok; char *b; size_t n; };

static void *write_job(void *arg) {
	struct job *j = arg;
	j->ok = alone("write of another thread", write(j->fd, j->b, j->n), j->n);
	return NULL;
}

static int by_thread(int fd, char *b, size_t n) {
	struct job j = {fd, 0, b, n};
	pthread_t t;
	if (pthread_create(&t, NULL, write_job, &j)) die("pthread_create");
	pthread_join(t, NULL);
	return j.ok;
}

static int read_all(int fd, void *to, size_t n) {
	char *p = to;
	while (n > 0) {
		ssize_t got = read(fd, p, n);
		if (got <= 0) return 0;
		p += got;
		n -= got;
	}
	return 1;
}

static int operate(int fd, unsigned what, char *b, size_t n) {
	struct iovec v[3] = {{b, n / 3}, {b + n / 3, n / 2 - n / 3}, {b + n / 2, n - n / 2}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 3};
	int small = 4096, ok;
	char part[4096];
	unsigned more;
	switch (what) {
	case WRITE: return alone("write", write(fd, b, n), n);
	case WRITEV: return alone("writev", writev(fd, v, 3), n);
	case SENDTO: return alone("send", send(fd, b, n, MSG_NOSIGNAL), n);
	case SENDMSG: return alone("sendmsg", sendmsg(fd, &m, MSG_NOSIGNAL), n);
	case SENDFILE: return from_file(fd, b, n);
	case MORE: return alone("send with MSG_MORE", send(fd, b, n, MSG_NOSIGNAL | MSG_MORE), n);
	case THREAD: return by_thread(fd, b, n);
	case DONTWAIT: return in_pieces(fd, b, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	case NONBLOCK:
		fcntl(fd, F_SETFL, O_NONBLOCK);
		ok = in_pieces(fd, b, n, 0);
		fcntl(fd, F_SETFL, 0);
		return ok;
	case WAIT:
		while (access("go", F_OK) < 0) sleep_ms(5);
		return 1;
	case UPLOAD:
		memcpy(&more, b, sizeof more);
		return read_all(fd, part, more);
	case SMALL: return setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0;
	}
	fprintf(stderr, "operation %u?\n", what);
	exit(3);
}

static void *serve(void *arg) {
	int fd = (int)(long)arg;
	unsigned size;
	char head[HEAD];
	while (read_all(fd, head, HEAD) && read_all(fd, &size, 4)) {
		char *script = malloc(size), *p = script;
		if (!read_all(fd, script, size)) break;
		while (p < script + size) {
			unsigned op[2];
			memcpy(op, p, sizeof op);
			p += sizeof op;
			if (!operate(fd, op[0], p, op[1])) break;
			p += op[1];
		}
		free(script);
	}
	close(fd);
	return NULL;
}

int main(int argc, char **argv) {
	pthread_attr_t small;
	pthread_t thread;
	parse_options(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 128 << 10);
	pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
	int listener = open_listener(0);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0) die("accept");
		if (pthread_create(&thread, &small, serve, (void *)(long)fd)) die("pthread_create");
	}
}
