// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * memory: how long a task had to reclaim before it was given a page, victims of the OOM killer, and how
 * fast the memory of a cgroup's programs grows.
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

/*
 * Growth: pages of its own that a process holds, huge ones by their size, by the kernel's own count of them.
 * Files in memory are not among them, for they can be dropped; shared memory is not, for it would count once
 * for each that maps it. Whatever makes the count move is felt, and how far it moved since is looked up.
 */
#define ANONYMOUS 1 /* MM_ANONPAGES of include/linux/mm_types_task.h */

struct seen {
	u64 mm;
	long pages;
};

struct holding {
	struct seen last;
	long taken; /* and not given back; what it had from its parent is not its own */
};

/* What this CPU saw last: the kernel counts by CPU, too, and moves the sum every 32 pages or more. */
MAP_PER_CPU(glances, struct seen, 1);
/* By process. Of those beyond, the ones untouched longest begin anew. */
MAP_LRU(holdings, u32, struct holding, 16384);

static __always_inline long anonymous_pages(struct mm_struct *mm)
{
	long pages = 0;

	if (!HAS_TYPE(struct mm_rss_stat))
		return READ_TYPED(mm, rss_stat[ANONYMOUS].count);
	bpf_probe_read_kernel(&pages, sizeof(pages),
			      (long *)&((struct mm_struct___old *)mm)->rss_stat + ANONYMOUS);
	return pages;
}

static __always_inline void change(void *ctx, struct task_struct *task, long pages)
{
	u64 here = cgroup_of(task);

	if (pages)
		count_weighted(ctx, SIGNAL_MEMORY_GROWTH, here, pages, here, task);
}

/* Two threads that come at once may both tell of the same few pages. */
static __always_inline void grow(void *ctx, struct task_struct *task, struct seen *now)
{
	u32 process = bpf_get_current_pid_tgid() >> 32;
	struct holding *holding = LOOKUP(holdings, &process), fresh = {};
	long pages;

	if (!holding) {
		fresh.last = *now;
		INSERT(holdings, &process, &fresh);
		return;
	}
	pages = now->pages - holding->last.pages;
	/* It has executed another program, or gives back what was its parent's. */
	if (holding->last.mm != now->mm || pages < -holding->taken)
		pages = -holding->taken;
	holding->last = *now;
	holding->taken += pages;
	change(ctx, task, pages);
}

/* Linux 6.2 took the third argument away (f1a7941243c1), which was the sum. */
HOOK2(rss_stat, struct mm_struct *, mm, int, member)
{
	struct seen now = {}, *glance;
	u32 zero = 0;

	if (member != ANONYMOUS || !gate_of(SIGNAL_MEMORY_GROWTH))
		return;
	glance = LOOKUP(glances, &zero);
	now.mm = (u64)mm;
	now.pages = anonymous_pages(mm);
	if (!glance || (glance->mm == now.mm && glance->pages == now.pages))
		return;
	*glance = now;
	/* Others take pages away, and none of them is whoever runs. */
	if (READ(this_task(), mm) == mm)
		grow(ctx, this_task(), &now);
}

HOOK1(sched_process_exit, struct task_struct *, task)
{
	u32 process = READ(task, tgid);
	struct holding *holding;

	if (!gate_of(SIGNAL_MEMORY_GROWTH) || process != (u32)READ(task, pid))
		return;
	holding = LOOKUP(holdings, &process);
	if (!holding)
		return;
	change(ctx, task, -holding->taken);
	DELETE(holdings, &process);
}
