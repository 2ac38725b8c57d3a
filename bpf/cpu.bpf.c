// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * cpu: how long a runnable task waits for a CPU, per cgroup, with the cgroup that ran instead.
 * Aggregated here; the ring sees exceedances only.
 */
#include "dialect.h"

/*
 * There are as many values as context switches, and nearly all are a few microseconds. Of those below
 * QUICK_NS one in SAMPLE is taken and counts for all of them, so the histogram stays true and most switches
 * cost no look-up.
 */
#define QUICK_NS 16384
#define SAMPLE 16

/* How many values this one stands for; 0: it is left out. */
static __always_inline u32 weight_of(u64 waited)
{
	return waited < QUICK_NS ? one_in(SAMPLE) : 1;
}

/* A task may wait once more after its parent has learnt of its end: then its cgroup may be gone already. */
#define LEFT_OUT (PF_KTHREAD | PF_EXITING)

#ifdef RUNQUEUE_CLOCK

/* One hook: the scheduler has written down when it queued the task. Also after preemption, so it is the whole
 * wait. */
HOOK3(sched_switch, bool, preempt, struct task_struct *, prev, struct task_struct *, next)
{
	u64 queued, waited, cgroup;
	u32 weight;

	if (!next->pid || next->flags & LEFT_OUT || !gate_of(SIGNAL_CPU_RUNQ_DELAY))
		return;
	queued = QUEUED_AT(next);
	if (!queued)
		return;
	waited = RUNQUEUE_CLOCK(next) - queued;
	weight = weight_of(waited);
	if (!weight)
		return;
	cgroup = CGROUP_OF(next);
	value_weighted(ctx, SIGNAL_CPU_RUNQ_DELAY, cgroup, waited, weight, cgroup, CGROUP_OF(prev), next);
}

#else

TASK_MAP(queued, u64);

static __always_inline void queue(struct task_struct *task)
{
	u64 now = bpf_ktime_get_ns();

	if (READ(task, flags) & LEFT_OUT || !gate_of(SIGNAL_CPU_RUNQ_DELAY))
		return;
	if (TASK_SET(queued, task, now))
		count_loss(COUNTER_LOST_STORAGE);
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
	u64 *since, waited, cgroup;
	u32 weight;

	if (READ(prev, pid) && STATE_OF(prev) == 0)
		queue(prev);
	if (!READ(next, pid))
		return;
	since = TASK_GET(queued, next);
	if (!since || !*since)
		return;
	waited = bpf_ktime_get_ns() - *since;
	*since = 0;
	weight = weight_of(waited);
	if (!weight)
		return;
	cgroup = cgroup_of(next);
	value_weighted(ctx, SIGNAL_CPU_RUNQ_DELAY, cgroup, waited, weight, cgroup, cgroup_of(prev), next);
}

#endif
