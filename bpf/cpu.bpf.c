// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * cpu: how long a runnable task waits for a CPU, per cgroup, with the cgroup that ran instead.
 * Aggregated here; the ring sees exceedances only.
 */
#include "dialect.h"

TASK_MAP(queued, u64);

static __always_inline void queue(struct task_struct *task)
{
	u64 now = bpf_ktime_get_ns();

	if (READ(task, flags) & PF_KTHREAD || !gate_of(SIGNAL_CPU_RUNQ_DELAY))
		return;
	if (TASK_SET(queued, task, now))
		count(COUNTER_LOST_STORAGE, 1);
}

HOOK1(sched_wakeup, struct task_struct *, task)
{
	queue(task);
}

HOOK1(sched_wakeup_new, struct task_struct *, task)
{
	queue(task);
}

HOOK3(sched_switch, bool, preempt, struct task_struct *, prev, struct task_struct *, next)
{
	u64 *since, waited;

	if (READ(prev, pid) && STATE_OF(prev) == 0)
		queue(prev);
	if (!READ(next, pid))
		return;
	since = TASK_GET(queued, next);
	if (!since || !*since)
		return;
	waited = bpf_ktime_get_ns() - *since;
	*since = 0;
	value_signal(ctx, SIGNAL_CPU_RUNQ_DELAY, next, waited, cgroup_of(prev));
}
