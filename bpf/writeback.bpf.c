// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * writeback: how long a task that dirties pages is made to pause, because too many are dirty already.
 */
#include "dialect.h"

/* Nanoseconds of a jiffy. The arc writes it once: the kernel has its HZ only at compile time. */
MAP_ARRAY(jiffy, u64, 1);

/* In jiffies. Newer kernels pass one struct dirty_throttle_control where there were five numbers. */
static __always_inline long pause_of(void *ctx)
{
	if (HAS_FIELD(struct trace_event_raw_balance_dirty_pages, wb_setpoint))
		return ARGUMENT(ctx, 6);
	return ARGUMENT(ctx, 10);
}

/* Told as the pause begins. At zero or below there is none: the task was within its rate. */
HOOK1(balance_dirty_pages, void *, wb)
{
	u32 only = 0;
	u64 *unit = LOOKUP(jiffy, &only);
	long pause = pause_of(ctx);

	if (!unit || pause <= 0)
		return;
	value_of_current(ctx, SIGNAL_WRITEBACK_PAUSE, pause * *unit);
	react(SIGNAL_WRITEBACK_PAUSE, pause * *unit);
}
