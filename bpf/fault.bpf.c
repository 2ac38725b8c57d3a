// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * fault: page faults of a cgroup's programs. Apart from memory, for arm64 does not have these tracepoints.
 */
#include "dialect.h"

/* Of faults one in so many is looked at and counts for all of them: a fault takes less than a microsecond. */
#define FAULTS 64

static __always_inline void touch(void *ctx, unsigned long address)
{
	u64 here;
	u32 weight;

	/* The kernel's own half of the addresses is none of the program's memory. */
	if (!gate_of(SIGNAL_MEMORY_FAULT) || (long)address < 0)
		return;
	weight = one_in(FAULTS);
	if (!weight)
		return;
	here = cgroup_of(this_task());
	count_weighted(ctx, SIGNAL_MEMORY_FAULT, here, weight, here, this_task());
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
