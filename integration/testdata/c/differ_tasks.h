/* Steps with processes, signals and files. */

static volatile int got[65];

static void note(int sig) { got[sig] = 1; }

static const int signals[] = {SIGUSR1, SIGUSR2, SIGHUP, SIGWINCH, 0, 65, -1};

static void hear(void) {
	/* SA_RESTART: what a call gives does not depend on when a signal comes. */
	struct sigaction s = {.sa_handler = note, .sa_flags = SA_RESTART};
	for (int n = 0; n < 4; n++) sigaction(signals[n], &s, NULL);
	sigaction(SIGIO, &s, NULL);
}

static void say_got(void) {
	say(" got");
	for (int n = 0; n < 4; n++) {
		if (got[signals[n]]) say(" %d", signals[n]);
		got[signals[n]] = 0;
	}
}

static void step_kill(void) {
	int sig = signals[below(16) % 7], how = below(6);
	switch (how) {
	case 0: say("kill me %d", sig), gave(kill(getpid(), sig)); break;
	case 1: case 2: say("kill 0 %d", sig), gave(kill(0, sig)); break;
	case 3: say("kill -group %d", sig), gave(kill(-getpgrp(), sig)); break;
	case 4: say("killpg %d", sig), gave(killpg(getpgrp(), sig)); break;
	default: say("kill -nobody %d", sig), gave(kill(-0x3ffffff, sig));
	}
	say_got();
}

static void step_mask(void) {
	sigset_t set, old;
	int how = ONE_OF(((int[]){SIG_BLOCK, SIG_UNBLOCK, SIG_UNBLOCK, SIG_SETMASK, 9}));
	sigemptyset(&set);
	for (int n = 0; n < 4; n++)
		if (below(2) && !(signals[n] == SIGHUP && without("masked-hangup"))) sigaddset(&set, signals[n]);
	say("sigprocmask %d", how), gave(sigprocmask(how, &set, &old));
	say(" was");
	for (int n = 1; n < 65 && how != 9; n++)
		if (sigismember(&old, n) == 1) say(" %d", n);
	sigpending(&set);
	say(" pending");
	for (int n = 1; n < 65; n++)
		if (sigismember(&set, n) == 1) say(" %d", n);
	say_got();
}

static void some_steps(int from, int to);

/* step_fork: a child does some of it, too. */
static void step_fork(void) {
	int count = 1 + below(5), first = 100000 + me.step * 10, code = below(200), ws;
	say("fork");
	if (me.depth) {
		say(" not");
		return;
	}
	int pid = fork();
	if (pid == 0) {
		me.depth++;
		line_len = 0;
		some_steps(first, first + count);
		_exit(code);
	}
	say(" waitpid = %d", waitpid(pid, &ws, 0) == pid);
	say(" %x", ws);
	say_got();
}

/* step_file: on the names in the sequence's own directory, and a look at those that
 * serve. */
static void step_file(void) {
	static const char *const names[] = {"a", "b", "c", "./a", ".././nowhere/b"};
	const char *x = ONE_OF(names), *y = ONE_OF(names), *served_name = served[below(2) ? 4 : 6].a.un.sun_path;
	struct stat st;
	int mode = ONE_OF(((int[]){0600, 0666, 0777, 04755}));
	int what = below(8);
	if (what != 4 && deaf() && without("old-paths")) return;
	switch (what) {
	case 0: say("unlink %s", x), gave(unlink(x)); return;
	case 1: say("rename %s %s", x, y), gave(rename(x, y)); return;
	case 2: say("chmod %s %o", x, mode), gave(chmod(x, mode)); return;
	case 3: say("link %s %s", x, y), gave(link(x, y)); return;
	case 4: say("umask %o", mode & 077), say(" = %o", umask(mode & 077)); return;
	case 5: say("unlinkat %s", x), gave(unlinkat(AT_FDCWD, x, below(4) == 0 ? AT_REMOVEDIR : 0)); return;
	case 6:
		/* The permissions of what is to serve are set once it does. */
		if (!early()) x = served_name;
		/* fall through */
	default:
		say("stat %s", x == served_name ? "served" : x);
		if (gave(lstat(x, &st)) == 0) say(" %o links %d", st.st_mode, (int)st.st_nlink);
	}
}
