/* Says what its terminal does with it: which of 0, 1, 2 are terminals, whether
 * it is in the foreground, each signal that the terminal sends, and each line
 * that is typed. It ends half a second after the first SIGINT, with 10 plus
 * the number of SIGINTs; on "quit" with 3. */
#include "common.h"
#include <stdarg.h>
#include <termios.h>
#include <sys/ioctl.h>
#include <sys/select.h>

static volatile sig_atomic_t interrupts, continued, resized;

static void on_signal(int sig) {
	if (sig == SIGINT) interrupts++;
	if (sig == SIGCONT) continued++;
	if (sig == SIGWINCH) resized++;
}

static void say(const char *format, ...) {
	va_list ap;
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	fflush(stdout);
}

int main(void) {
	struct sigaction sa = {.sa_handler = on_signal};
	sigset_t ours, others;
	struct winsize size = {0};
	char line[200];
	int saw_continued = 0, saw_resized = 0;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGCONT, &sa, NULL);
	sigaction(SIGWINCH, &sa, NULL);
	/* They come while it waits and at no other time, or one that came just
	 * before would be told only with the next line. */
	sigemptyset(&ours);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGCONT);
	sigaddset(&ours, SIGWINCH);
	sigprocmask(SIG_BLOCK, &ours, &others);
	say("terminals %d%d%d foreground %d ready\n", isatty(0), isatty(1), isatty(2), tcgetpgrp(0) == getpgrp());
	for (;;) {
		fd_set in;
		FD_ZERO(&in);
		FD_SET(0, &in);
		int ready = pselect(1, &in, NULL, NULL, NULL, &others);
		if (continued > saw_continued) say("continued %d foreground %d\n", saw_continued = continued, tcgetpgrp(0) == getpgrp());
		if (resized > saw_resized) {
			ioctl(0, TIOCGWINSZ, &size);
			say("resized %d to %dx%d\n", saw_resized = resized, size.ws_col, size.ws_row);
		}
		if (interrupts) {
			sleep_ms(500);
			say("interrupts %d\n", interrupts);
			return 10 + interrupts;
		}
		if (ready < 0 && errno == EINTR) continue;
		ssize_t n = read(0, line, sizeof line - 1);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return 1;
		line[n] = 0;
		say("typed %s", line);
		if (!strncmp(line, "quit", 4)) return 3;
	}
}
