// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * process: forks, executions and failed exits per cgroup; exits of watched processes, which confirm a kill.
 */
#include "dialect.h"

/*
 * Start times of processes whose end the arc waits for, by pid modulo the size; 0: free. The arc writes into
 * it through a memory map. Of two that share a slot the later wins, and the other's end goes untold.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WATCHED);
	__type(key, __u32);
	__type(value, __u64);
} watched SEC(".maps");

/* Executable names that must never be a victim, as task->comm has them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, char[COMM_LENGTH]);
	__type(value, __u8);
} protected_names SEC(".maps");

HOOK(sched_process_fork, struct task_struct *parent, struct task_struct *child)
{
	/* A thread is no process. */
	if (child->pid == child->tgid)
		count_signal(SIGNAL_PROCESS_FORK, child);
	return 0;
}

HOOK(sched_process_exec, struct task_struct *task)
{
	char name[COMM_LENGTH] = {};
	struct event *event;

	count_signal(SIGNAL_PROCESS_EXEC, task);
	BPF_CORE_READ_STR_INTO(&name, task, comm);
	if (!bpf_map_lookup_elem(&protected_names, name))
		return 0;
	event = event_about(EVENT_PROTECTED, bpf_ktime_get_ns());
	if (event) {
		event_names(event, task);
		submit(event);
	}
	return 0;
}

static __always_inline void tell_if_watched(struct task_struct *task)
{
	__u32 slot = task->tgid % WATCHED;
	__u64 *start = bpf_map_lookup_elem(&watched, &slot);
	struct event *event;

	if (!start || *start != task->start_boottime)
		return;
	*start = 0;
	event = event_about(EVENT_EXIT, bpf_ktime_get_ns());
	if (!event)
		return;
	event_names(event, task);
	event->value = task->exit_code;
	submit(event);
}

HOOK(sched_process_exit, struct task_struct *task)
{
	/* The leader stands for the process; its threads may outlive it by moments. */
	if (task->pid != task->tgid)
		return 0;
	if (task->exit_code)
		count_signal(SIGNAL_PROCESS_EXIT_FAILURE, task);
	tell_if_watched(task);
	return 0;
}
