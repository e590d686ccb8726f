/* A server of root's with a child that is somebody else, which does what model says
 * to those above it:
 *   hangup    sends itself SIGHUP all the time, and says that it is from root
 *   notify    tells the service manager what is not its own to tell; in version
 *             "bad", which ends soon, by the name of a path that it can't bind, too */
#include "common.h"
#include <grp.h>
#include <sys/syscall.h>

static void notify(const char *text) {
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (!name) die("NOTIFY_SOCKET");
	memcpy(a.sun_path, name, strlen(name));
	if (*name == '@') a.sun_path[0] = 0;
	sendto(s, text, strlen(text), 0, (struct sockaddr *)&a, offsetof(struct sockaddr_un, sun_path) + strlen(name));
	close(s);
}

static void tell_lies(void) {
	static const char *const lies[] = {"MAINPID=1", "WATCHDOG=trigger", "STATUS=a lie\nMAINPID=1", "READY=1\nSTOPPING=1", "X_LIE=1", "FDSTORE=1\nFDNAME=lie"};
	fprintf(stderr, "stranger %s: begins\n", version());
	if (!strcmp(version(), "bad")) {
		struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "nowhere/lie\nMAINPID=1\nWATCHDOG=trigger\r\nSTATUS=a lie"};
		for (int n = 0; n < 20; n++) bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof a);
	}
	long began = now_ms();
	for (int n = 0; n < 1000; n++) notify(lies[n % 6]);
	fprintf(stderr, "stranger %s: told 1000 lies in %ld ms\n", version(), now_ms() - began);
	for (int n = 0;; n++, sleep_ms(20)) notify(lies[n % 6]);
}

static void ignore(int sig) { (void)sig; }

static void hang_up(void) {
	siginfo_t from_root = {.si_signo = SIGHUP, .si_code = SI_USER};
	from_root.si_pid = 1;
	struct sigaction s = {.sa_handler = ignore};
	sigaction(SIGHUP, &s, NULL);
	fprintf(stderr, "stranger %s: begins\n", version());
	for (;; sleep_ms(20)) syscall(SYS_rt_sigqueueinfo, getpid(), SIGHUP, &from_root);
}

int main(int argc, char **argv) {
	parse_options(argc, argv);
	int notifies = !strcmp(opt.model, "notify"), bad = !strcmp(version(), "bad");
	int fd = bad ? -1 : open_listener(SOCK_CLOEXEC);
	if (!fork()) {
		if (setgroups(0, NULL) || setgid(65534) || setuid(65534)) die("setuid");
		if (notifies) tell_lies();
		if (!strcmp(opt.model, "hangup")) hang_up();
		die(opt.model);
	}
	if (notifies) {
		sleep_ms(200); /* its lies come first */
		notify("STATUS=of the server's\nMAINPID=1\nWATCHDOG=trigger");
		for (int n = 1; n <= 5; n++) {
			char line[20];
			snprintf(line, sizeof line, "X_SERVER=%d", n);
			notify(line);
		}
	}
	if (bad) return 3;
	for (;;) serve_blocking(accept(fd, NULL, NULL));
}
