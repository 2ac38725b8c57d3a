// SPDX-License-Identifier: Apache-2.0
/*
 * The peer: the same reflexes as the arc's, in C over libbpf, with the arc's own BPF objects.
 *   reflex kill|freeze OBJECTS CGROUP FOR_NS INTERVAL_NS
 * Prints "ready", reacts until SIGTERM, then prints a line a reflex, CLOCK_MONOTONIC nanoseconds:
 *   event decided returned effect
 * It decides by the same test (GCRA of one event in INTERVAL_NS and burst 1), makes sure of the victim's
 * identity in the same way, confirms the effect and takes a freeze back by timer. It writes no journal.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "events.h"

#define NS 1000000000ULL
#define BURST 1
#define MAX_REFLEXES 65536
#define PROCESSES 4096
#define PRIORITY 50

static const char *const sensors[] = { "cgroup", "process", "cpu" };
static const char *const shared[] = { "events", "gates", "counts", "values" };

struct reflex {
	__u64 event, decided, returned, effect;
	__u32 pid;
};

static struct reflex done[MAX_REFLEXES];
static size_t count;

/* One process followed by the test; the oldest of a slot gives way. */
static struct {
	__u64 start_ns, arrival_ns;
	__u32 pid;
} followed[PROCESSES];

static bool killing;
static int freeze_fd, timer_fd;
static __u64 *watched;
static __u64 target, for_ns, interval_ns, arrival_ns;
static volatile sig_atomic_t stopping;

static __u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS + now.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static bool fires(__u64 *arrival, const struct event *event)
{
	__u64 start = *arrival > event->since_ns ? *arrival : event->since_ns;

	*arrival = start + event->weight * interval_ns;
	return *arrival > event->time_ns + BURST * interval_ns;
}

static __u64 *arrival_of(const struct event *event)
{
	size_t slot = event->pid % PROCESSES;

	if (!killing)
		return &arrival_ns;
	if (followed[slot].pid != event->pid || followed[slot].start_ns != event->start_ns) {
		followed[slot].pid = event->pid;
		followed[slot].start_ns = event->start_ns;
		followed[slot].arrival_ns = 0;
	}
	return &followed[slot].arrival_ns;
}

static bool kill_process(const struct event *event)
{
	int fd = syscall(SYS_pidfd_open, event->pid, 0);
	struct stat status;
	bool killed = false;

	if (fd < 0)
		return false;
	if (!fstat(fd, &status) && status.st_ino == event->inode) {
		watched[event->pid % WATCHED] = event->start_ns;
		killed = syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0;
	}
	close(fd);
	return killed;
}

/* Held open, as the arc holds it: an open control file belongs to that very cgroup for good. */
static bool set_frozen(char from, const char *to)
{
	char before[8] = "";

	return pread(freeze_fd, before, sizeof(before) - 1, 0) > 0 && before[0] == from &&
	       pwrite(freeze_fd, to, 1, 0) == 1;
}

static void arm(__u64 at_ns)
{
	struct itimerspec when = { .it_value = { at_ns / NS, at_ns % NS } };

	timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void begin(const struct event *event)
{
	struct reflex *reflex = &done[count];
	bool ok;

	if (count == MAX_REFLEXES)
		return;
	reflex->event = event->time_ns;
	reflex->pid = event->pid;
	reflex->decided = now_ns();
	ok = killing ? kill_process(event) : set_frozen('0', "1");
	reflex->returned = now_ns();
	if (!ok)
		return;
	count++;
	if (!killing)
		arm(reflex->returned + for_ns);
}

static void confirm(const struct event *event)
{
	struct reflex *last = &done[count - 1];

	if (count && !last->effect && (!killing || last->pid == event->pid))
		last->effect = event->time_ns;
}

static int take(void *context, void *data, size_t size)
{
	const struct event *event = data;
	__u16 wanted = killing ? SIGNAL_PROCESS_EXEC : SIGNAL_PROCESS_FORK;

	if (event->cgroup != target)
		return 0;
	if (event->kind == EVENT_SIGNAL && event->signal == wanted && fires(arrival_of(event), event))
		begin(event);
	else if (event->kind == (killing ? EVENT_EXIT : EVENT_FROZEN) && (killing || event->value))
		confirm(event);
	return 0;
}

/* Load the sensors as the arc does, over one set of maps; the ring's descriptor. */
static int load(const char *folder)
{
	int fds[4] = { -1, -1, -1, -1 };

	for (size_t i = 0; i < sizeof(sensors) / sizeof(*sensors); i++) {
		struct bpf_object *object;
		struct bpf_program *program;
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s.bpf.o", folder, sensors[i]);
		object = bpf_object__open_file(path, NULL);
		if (!object)
			die(path);
		for (int m = 0; m < 4; m++)
			if (fds[m] >= 0)
				bpf_map__reuse_fd(bpf_object__find_map_by_name(object, shared[m]), fds[m]);
		if (bpf_object__load(object))
			die(path);
		for (int m = 0; m < 4; m++)
			if (fds[m] < 0)
				fds[m] = bpf_object__find_map_fd_by_name(object, shared[m]);
		bpf_object__for_each_program(program, object)
			if (!bpf_program__attach(program))
				die(bpf_program__name(program));
		if (!strcmp(sensors[i], "process"))
			watched = mmap(NULL, WATCHED * sizeof(*watched), PROT_READ | PROT_WRITE, MAP_SHARED,
				       bpf_object__find_map_fd_by_name(object, "watched"), 0);
	}
	{
		__u32 signal = killing ? SIGNAL_PROCESS_EXEC : SIGNAL_PROCESS_FORK;
		struct gate gate = { .window_ns = BURST * interval_ns,
				     .batch = 1,
				     .open = killing ? GATE_EACH : GATE_OPEN };

		if (bpf_map_update_elem(fds[1], &signal, &gate, BPF_ANY))
			die("gate");
	}
	return fds[0];
}

static void stop(int number)
{
	stopping = number;
}

static void react(int ring_fd)
{
	struct ring_buffer *ring = ring_buffer__new(ring_fd, take, NULL, NULL);
	struct epoll_event ready[4], wanted = { .events = EPOLLIN };
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	__u64 expirations;

	if (!ring || epoll_fd < 0)
		die("ring");
	wanted.data.fd = ring_fd;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ring_fd, &wanted);
	wanted.data.fd = timer_fd;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &wanted);
	puts("ready");
	fflush(stdout);
	while (!stopping) {
		int n = epoll_wait(epoll_fd, ready, 4, -1);

		ring_buffer__consume(ring);
		for (int i = 0; i < n; i++)
			if (ready[i].data.fd == timer_fd && read(timer_fd, &expirations, 8) == 8)
				set_frozen('1', "0");
	}
	if (!killing)
		set_frozen('1', "0");
}

int main(int argc, char **argv)
{
	struct sched_param priority = { .sched_priority = PRIORITY };
	struct sigaction action = { .sa_handler = stop };
	struct stat cgroup;
	int ring_fd;

	if (argc != 6)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigaction(SIGTERM, &action, NULL);
	killing = !strcmp(argv[1], "kill");
	for_ns = strtoull(argv[4], NULL, 10);
	interval_ns = strtoull(argv[5], NULL, 10);
	timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (stat(argv[3], &cgroup) || chdir(argv[3]))
		die(argv[3]);
	freeze_fd = open("cgroup.freeze", O_RDWR | O_CLOEXEC);
	if (freeze_fd < 0)
		die("cgroup.freeze");
	target = cgroup.st_ino;
	ring_fd = load(argv[2]);
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority))
		perror("SCHED_FIFO");
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		perror("mlockall");
	react(ring_fd);
	for (size_t i = 0; i < count; i++)
		printf("%llu %llu %llu %llu\n", done[i].event, done[i].decided, done[i].returned,
		       done[i].effect);
	return 0;
}
