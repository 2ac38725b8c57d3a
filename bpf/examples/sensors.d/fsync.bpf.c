// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * fsync: how long a task waits for fsync(2) and fdatasync(2), per cgroup. A sensor of a user's own, as
 * docs/sensors.md explains it line by line.
 */
#include "dialect.h"

#if defined(__TARGET_ARCH_x86)
#define IS_FSYNC(call) ((call) == 74 || (call) == 75)
#else
#define IS_FSYNC(call) ((call) == 82 || (call) == 83)
#endif

TASK_MAP(began, u64);

HOOK2(sys_enter, struct pt_regs *, regs, long, call)
{
	u64 now;

	if (!IS_FSYNC(call) || !gate_of(SIGNAL_FS_FSYNC_TIME))
		return;
	now = bpf_ktime_get_ns();
	if (TASK_SET(began, this_task(), now))
		count(COUNTER_LOST_STORAGE, 1);
}

HOOK2(sys_exit, struct pt_regs *, regs, long, result)
{
	u64 *since, took;

	if (!IS_FSYNC((long)SYSCALL_OF(regs)))
		return;
	since = TASK_GET(began, this_task());
	if (!since || !*since)
		return;
	took = bpf_ktime_get_ns() - *since;
	*since = 0;
	value_signal(ctx, SIGNAL_FS_FSYNC_TIME, this_task(), took, 0);
}
