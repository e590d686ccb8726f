/* What hostile.c does with files. */

static void path_act(void) {
	const char *p = some_path(), *q = some_path();
	int at = below(3) ? AT_FDCWD : some_fd();
	switch (below(18)) {
	case 0: case 1: unlink(p); break;
	case 2: unlinkat(at, p, below(2) ? AT_REMOVEDIR : 0); break;
	case 3: case 4: rename(p, q); break;
	case 5: renameat(at, p, AT_FDCWD, q); break;
	case 6: syscall(SYS_renameat2, at, p, AT_FDCWD, q, below(8)); break;
	case 7: if (symlink(below(2) ? own("..") : q, p)) errno = 0; break;
	case 8: if (link(p, q)) errno = 0; break;
	case 9: chmod(p, below(2) ? 06777 : 0666); break;
	case 10: if (chown(p, getuid(), getgid())) errno = 0; break;
	case 11: if (lchown(p, below(2) ? 65533 : getuid(), -1)) errno = 0; break;
	case 12: if (below(2)) mkdir(p, 0777); else rmdir(p); break;
	case 13: keep(open(p, (below(2) ? O_PATH : O_RDONLY) | O_NONBLOCK | (below(2) ? O_CREAT : 0), 0666)); break;
	case 14: if (truncate(p, below(100))) errno = 0; break;
	case 15: umask(below(01000)); break;
	case 16: if (below(4) ? chdir(own(".")) : chdir(p)) errno = 0; break;
	default: /* a pointer that is none, a name that never ends */
		unlink(some_pointer());
		rename(p, some_pointer());
	}
}

/* A link that leads to one's own place and to root's by turns, and a name that is a
 * socket, a link, nothing. */
static void swap_links(int rounds) {
	const char *const targets[] = {own("."), "../root", "../sticky", opt.arena, "/", "a"};
	char next[300], link[300];
	snprintf(next, sizeof next, "%s", own("next"));
	snprintf(link, sizeof link, "%s", own(below(2) ? "link" : "a"));
	while (rounds--) {
		char target[300];
		snprintf(target, sizeof target, "%s%s", ONE_OF(targets), below(2) ? "" : "/file");
		if (symlink(target, next) == 0 || errno == EEXIST) rename(next, link);
		if (below(8) == 0) {
			union address a = {.un.sun_family = AF_UNIX};
			int fd = socket(AF_UNIX, SOCK_STREAM, 0);
			unlink(link);
			put_path(&a, link);
			bind(fd, &a.any, sizeof a.un);
			fchmod(fd, 06777), chmod(link, 06777);
			if (listen(fd, 1) == 0 && below(2)) rename(link, some_path());
			keep(fd);
		}
	}
}

/* Another one's root, and what is mounted there, in a user namespace. */
static void other_world(void) {
	const int more[] = {CLONE_NEWNS, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP, 0};
	char map[40];
	int uid = getuid(), gid = getgid();
	prctl(PR_SET_DUMPABLE, 1);
	if (unshare(CLONE_NEWUSER | ONE_OF(more) | ONE_OF(more))) return;
	write_to("/proc/self/setgroups", "deny");
	snprintf(map, sizeof map, "0 %d 1", uid);
	write_to("/proc/self/uid_map", map);
	snprintf(map, sizeof map, "0 %d 1", gid);
	write_to("/proc/self/gid_map", map);
	switch (below(5)) {
	case 0: mount("none", own("d"), "tmpfs", 0, NULL); break;
	case 1: mount(own("."), own("d"), NULL, MS_BIND, NULL); break;
	case 2: mount("proc", own("d"), "proc", 0, NULL); break;
	case 3: {
		char jail[400];
		snprintf(jail, sizeof jail, "%s", own("jail"));
		mkdir(jail, 0777);
		char path[800], *at = jail + strlen(jail);
		snprintf(path, sizeof path, "%s%s/own", jail, opt.arena);
		for (char *p = path + (at - jail) + 1; (p = strchr(p, '/')); *p++ = '/') *p = 0, mkdir(path, 0777);
		mkdir(path, 0777);
		if (chroot(jail) || (below(2) && chdir("/"))) errno = 0;
		break;
	}
	default: if (chroot(own("link"))) errno = 0;
	}
}
