/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What cgroups are denied, as entries in a map, and who can never be denied anything. CO-RE alone: BPF LSM
 * needs BTF.
 */
#ifndef REFLEXARC_DENIALS_H
#define REFLEXARC_DENIALS_H

#define PF_KTHREAD 0x00200000

/* Acts in force are 512 at most, each of three things. */
#define MAX_DENIALS 2048
/* Levels that are looked at from a task's cgroup upwards; a bound for the verifier. */
#define MAX_DEPTH 32

/* How often each was denied, and when last; what has an entry is denied. The arc's and the kernel's. */
MAP_HASH(denials, struct denial_key, struct denial, MAX_DENIALS);

/* The arc's own processes, as they are numbered in the first pid namespace. */
MAP_ARRAY(own_processes, u32, OWN_PROCESSES);

static __always_inline bool is_own(u32 process)
{
	u32 at, number, *own;

	for (at = 0; at < OWN_PROCESSES; at++) {
		number = at;
		own = LOOKUP(own_processes, &number);
		if (own && *own == process)
			return 1;
	}
	return 0;
}

/* Whatever a map says: init, the kernel's threads and the daemon itself are left alone. */
static __always_inline bool is_core(struct task_struct *task)
{
	u32 process = READ(task, tgid);

	return process == 1 || READ(task, flags) & PF_KTHREAD || is_own(process);
}

#endif
