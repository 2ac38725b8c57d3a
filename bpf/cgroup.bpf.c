// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * cgroup: life cycle. Names for ids at birth, streams dropped at death, freezes and kills confirmed,
 * protected programs told of wherever they are moved.
 */
#include "dialect.h"

static __always_inline void tell(void *ctx, u8 kind, struct cgroup *cgroup, u64 value)
{
	struct event event = {};

	if (!is_v2(cgroup))
		return;
	count(COUNTER_SEEN, 1);
	event.cgroup = event.key = id_of(cgroup);
	event.value = value;
	emit(ctx, &event, kind, bpf_ktime_get_ns());
}

HOOK1(cgroup_mkdir, struct cgroup *, cgroup)
{
	tell(ctx, EVENT_CGROUP_NEW, cgroup, 0);
}

HOOK1(cgroup_rmdir, struct cgroup *, cgroup)
{
	struct stream_key key = {};
	u32 signal;

	if (!is_v2(cgroup))
		return;
	key.key = id_of(cgroup);
	for (signal = 1; signal < SIGNALS; signal++) {
		key.signal = signal;
		DELETE(counts, &key);
		drop_values(&key);
	}
	tell(ctx, EVENT_CGROUP_GONE, cgroup, 0);
}

HOOK3(cgroup_notify_frozen, struct cgroup *, cgroup, const char *, path, int, value)
{
	tell(ctx, EVENT_FROZEN, cgroup, value);
}

HOOK3(cgroup_notify_populated, struct cgroup *, cgroup, const char *, path, int, value)
{
	tell(ctx, EVENT_POPULATED, cgroup, value);
}

HOOK3(cgroup_attach_task, struct cgroup *, cgroup, const char *, path, struct task_struct *, task)
{
	if (is_v2(cgroup))
		tell_if_protected(ctx, task);
}
