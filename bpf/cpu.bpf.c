// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * cpu: how long a runnable task waits for a CPU, per cgroup, with the cgroup that ran instead.
 * Aggregated here; the ring sees exceedances only.
 */
#include "dialect.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
/* Before Linux 5.14 (2f064a59a11f) the field had no underscores. */
struct task_struct___old {
	long state;
};
#pragma clang attribute pop

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} queued SEC(".maps");

static __always_inline void queue(struct task_struct *task)
{
	__u64 *since;

	if (task->flags & PF_KTHREAD || !gate_of(SIGNAL_CPU_RUNQ_DELAY))
		return;
	since = bpf_task_storage_get(&queued, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (since)
		*since = bpf_ktime_get_ns();
	else
		count(COUNTER_LOST_STORAGE, 1);
}

static __always_inline bool still_runnable(struct task_struct *task)
{
	struct task_struct___old *old = (void *)task;

	if (bpf_core_field_exists(task->__state))
		return BPF_CORE_READ(task, __state) == 0;
	return BPF_CORE_READ(old, state) == 0;
}

HOOK(sched_wakeup, struct task_struct *task)
{
	queue(task);
	return 0;
}

HOOK(sched_wakeup_new, struct task_struct *task)
{
	queue(task);
	return 0;
}

HOOK(sched_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	__u64 *since, now, waited;

	if (prev->pid && still_runnable(prev))
		queue(prev);
	if (!next->pid)
		return 0;
	since = bpf_task_storage_get(&queued, next, NULL, 0);
	if (!since || !*since)
		return 0;
	now = bpf_ktime_get_ns();
	waited = now - *since;
	*since = 0;
	value_signal(SIGNAL_CPU_RUNQ_DELAY, next, waited, now, prev);
	return 0;
}
