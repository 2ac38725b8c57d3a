// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * softirq: how long each run of a softirq handler takes, per CPU. Nobody in particular is to blame: the
 * task it interrupted has nothing to do with it.
 */
#include "dialect.h"

MAP_PER_CPU(entered, u64, 1);

HOOK1(softirq_entry, unsigned int, vector)
{
	u32 slot = 0;
	u64 *since = LOOKUP(entered, &slot);

	if (since && gate_of(SIGNAL_SOFTIRQ_TIME))
		*since = bpf_ktime_get_ns();
}

HOOK1(softirq_exit, unsigned int, vector)
{
	u32 slot = 0;
	u64 *since = LOOKUP(entered, &slot);
	u64 took;

	if (!since || !*since)
		return;
	took = bpf_ktime_get_ns() - *since;
	*since = 0;
	value_keyed(ctx, SIGNAL_SOFTIRQ_TIME, bpf_get_smp_processor_id(), took, 0, 0, 0);
}
