/* What hostile.c does with processes, threads, memory and filters. */

static void act(void);

static void some_acts(int n) {
	while (n--) act();
}

static void *thread_acts(void *arg) {
	begin_chance((unsigned long)arg, opt.seed);
	if (below(3) == 0) swap_links(200);
	some_acts(60);
	return NULL;
}

static void *flip_memory(void *arg) {
	begin_chance((unsigned long)arg, opt.seed);
	for (int n = 0; n < 2000; n++) {
		char *p = moving_page() + 4096 * below(4);
		switch (below(4)) {
		case 0: mprotect(p, 4096, PROT_NONE); break;
		case 1: madvise(p, 4096, MADV_DONTNEED); break;
		case 2: munmap(p, 4096); break;
		}
		mmap(p, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		sched_yield();
	}
	return NULL;
}

/* One's own filter over the calls that hupt makes in a task. */
static void filter(void) {
	static const int calls[] = {SYS_bind, SYS_listen, SYS_dup3, SYS_recvmsg, SYS_close, SYS_mmap, SYS_munmap, SYS_socketpair, SYS_epoll_ctl, SYS_ioctl, SYS_unlink, SYS_seccomp};
	const unsigned results[] = {SECCOMP_RET_ERRNO | below(134), SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP,
	                            SECCOMP_RET_TRACE | below(65536), SECCOMP_RET_USER_NOTIF, SECCOMP_RET_LOG};
	unsigned result = ONE_OF(results);
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ONE_OF(calls), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, result),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof f / sizeof *f, f};
	int notifies = result == SECCOMP_RET_USER_NOTIF;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	/* Nobody ever answers. */
	keep(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, notifies ? SECCOMP_FILTER_FLAG_NEW_LISTENER : below(2) ? SECCOMP_FILTER_FLAG_TSYNC : 0, &program));
}

static void execute_itself(void) {
	char seed[40], arena[300], port[40], udp[40], hupt[40], master[40];
	snprintf(seed, sizeof seed, "seed=%lu", random_word());
	snprintf(arena, sizeof arena, "arena=%s", opt.arena);
	snprintf(port, sizeof port, "port=%d", opt.port);
	snprintf(udp, sizeof udp, "udp=%d", opt.udp);
	snprintf(hupt, sizeof hupt, "fd=%d", shared->hupt);
	snprintf(master, sizeof master, "workers=%d", shared->master);
	char name[300] = "/proc/self/exe";
	if (below(6) == 0) snprintf(name, sizeof name, "%s/root/suid", opt.arena);
	else if (below(6) == 0) snprintf(name, sizeof name, "%s", some_path());
	char *argv[] = {"hostile", "model=again", seed, arena, port, udp, hupt, master, NULL};
	if (below(8)) execve(name, argv, environ);
	else execve(name, (char **)some_pointer(), environ);
}

static void child_acts(void) {
	depth++;
	begin_chance(random_word(), opt.seed + depth);
	shared->pids[below(32)] = getpid();
	if (below(3) == 0) other_world();
	if (below(6) == 0) filter();
	if (below(6) == 0) prctl(PR_SET_DUMPABLE, 0);
	if (below(6) == 0) setsid();
	some_acts(40);
	if (depth < 4 && below(4) == 0) execute_itself();
	_exit(0);
}

static void fork_act(void) {
	static const unsigned long flags[] = {0, 0, 0, CLONE_UNTRACED, CLONE_PTRACE, CLONE_FILES, CLONE_FS | CLONE_FILES, CLONE_PARENT};
	if (depth >= 4 || __atomic_add_fetch(&shared->forks, 1, __ATOMIC_SEQ_CST) > MOST_FORKS) return;
	if (below(6) == 0) {
		volatile int fd = some_fd(); /* its stack is its parent's */
		union address a;
		socklen_t len = some_address(&a);
		if (vfork() == 0) {
			bind(fd, &a.any, len);
			listen(fd, 1);
			_exit(0);
		}
		return;
	}
	long pid = syscall(SYS_clone, SIGCHLD | ONE_OF(flags), NULL, NULL, NULL, 0);
	if (pid == 0) child_acts();
	if (pid > 0 && below(2)) waitpid(pid, NULL, WNOHANG);
}

static void signal_act(void) {
	static const int signals[] = {SIGHUP, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD, SIGCONT, SIGURG, SIGTRAP, SIGSTOP, SIGTSTP, SIGKILL, SIGALRM, 34, 64, 0};
	int pid = some_pid(), sig = ONE_OF(signals);
	siginfo_t info = {.si_signo = sig, .si_code = SI_QUEUE};
	switch (below(4)) {
	case 0: syscall(SYS_rt_sigqueueinfo, pid, sig, &info); break;
	case 1: syscall(SYS_tgkill, pid, pid, sig); break;
	case 2: {
		int fd = syscall(SYS_pidfd_open, pid, 0);
		if (syscall(SYS_pidfd_getfd, fd, below(30), 0) < 0) errno = 0;
		syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0);
		close(fd);
		break;
	}
	default: kill(pid, sig);
	}
}

static void look_into(int pid) {
	static const char *const names[] = {"mem", "environ", "fd/3", "ns/mnt", "ns/user", "ns/net", "root", "cwd", "oom_score_adj", "exe"};
	char path[100], b[64];
	long data = 0;
	struct iovec here = {b, sizeof b}, there = {(void *)0x400000, sizeof b};
	snprintf(path, sizeof path, "/proc/%d/%s", pid, ONE_OF(names));
	int fd = open(path, (below(2) ? O_RDWR : O_RDONLY) | O_NONBLOCK);
	if (fd >= 0 && strstr(path, "/ns/")) setns(fd, 0);
	keep(fd);
	process_vm_readv(pid, &here, 1, &there, 1, 0);
	process_vm_writev(pid, &here, 1, &there, 1, 0);
	switch (below(4)) {
	case 0: ptrace(PTRACE_ATTACH, pid, 0, 0); break;
	case 1: ptrace(PTRACE_SEIZE, pid, 0, random_word() & 0xff); break;
	case 2: ptrace(PTRACE_TRACEME, 0, 0, 0); break;
	default: ptrace(PTRACE_POKEDATA, pid, &data, 0);
	}
}

static void task_act(void) {
	pthread_t t;
	switch (below(15)) {
	case 0: case 1: case 2: fork_act(); break;
	case 3: case 4: signal_act(); break;
	case 5: look_into(some_pid()); break;
	case 6:
		if (depth < 3 && !pthread_create(&t, NULL, below(3) ? thread_acts : flip_memory, (void *)random_word())) pthread_detach(t);
		break;
	case 7: prctl(PR_SET_NAME, below(2) ? "x) Z 1 1\nUid:\t0" : "hupt"); break;
	case 8: prctl(PR_SET_DUMPABLE, below(2)); break;
	case 9: {
		struct rlimit r = {below(2) ? below(60) : 256, 256};
		setrlimit(RLIMIT_NOFILE, &r);
		break;
	}
	case 10: {
		sigset_t all;
		sigfillset(&all);
		pthread_sigmask(below(2), &all, NULL);
		break;
	}
	case 11: /* the table is full */
		for (int n = 0; n < 300 && dup(0) >= 0; n++) {
		}
		syscall(SYS_close_range, 60, ~0U, 0);
		break;
	case 12: { /* a stack that moves */
		void *p = mremap(moving_page(), 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, moving_page() + 8192);
		if (p == MAP_FAILED) errno = 0;
		break;
	}
	case 13: { /* what seems to be the vDSO, and has no end */
		int fd = open(own("x[vdso]"), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
		if (ftruncate(fd, 1L << 43) || mmap(NULL, 1L << 43, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED) errno = 0;
		close(fd);
		break;
	}
	default: {
		int nr = below(450), fd = some_fd();
		if (nr == SYS_msgget || nr == SYS_semget || nr == SYS_shmget) break; /* what they make stays */
		syscall(nr, fd > 2 ? fd : 3, some_pointer(), some_pointer(), some_pointer(), 0, 0);
	}
	}
}
