// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * cgroup: life cycle. Names for ids at birth, streams dropped at death, freezes and kills confirmed.
 */
#include "dialect.h"

/* The cgroup2 hierarchy has id 0; ids of cgroups are unique within a hierarchy only. */
static __always_inline bool is_v2(struct cgroup *cgroup)
{
	return BPF_CORE_READ(cgroup, root, hierarchy_id) == 0;
}

static __always_inline void tell(__u8 kind, struct cgroup *cgroup, __u64 value)
{
	struct event *event;

	if (!is_v2(cgroup))
		return;
	count(COUNTER_SEEN, 1);
	event = event_about(kind, bpf_ktime_get_ns());
	if (!event)
		return;
	event->cgroup = BPF_CORE_READ(cgroup, kn, id);
	event->value = value;
	submit(event);
}

HOOK(cgroup_mkdir, struct cgroup *cgroup, const char *path)
{
	tell(EVENT_CGROUP_NEW, cgroup, 0);
	return 0;
}

HOOK(cgroup_rmdir, struct cgroup *cgroup, const char *path)
{
	struct stream_key key = { .cgroup = BPF_CORE_READ(cgroup, kn, id) };

	if (!is_v2(cgroup))
		return 0;
	for (key.signal = 1; key.signal < SIGNALS; key.signal++) {
		bpf_map_delete_elem(&counts, &key);
		bpf_map_delete_elem(&values, &key);
	}
	tell(EVENT_CGROUP_GONE, cgroup, 0);
	return 0;
}

HOOK(cgroup_notify_frozen, struct cgroup *cgroup, const char *path, int value)
{
	tell(EVENT_FROZEN, cgroup, value);
	return 0;
}

HOOK(cgroup_notify_populated, struct cgroup *cgroup, const char *path, int value)
{
	tell(EVENT_POPULATED, cgroup, value);
	return 0;
}
