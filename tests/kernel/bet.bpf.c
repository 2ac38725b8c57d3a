// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Values of a test's own choosing, by BPF_PROG_TEST_RUN. */
#include "dialect.h"

SEC("raw_tp/unattached") int nothing(u64 *ctx)
{
	return 0;
}

SEC("raw_tp/unattached") int place(u64 *ctx)
{
	value_keyed(ctx, ctx[2], ctx[0], ctx[1], ctx[0], 0, 0);
	return 0;
}

/* As if the process that runs it had made the event. */
SEC("raw_tp/unattached") int react_to(u64 *ctx)
{
	react(ctx[2], ctx[1]);
	return 0;
}
