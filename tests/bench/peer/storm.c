// SPDX-License-Identifier: Apache-2.0
/*
 * A storm of kernel events, for SECONDS: one process forks, one wakes another through a pipe and back, one
 * asks for descriptors beyond its limit, one touches new pages. Everything dies with the process that started
 * it. storm SECONDS
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 4096
#define DESCRIPTORS 16

static void forks(void)
{
	for (;;) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
}

static void wakeups(void)
{
	int there[2], back[2];
	char byte = 0;

	if (pipe(there) || pipe(back))
		_exit(1);
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
			;
		_exit(0);
	}
	while (write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1)
		;
}

static void failures(void)
{
	struct rlimit limit = { DESCRIPTORS, DESCRIPTORS };

	setrlimit(RLIMIT_NOFILE, &limit);
	for (;;)
		if (dup(0) < 0)
			continue;
}

static void faults(void)
{
	size_t bytes = PAGES * sysconf(_SC_PAGESIZE);

	for (;;) {
		char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED)
			_exit(1);
		memset(memory, 1, bytes);
		munmap(memory, bytes);
	}
}

int main(int argc, char **argv)
{
	void (*const parts[])(void) = { forks, wakeups, failures, faults };
	pid_t pids[4];

	if (argc != 2)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < 4; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			parts[i]();
			_exit(1);
		}
	}
	sleep(atoi(argv[1]));
	for (int i = 0; i < 4; i++)
		kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}
