// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * process: forks, executions, failed exits and crashes per cgroup; exits of watched processes, which
 * confirm a kill; protected programs, wherever they are executed.
 */
#include "dialect.h"

HOOK2(sched_process_fork, struct task_struct *, parent, struct task_struct *, child)
{
	/* A thread is no process. */
	if (READ(child, pid) != READ(child, tgid))
		return;
	count_signal(ctx, SIGNAL_PROCESS_FORK, child);
	react(SIGNAL_PROCESS_FORK, 1);
}

HOOK1(sched_process_exec, struct task_struct *, task)
{
	count_signal(ctx, SIGNAL_PROCESS_EXEC, task);
	react(SIGNAL_PROCESS_EXEC, 1);
	tell_if_protected(ctx, task);
}

static __always_inline void tell_if_watched(void *ctx, struct task_struct *task)
{
	u32 slot = (u32)READ(task, tgid) % WATCHED;
	u64 *start = LOOKUP(watched, &slot);
	struct event event = {};

	if (!start || *start != READ(task, start_boottime))
		return;
	*start = 0;
	about_task(&event, task);
	event.key = event.cgroup;
	event.value = READ(task, exit_code);
	emit(ctx, &event, EVENT_EXIT, bpf_ktime_get_ns());
}

/*
 * Of the processes with a pid modulo the size that have ended, the latest start. Kept only where pidfds have
 * no inodes of their own; what it is good for is in arc/kernel/identity.py. Pids wrap around at the size.
 */
MAP_MMAPABLE(ended, u64, ENDED);

static __always_inline void remember_end(struct task_struct *task)
{
	u32 slot = (u32)READ(task, tgid) % ENDED;
	u64 *last = LOOKUP(ended, &slot), start;

	/* The last thread gives up the pid; the first may have ended long before. */
	if (!last || READ(task, signal, live.counter))
		return;
	start = READ(task, group_leader, start_boottime);
	if (*last < start)
		*last = start;
}

HOOK1(sched_process_exit, struct task_struct *, task)
{
	int status = READ(task, exit_code);

	if (!HAS_FIELD(struct pid, ino))
		remember_end(task);
	/* The leader stands for the process; its threads may outlive it by moments. */
	if (READ(task, pid) != READ(task, tgid))
		return;
	if (status)
		count_signal(ctx, SIGNAL_PROCESS_EXIT_FAILURE, task);
	/* The lowest seven bits are the signal that ended it; SIGKILL (9) and SIGTERM (15) are orders. */
	if ((status & 0x7f) && (status & 0x7f) != 9 && (status & 0x7f) != 15)
		count_signal(ctx, SIGNAL_PROCESS_CRASH, task);
	tell_if_watched(ctx, task);
}
