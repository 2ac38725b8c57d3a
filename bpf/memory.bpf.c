// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * memory: how long a task had to reclaim before it was given a page, victims of the OOM killer, and how fast
 * a cgroup touches new pages.
 */
#include "dialect.h"

/* PID_MAX_LIMIT of include/linux/threads.h. */
#define PID_LIMIT (4 * 1024 * 1024)

/*
 * Since when, by thread. No task storage: an entry lives only while its thread reclaims, and few do so at
 * once; beginnings beyond are counted as lost.
 */
MAP_HASH(reclaiming, u32, u64, 4096);

static __always_inline void begin(void)
{
	u32 thread = bpf_get_current_pid_tgid();
	u64 now = bpf_ktime_get_ns();

	if (gate_of(SIGNAL_MEMORY_RECLAIM_STALL) && UPDATE(reclaiming, &thread, &now))
		count_loss(COUNTER_LOST_STORAGE);
}

static __always_inline void end(void *ctx)
{
	u32 thread = bpf_get_current_pid_tgid();
	u64 *since = LOOKUP(reclaiming, &thread);
	u64 stalled;

	if (!since)
		return;
	stalled = bpf_ktime_get_ns() - *since;
	DELETE(reclaiming, &thread);
	value_of_current(ctx, SIGNAL_MEMORY_RECLAIM_STALL, stalled);
	react(SIGNAL_MEMORY_RECLAIM_STALL, stalled);
}

/* The node is short of memory. */
HOOK1(mm_vmscan_direct_reclaim_begin, int, order)
{
	begin();
}

HOOK1(mm_vmscan_direct_reclaim_end, unsigned long, reclaimed)
{
	end(ctx);
}

/* A memory cgroup is at its limit. */
HOOK1(mm_vmscan_memcg_reclaim_begin, int, order)
{
	begin();
}

HOOK1(mm_vmscan_memcg_reclaim_end, unsigned long, reclaimed)
{
	end(ctx);
}

/*
 * The victim as a task since 72ba14deb40a, which many stable kernels have as well; before, its pid alone,
 * from which there is no way to the task. Then the cgroup that ran out of memory stands for it, unnamed.
 */
HOOK1(mark_victim, u64, victim)
{
	u64 here;

	if (victim > PID_LIMIT) {
		count_signal(ctx, SIGNAL_MEMORY_OOM_KILL, (struct task_struct *)victim);
		return;
	}
	here = cgroup_of(this_task());
	count_keyed(ctx, SIGNAL_MEMORY_OOM_KILL, here, here, 0);
}

/* Of faults one in so many is looked at and counts for all of them: a fault takes less than a microsecond. */
#define FAULTS 64

static __always_inline void touch(void *ctx, unsigned long address)
{
	u64 here;
	u32 weight;

	/* The kernel's own half of the addresses is none of the program's memory. */
	if (!gate_of(SIGNAL_MEMORY_GROWTH) || (long)address < 0)
		return;
	weight = one_in(FAULTS);
	if (!weight)
		return;
	here = cgroup_of(this_task());
	count_weighted(ctx, SIGNAL_MEMORY_GROWTH, here, weight, here, this_task());
}

HOOK1(page_fault_user, unsigned long, address)
{
	touch(ctx, address);
}

/* A system call fills memory that is new to the program, as read(2) does. */
HOOK1(page_fault_kernel, unsigned long, address)
{
	touch(ctx, address);
}
