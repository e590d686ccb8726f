/* A server of root's on a Unix path, with a child that is somebody else: that
 * unlinks the path, and renames a socket of its own over it, again and again. What
 * was allowed to it is written to standard error.
 */
#include "common.h"

static struct sockaddr_un address(const char *path) {
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof a.sun_path) die("path");
	strcpy(a.sun_path, path);
	return a;
}

static void take_away(const char *path) {
	char own[200];
	snprintf(own, sizeof own, "%s.own", path);
	struct sockaddr_un a = address(own);
	for (int n = 0; n < 200; n++) {
		if (!unlink(path)) fprintf(stderr, "unlink %s: done\n", version());
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (!bind(fd, (struct sockaddr *)&a, sizeof a)) {
			fprintf(stderr, "bind %s: done\n", version());
			if (!rename(own, path)) fprintf(stderr, "rename %s: done\n", version());
		}
		close(fd);
		sleep_ms(20);
	}
	_exit(0);
}

int main(int argc, char **argv) {
	parse_options(argc, argv);
	struct sockaddr_un a = address(opt.path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(opt.path);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 64) < 0) die("bind");
	chmod(opt.path, 0666);
	if (!fork()) {
		if (setgid(65534) || setuid(65534)) die("setuid");
		take_away(opt.path);
	}
	for (;;) serve_blocking(accept(fd, NULL, NULL));
}
