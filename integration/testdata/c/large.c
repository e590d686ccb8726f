/* Answers every connection, in a thread of its own, with "size" bytes (set by
 * workers=, in MiB) in one blocking call, as model= says: write, send, writev,
 * sendmsg or sendfile. Bare, such a call always takes all. What it did not
 * take, it says on standard error. */
#include "common.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

static int listener;
static size_t size;
static char *data;
static int file;

static ssize_t transfer(int fd) {
	struct iovec v[3] = {{data, size / 3}, {data + size / 3, 0}, {data + size / 3, size - size / 3}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 3};
	off_t from = 0;
	if (!strcmp(opt.model, "write")) return write(fd, data, size);
	if (!strcmp(opt.model, "send")) return send(fd, data, size, MSG_NOSIGNAL);
	if (!strcmp(opt.model, "writev")) return writev(fd, v, 3);
	if (!strcmp(opt.model, "sendmsg")) return sendmsg(fd, &m, MSG_NOSIGNAL);
	return sendfile(fd, file, &from, size);
}

static void *answer(void *arg) {
	int fd = (int)(long)arg;
	ssize_t n = transfer(fd);
	if (n != (ssize_t)size) fprintf(stderr, "short: %zd of %zu: %s\n", n, size, n < 0 ? strerror(errno) : "");
	close(fd);
	return NULL;
}

int main(int argc, char **argv) {
	parse_options(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	size = (size_t)opt.workers << 20;
	file = memfd_create("data", 0);
	if (ftruncate(file, size) < 0) die("ftruncate");
	data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	for (size_t i = 0; i < size; i++) data[i] = (char)(i * 2654435761u >> 13);
	listener = open_listener(0);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		pthread_t thread;
		if (fd < 0 || pthread_create(&thread, NULL, answer, (void *)(long)fd)) die("accept");
		pthread_detach(thread);
	}
}
