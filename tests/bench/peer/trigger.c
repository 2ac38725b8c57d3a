// SPDX-License-Identifier: Apache-2.0
/*
 * What the benchmarks hurt, in a cgroup made for it:
 *   trigger exec CGROUP COUNT GAP_US   COUNT processes, one after the other, each of which executes a program
 *                                      twice and then waits to be killed
 *   trigger fork CGROUP COUNT GAP_US   one process that forks COUNT times
 *   trigger loop CGROUP COUNT GAP_US   one process that executes a program COUNT times
 * Prints how many were killed (exec), or how often it was done (fork, loop). Everything dies with the process
 * that started it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_US 2000000L

static void sleep_us(long us)
{
	struct timespec left = { us / 1000000, us % 1000000 * 1000 };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

static int die(const char *what)
{
	perror(what);
	return 1;
}

/* A child that begins its life inside the cgroup; 0 in the child. */
static pid_t clone_into(int cgroup)
{
	struct clone_args args = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = cgroup };
	pid_t pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static int execute(int cgroup, long count, char *gap)
{
	long killed = 0;

	for (long i = 0; i < count; i++) {
		pid_t pid = clone_into(cgroup);
		int status;

		if (pid < 0)
			return die("clone3");
		if (pid == 0) {
			execl("/proc/self/exe", "trigger", "again", gap, NULL);
			_exit(127);
		}
		if (waitpid(pid, &status, 0) < 0)
			return die("waitpid");
		killed += WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM);
		sleep_us(atol(gap));
	}
	printf("%ld\n", killed);
	return 0;
}

static int fork_on(int cgroup, long count, long gap_us)
{
	pid_t pid = clone_into(cgroup);
	int status;

	if (pid < 0)
		return die("clone3");
	if (pid == 0) {
		for (long i = 0; i < count; i++) {
			pid_t child = fork();

			if (child == 0)
				_exit(0);
			waitpid(child, NULL, 0);
			sleep_us(gap_us);
		}
		_exit(0);
	}
	if (waitpid(pid, &status, 0) < 0)
		return die("waitpid");
	printf("%ld\n", WIFEXITED(status) ? count : 0);
	return 0;
}

static int again(char *count, char *gap)
{
	char left[24];

	sleep_us(atol(gap));
	if (atol(count) == 0)
		return 0;
	snprintf(left, sizeof(left), "%ld", atol(count) - 1);
	execl("/proc/self/exe", "trigger", "left", left, gap, NULL);
	return die("exec");
}

static int loop(int cgroup, char *count, char *gap)
{
	pid_t pid = clone_into(cgroup);
	int status;

	if (pid < 0)
		return die("clone3");
	if (pid == 0)
		_exit(again(count, gap));
	if (waitpid(pid, &status, 0) < 0)
		return die("waitpid");
	printf("%s\n", WIFEXITED(status) && !WEXITSTATUS(status) ? count : "0");
	return 0;
}

int main(int argc, char **argv)
{
	int cgroup;

	if (argc == 3 && !strcmp(argv[1], "again")) {
		/* Let the reader of the first execution fall asleep again. */
		sleep_us(atol(argv[2]));
		execl("/proc/self/exe", "trigger", "wait", NULL);
		return die("exec");
	}
	if (argc == 4 && !strcmp(argv[1], "left"))
		return again(argv[2], argv[3]);
	if (argc == 2 && !strcmp(argv[1], "wait")) {
		sleep_us(PATIENCE_US);
		return 0;
	}
	if (argc != 5)
		return 2;
	/* Under load the trigger should not be what is waited for. */
	setpriority(PRIO_PROCESS, 0, -20);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	cgroup = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup < 0)
		return die(argv[2]);
	if (!strcmp(argv[1], "exec"))
		return execute(cgroup, atol(argv[3]), argv[4]);
	if (!strcmp(argv[1], "loop"))
		return loop(cgroup, argv[3], argv[4]);
	return fork_on(cgroup, atol(argv[3]), atol(argv[4]));
}
