// SPDX-License-Identifier: Apache-2.0
/*
 * Pids that change hands: reuse CULPRITS INNOCENTS COUNT LIFE_US
 * COUNT times one process executes a program in the cgroup CULPRITS and is gone moments later, and another
 * begins with the very same pid in the cgroup INNOCENTS. That one waits LIFE_US for what may happen to it.
 * Prints how often a culprit was killed before it ended, and how often an innocent was killed, stopped, or
 * had its nice value changed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KILLED = 1, STOPPED, REWEIGHED, KINDS };

#define MAX_LIFE_US 400

static void sleep_us(long us)
{
	struct timespec left = { us / 1000000, us % 1000000 * 1000 };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

static int die(const char *what)
{
	perror(what);
	exit(1);
}

/* A child in the cgroup that has this pid, or any pid for 0; 0 in the child. */
static pid_t clone_as(pid_t wanted, int cgroup)
{
	struct clone_args args = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = cgroup };
	pid_t pid;

	if (wanted) {
		args.set_tid = (unsigned long)&wanted;
		args.set_tid_size = 1;
	}
	/* What holds a pid may let go of it a little after its process was waited for. */
	do
		pid = syscall(SYS_clone3, &args, sizeof(args));
	while (pid < 0 && errno == EEXIST);
	if (pid < 0)
		die("clone3");
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static bool was_killed(pid_t culprit)
{
	int status;

	while (waitpid(culprit, &status, WUNTRACED) == culprit && WIFSTOPPED(status))
		kill(culprit, SIGKILL);
	return WIFSIGNALED(status);
}

/* 0, or one of the kinds of harm. */
static int harm(pid_t innocent)
{
	int status, stopped = 0;

	if (waitpid(innocent, &status, WUNTRACED) != innocent)
		die("waitpid");
	if (WIFSTOPPED(status)) {
		stopped = STOPPED;
		kill(innocent, SIGKILL);
		waitpid(innocent, &status, 0);
	}
	if (stopped)
		return stopped;
	return WIFEXITED(status) ? WEXITSTATUS(status) : KILLED;
}

int main(int argc, char **argv)
{
	int culprits, innocents, usual = getpriority(PRIO_PROCESS, 0);
	long killed = 0, harmed[KINDS] = {};
	pid_t pid = 0;
	char life[24];

	if (argc == 2) {
		if (atol(argv[1]))
			sleep_us(atol(argv[1]));
		return 0;
	}
	if (argc != 5)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	culprits = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	innocents = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (culprits < 0 || innocents < 0)
		die("cgroup");
	for (long i = 0; i < atol(argv[3]); i++) {
		pid_t culprit = clone_as(pid, culprits), innocent;

		if (culprit == 0) {
			snprintf(life, sizeof(life), "%ld", i % 2 ? i % MAX_LIFE_US : 0);
			execl("/proc/self/exe", "reuse", life, NULL);
			_exit(127);
		}
		pid = culprit;
		killed += was_killed(culprit);
		innocent = clone_as(pid, innocents);
		if (innocent == 0) {
			sleep_us(atol(argv[4]));
			_exit(getpriority(PRIO_PROCESS, 0) != usual ? REWEIGHED : 0);
		}
		harmed[harm(innocent)]++;
	}
	printf("%ld %ld %ld %ld\n", killed, harmed[KILLED], harmed[STOPPED], harmed[REWEIGHED]);
	return 0;
}
