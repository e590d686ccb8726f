/* A server of root's with a child that is somebody else, which does what model says
 * to those above it:
 *   hangup    sends itself SIGHUP all the time, and says that it is from root */
#include "common.h"
#include <grp.h>
#include <sys/syscall.h>

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
	int fd = open_listener(SOCK_CLOEXEC), master = getpid();
	if (!fork()) {
		if (setgroups(0, NULL) || setgid(65534) || setuid(65534)) die("setuid");
		(void)master;
		if (!strcmp(opt.model, "hangup")) hang_up();
		die(opt.model);
	}
	for (;;) serve_blocking(accept(fd, NULL, NULL));
}
