/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The dialect for clang ahead of time: CO-RE, BTF-typed raw tracepoints, maps in ELF sections. Declares only
 * the kernel fields that the sensors need, relocated at load time.
 */
#ifndef REFLEXARC_CORE_H
#define REFLEXARC_CORE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "events.h"

typedef _Bool bool;
typedef __u64 u64;
typedef __u32 u32;
typedef __u8 u8;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
	u64 id;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

/* Since Linux 6.9 (cb12fd8e0dab) a pidfd is a file of pidfs, whose inode number is in struct pid. */
struct pid {
	u64 ino;
};

struct task_struct {
	int pid;
	int tgid;
	int exit_code;
	unsigned int flags;
	unsigned int __state;
	u64 start_boottime;
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct pid *thread_pid;
	struct css_set *cgroups;
	char comm[COMM_LENGTH];
};

/* Before Linux 5.14 (2f064a59a11f) the field had no underscores. */
struct task_struct___old {
	long state;
};

#pragma clang attribute pop

static inline __attribute__((always_inline)) long state_of(struct task_struct *task)
{
	if (bpf_core_field_exists(task->__state))
		return BPF_CORE_READ(task, __state);
	return BPF_CORE_READ((struct task_struct___old *)task, state);
}
#define STATE_OF(task) state_of(task)

#define READ(from, fields...) BPF_CORE_READ(from, fields)
#define READ_TEXT(to, from, field) BPF_CORE_READ_STR_INTO(to, from, field)
#define HAS_FIELD(type, field) bpf_core_field_exists(((type *)0)->field)

#define RING(name, bytes)                                                                                    \
	struct {                                                                                             \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                          \
		__uint(max_entries, bytes);                                                                  \
	} name SEC(".maps")

#define MAP(kind, flags, name, key_type, value_type, entries)                                                \
	struct {                                                                                             \
		__uint(type, BPF_MAP_TYPE_##kind);                                                           \
		__uint(map_flags, flags);                                                                    \
		__uint(max_entries, entries);                                                                \
		__type(key, key_type);                                                                       \
		__type(value, value_type);                                                                   \
	} name SEC(".maps")

#define MAP_ARRAY(name, value_type, entries) MAP(ARRAY, 0, name, u32, value_type, entries)
#define MAP_MMAPABLE(name, value_type, entries) MAP(ARRAY, BPF_F_MMAPABLE, name, u32, value_type, entries)
#define MAP_PER_CPU(name, value_type, entries) MAP(PERCPU_ARRAY, 0, name, u32, value_type, entries)
#define MAP_HASH(name, key_type, value_type, entries) MAP(HASH, 0, name, key_type, value_type, entries)
#define MAP_LRU(name, key_type, value_type, entries) MAP(LRU_HASH, 0, name, key_type, value_type, entries)

#define LOOKUP(name, key) bpf_map_lookup_elem(&name, key)
#define UPDATE(name, key, value) bpf_map_update_elem(&name, key, value, BPF_ANY)
#define INSERT(name, key, value) bpf_map_update_elem(&name, key, value, BPF_NOEXIST)
#define DELETE(name, key) bpf_map_delete_elem(&name, key)

/* Something kept for each task; a hash by pid where a kernel has no task storage (before Linux 5.11). */
#define TASK_MAP(name, value_type)                                                                           \
	struct {                                                                                             \
		__uint(type, BPF_MAP_TYPE_TASK_STORAGE);                                                     \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                        \
		__type(key, int);                                                                            \
		__type(value, value_type);                                                                   \
	} name SEC(".maps")
#define TASK_GET(name, task) bpf_task_storage_get(&name, task, 0, 0)
#define TASK_SET(name, task, to)                                                                             \
	({                                                                                                   \
		typeof(to) *_kept = bpf_task_storage_get(&name, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);    \
		if (_kept)                                                                                   \
			*_kept = to;                                                                         \
		!_kept;                                                                                      \
	})

/*
 * Flags 0: the kernel wakes the reader only when it had caught up. Never BPF_RB_NO_WAKEUP: a record submitted
 * without a wake-up makes the reader look behind, and the next one would not wake it either.
 */
#define OUTPUT(ctx, name, event) bpf_ringbuf_output(&name, event, sizeof(*(event)), 0)

#define ctx_args(ctx) (ctx)
#define HOOK_ENTRY(name, call)                                                                               \
	SEC("tp_btf/" #name) int name(u64 *ctx)                                                              \
	{                                                                                                    \
		call;                                                                                        \
		return 0;                                                                                    \
	}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif
