// SPDX-License-Identifier: Apache-2.0
/*
 * Faults and whom they hurt, each in the cgroup it moves itself into:
 *   fault CGROUP wake PROCESSES PERIOD_US   processes that sleep and work for moments
 *   fault CGROUP work PROCESSES PERIOD_US   processes that sleep and work for longer than a slice of time
 *   fault CGROUP burn PROCESSES 0           processes that never sleep
 *   fault CGROUP fork PER_S 0               one that forks so often, at random
 *   fault CGROUP read DEVICE GAP_US         random reads of 4 KiB past the page cache
 *   fault CGROUP write DEVICE PROCESSES     synchronous writes of 4 MiB past the page cache
 *   fault CGROUP stream DEVICE GAP_US       reads of 64 KiB through the page cache, over and over
 *   fault CGROUP thrash DEVICE PROCESSES    processes that touch pages of the mapped device at random
 *   fault CGROUP bomb LIVE 0                processes that all fork, so many at a time, for a minute at most
 *   fault CGROUP grow MIB HUGE              one that touches new memory and keeps it; HUGE 0: in small pages
 *   fault CGROUP touch MIB TIMES            one that touches new memory in small pages and gives it back; it
 * ends, and says how many seconds that took fault CGROUP again GAP_US 0             one that executes itself
 * again and again fault CGROUP talk CONNECTIONS GAP_US    messages over the loopback of a network namespace
 * of its own;
 *
 * Each line that `talk` reads says how many in 1,000 segments are lost from now on. All print CLOCK_MONOTONIC
 * nanoseconds when they begin, and when losses change. Everything dies with the process that started it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <math.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOMENT 20000
#define LONG (200 * MOMENT)
#define BLOCK 4096
#define WRITE (4 << 20)
#define SPAN (64 << 20)
#define MAX_CONNECTIONS 256
#define STREAM (64 << 10)
#define MIB (1 << 20)
#define BOMB_SECONDS 60

static int die(const char *what)
{
	perror(what);
	exit(1);
}

static void sleep_us(long us)
{
	struct timespec left = { us / 1000000, us % 1000000 * 1000 };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

static void tell_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("%llu\n", now.tv_sec * 1000000000ULL + now.tv_nsec);
	fflush(stdout);
}

static void move_into(const char *cgroup)
{
	int fd, folder = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	fd = openat(folder, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		die(cgroup);
	close(fd);
	close(folder);
}

/* Of the gaps between events that come at random, so many a second. */
static long random_gap_us(long per_s)
{
	return -log(1 - drand48()) * 1000000 / per_s;
}

/* So many processes in all; returns in each of them. */
static void multiply(long processes)
{
	while (--processes > 0)
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			return;
		}
}

static void wake(long processes, long period_us, unsigned turns)
{
	volatile unsigned sum = 0;

	multiply(processes);
	for (;;) {
		sleep_us(period_us);
		for (unsigned i = 0; i < turns; i++)
			sum += i;
	}
}

static void burn(long processes)
{
	volatile unsigned long sum = 0;

	multiply(processes);
	for (;;)
		sum++;
}

static void fork_on(long per_s)
{
	for (;;) {
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		waitpid(child, NULL, 0);
		sleep_us(random_gap_us(per_s));
	}
}

static int open_device(const char *device, int flags)
{
	int fd = open(device, flags | O_DIRECT | O_CLOEXEC);

	return fd < 0 ? die(device) : fd;
}

static void *aligned(size_t size)
{
	void *memory = NULL;

	if (posix_memalign(&memory, BLOCK, size))
		die("memory");
	memset(memory, 1, size);
	return memory;
}

static void read_on(const char *device, long gap_us)
{
	int fd = open_device(device, O_RDONLY);
	void *memory = aligned(BLOCK);

	for (;;) {
		if (pread(fd, memory, BLOCK, random() % (SPAN / BLOCK) * BLOCK) != BLOCK)
			die("read");
		sleep_us(gap_us);
	}
}

static void write_on(const char *device, long processes)
{
	int fd = open_device(device, O_WRONLY);
	void *memory = aligned(WRITE);

	multiply(processes);
	for (off_t at = 0;; at = (at + WRITE) % SPAN)
		if (pwrite(fd, memory, WRITE, at) != WRITE)
			die("write");
}

static void stream(const char *device, long gap_us)
{
	static char memory[STREAM];
	int fd = open(device, O_RDONLY | O_CLOEXEC);

	for (off_t at = 0;; at = (at + STREAM) % SPAN) {
		if (pread(fd, memory, STREAM, at) != STREAM)
			die("stream");
		sleep_us(gap_us);
	}
}

static void thrash(const char *device, long processes)
{
	int fd = open(device, O_RDONLY | O_CLOEXEC);
	volatile const char *memory = mmap(NULL, SPAN, PROT_READ, MAP_SHARED, fd, 0);
	unsigned long sum = 0;

	if (memory == MAP_FAILED || madvise((void *)memory, SPAN, MADV_RANDOM))
		die("thrash");
	multiply(processes);
	srandom(getpid());
	for (;;)
		sum += memory[random() % (SPAN / BLOCK) * BLOCK];
}

/* The first stays; of the others, those that find no room for a child make room themselves. */
static void bomb(long live)
{
	atomic_long *now = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	time_t end = time(NULL) + BOMB_SECONDS;
	pid_t first = getpid();

	if (now == MAP_FAILED)
		die("bomb");
	signal(SIGCHLD, SIG_IGN);
	atomic_store(now, 1);
	while (time(NULL) < end) {
		if (atomic_fetch_add(now, 1) < live && fork() >= 0)
			continue;
		atomic_fetch_sub(now, 1);
		if (getpid() != first)
			break;
		sched_yield();
	}
	atomic_fetch_sub(now, 1);
	_exit(0);
}

static void grow(long mib, bool huge)
{
	for (long i = 0; i < mib; i++) {
		char *memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED || (!huge && madvise(memory, MIB, MADV_NOHUGEPAGE)))
			die("grow");
		memset(memory, 1, MIB);
	}
	pause();
	_exit(0);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void touch(long mib, long times)
{
	double began = seconds();

	while (times-- > 0) {
		char *memory =
			mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED || madvise(memory, mib * MIB, MADV_NOHUGEPAGE))
			die("touch");
		for (long at = 0; at < mib * MIB; at += BLOCK)
			memory[at] = 1;
		munmap(memory, mib * MIB);
	}
	printf("touched, %.6f s\n", seconds() - began);
	exit(0);
}

/* The last word tells the first execution from those after it. */
static void again(char **words)
{
	sleep_us(atol(words[3]));
	words[4] = "1";
	execv("/proc/self/exe", words);
	die("again");
}

static void raise_loopback(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };

	if (unshare(CLONE_NEWNET))
		die("unshare");
	close(fd);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (ioctl(fd, SIOCSIFFLAGS, &request))
		die("lo");
	close(fd);
}

/* A connection in two ends. */
static void connect_pair(int listener, struct sockaddr_in *address, int *near, int *far)
{
	int one = 1;

	*near = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(*near, (struct sockaddr *)address, sizeof(*address)))
		die("connect");
	*far = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	setsockopt(*near, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fcntl(*near, F_SETFL, O_NONBLOCK);
}

/* What arrives is dropped at random before TCP sees it, as if it had been lost on the way. */
static void lose(int socket, unsigned per_mille)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_RANDOM),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0xffffffffU / 1000 * per_mille, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };

	if (setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)))
		die("filter");
}

static void change_losses(int *far, long connections)
{
	char line[32] = "";

	if (read(0, line, sizeof(line) - 1) <= 0)
		exit(0);
	tell_time();
	for (long i = 0; i < connections; i++)
		lose(far[i], atoi(line));
}

static void talk(long connections, long gap_us)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int listener, near[MAX_CONNECTIONS], far[MAX_CONNECTIONS];
	socklen_t size = sizeof(address);
	struct pollfd orders = { .fd = 0, .events = POLLIN };
	char message[64] = "", received[4096];

	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (connections > MAX_CONNECTIONS || bind(listener, (struct sockaddr *)&address, size) ||
	    listen(listener, MAX_CONNECTIONS) || getsockname(listener, (struct sockaddr *)&address, &size))
		die("listen");
	for (long i = 0; i < connections; i++)
		connect_pair(listener, &address, &near[i], &far[i]);
	for (;;) {
		for (long i = 0; i < connections; i++) {
			if (write(near[i], message, sizeof(message)) < 0 && errno != EAGAIN)
				die("write");
			while (read(far[i], received, sizeof(received)) > 0)
				;
		}
		if (poll(&orders, 1, 0) > 0)
			change_losses(far, connections);
		sleep_us(gap_us);
	}
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!strcmp(argv[2], "again") && strcmp(argv[4], "0"))
		again(argv);
	move_into(argv[1]);
	if (!strcmp(argv[2], "talk"))
		raise_loopback();
	tell_time();
	if (!strcmp(argv[2], "wake"))
		wake(atol(argv[3]), atol(argv[4]), MOMENT);
	if (!strcmp(argv[2], "work"))
		wake(atol(argv[3]), atol(argv[4]), LONG);
	if (!strcmp(argv[2], "burn"))
		burn(atol(argv[3]));
	if (!strcmp(argv[2], "fork"))
		fork_on(atol(argv[3]));
	if (!strcmp(argv[2], "read"))
		read_on(argv[3], atol(argv[4]));
	if (!strcmp(argv[2], "write"))
		write_on(argv[3], atol(argv[4]));
	if (!strcmp(argv[2], "stream"))
		stream(argv[3], atol(argv[4]));
	if (!strcmp(argv[2], "thrash"))
		thrash(argv[3], atol(argv[4]));
	if (!strcmp(argv[2], "bomb"))
		bomb(atol(argv[3]));
	if (!strcmp(argv[2], "grow"))
		grow(atol(argv[3]), atol(argv[4]));
	if (!strcmp(argv[2], "touch"))
		touch(atol(argv[3]), atol(argv[4]));
	if (!strcmp(argv[2], "again"))
		again(argv);
	if (!strcmp(argv[2], "talk"))
		talk(atol(argv[3]), atol(argv[4]));
	return 2;
}
