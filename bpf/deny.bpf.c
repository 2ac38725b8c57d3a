// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * deny: no new processes, no other programs or no connections for a cgroup and all below it. Attached only
 * while a policy that enforces names it; its links end with the daemon, and every denial with them.
 */
#include "core.h"
#include "denials.h"

#define EPERM 1
#define EAGAIN 11
#define CLONE_THREAD 0x00010000
#define AF_INET 2
#define AF_INET6 10

KERNEL_TYPES

struct sockaddr {
	unsigned short sa_family;
};

KERNEL_TYPES_END

static __always_inline bool refuse(struct task_struct *task, struct denial *denied)
{
	if (is_core(task))
		return 0;
	__sync_fetch_and_add(&denied->times, 1);
	denied->last_ns = bpf_ktime_get_ns();
	return 1;
}

/*
 * Whether the running task may not do it: its cgroup or one above has an entry. The root is never asked
 * about, for nothing is above it.
 */
static __always_inline bool is_denied(u32 what)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct cgroup *cgroup = READ(task, cgroups, dfl_cgrp);
	struct cgroup_subsys_state *above, *css = &cgroup->self;
	struct denial_key key = {};
	struct denial *denied;
	u32 level;

	key.what = what;
	for (level = 0; level < MAX_DEPTH; level++) {
		above = READ(css, parent);
		if (!above)
			return 0;
		key.cgroup = READ(css, cgroup, kn, id);
		denied = LOOKUP(denials, &key);
		if (denied)
			return refuse(task, denied);
		css = above;
	}
	return 0;
}

/* The forking task's own cgroup counts: the new one is in none yet. A thread is no process. */
SEC("lsm/task_alloc") int deny_fork(u64 *ctx)
{
	if (ctx[1] & CLONE_THREAD)
		return 0;
	return is_denied(DENIED_FORK) ? -EAGAIN : 0;
}

SEC("lsm/bprm_check_security") int deny_exec(u64 *ctx)
{
	return is_denied(DENIED_EXEC) ? -EPERM : 0;
}

/* To other machines and this one; sockets of the file system are left alone. */
SEC("lsm/socket_connect") int deny_connect(u64 *ctx)
{
	struct sockaddr *address = (struct sockaddr *)ctx[1];
	unsigned short family = address->sa_family;

	if (family != AF_INET && family != AF_INET6)
		return 0;
	return is_denied(DENIED_CONNECT) ? -EPERM : 0;
}
