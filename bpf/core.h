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

/* Around declarations of kernel types: of each the fields that are read, plainly, in any order. */
#define KERNEL_TYPES                                                                                         \
	_Pragma("clang attribute push(__attribute__((preserve_access_index)), apply_to = record)")
#define KERNEL_TYPES_END _Pragma("clang attribute pop")

KERNEL_TYPES

struct kernfs_node {
	u64 id;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
	unsigned int flags;
};

struct cgroup {
	struct cgroup_subsys_state self;
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

struct rq {
	u64 clock;
};

struct cfs_rq {
	struct rq *rq;
};

struct sched_entity {
	struct cfs_rq *cfs_rq;
};

struct sched_info {
	u64 last_queued;
};

typedef struct {
	int counter;
} number;

struct signal_struct {
	number live;
};

/* The last field is named for the size. */
struct percpu_counter {
	long count;
	int *counters;
};

struct mm_struct {
	struct percpu_counter rss_stat[4];
};

/* Before Linux 6.2 (f1a7941243c1); an array of atomic_long_t. */
struct mm_rss_stat {
	char count[32];
};

struct mm_struct___old {
	struct mm_rss_stat rss_stat;
};

struct task_struct {
	int pid;
	int tgid;
	int exit_code;
	struct mm_struct *mm;
	unsigned int flags;
	unsigned int __state;
	u64 start_boottime;
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct pid *thread_pid;
	struct signal_struct *signal;
	struct css_set *cgroups;
	struct sched_info sched_info;
	struct sched_entity se;
	char comm[COMM_LENGTH];
};

struct gendisk {
	int major;
	int first_minor;
};

struct request_queue {
	struct gendisk *disk;
};

struct blkcg {
	struct cgroup_subsys_state css;
};

struct blkcg_gq {
	struct blkcg *blkcg;
};

struct bio {
	struct blkcg_gq *bi_blkg;
};

struct request {
	struct request_queue *q;
	struct bio *bio;
	unsigned int cmd_flags;
};

/* Before Linux 5.17 (f3fa33acca9f). */
struct request___old {
	struct gendisk *rq_disk;
};

/*
 * Without the queue, since Linux 5.11 (a54895fa057c) and in later releases of 5.10: a type is only there if
 * its function has as many arguments.
 */
typedef void (*btf_trace_block_rq_issue)(void *, struct request *);

/* What classic tracepoints hand on: tells which arguments the tracepoints of this kernel take. */
struct trace_event_raw_balance_dirty_pages {
	unsigned long wb_setpoint;
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

struct sock_common {
	unsigned char skc_state;
};

struct sock {
	struct sock_common __sk_common;
	struct sock_cgroup_data sk_cgrp_data;
};

/* Before Linux 5.15 (8520e224f547) the pointer shared its place with version 1 data, told by the lowest bit.
 */
struct sock_cgroup_data___old {
	u64 val;
};

struct sock___old {
	struct sock_cgroup_data___old sk_cgrp_data;
};

struct sk_buff {
	struct sock *sk;
};

enum skb_drop_reason {
	SKB_DROP_REASON_NOT_SPECIFIED,
};

struct trace_event_raw_kfree_skb {
	enum skb_drop_reason reason;
	void *rx_sk;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long orig_ax;
};
#define SYSCALL_OF(regs) READ_TYPED(regs, orig_ax)
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	int syscallno;
};
#define SYSCALL_OF(regs) READ_TYPED(regs, syscallno)
#endif

/* Before Linux 5.14 (2f064a59a11f) the field had no underscores. */
struct task_struct___old {
	long state;
};

KERNEL_TYPES_END

static inline __attribute__((always_inline)) long state_of(struct task_struct *task)
{
	if (bpf_core_field_exists(task->__state))
		return BPF_CORE_READ(task, __state);
	return BPF_CORE_READ((struct task_struct___old *)task, state);
}
#define STATE_OF(task) state_of(task)

#define READ(from, fields...) BPF_CORE_READ(from, fields)
/* Of an argument the tracepoint has a type for: a load, where READ calls a helper. */
#define READ_TYPED(from, field) ((from)->field)
#define READ_TEXT(to, from, field) BPF_CORE_READ_STR_INTO(to, from, field)
#define HAS_TYPE(type) bpf_core_type_exists(type)
#define HAS_FIELD(type, field) bpf_core_field_exists(((type *)0)->field)
/* What this kernel numbers a member of an enumeration. */
#define NUMBER_OF(type, name) bpf_core_enum_value(type, name)

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

#define MAP_STACK(name, value_type, entries)                                                                 \
	struct {                                                                                             \
		__uint(type, BPF_MAP_TYPE_STACK);                                                            \
		__uint(max_entries, entries);                                                                \
		__type(value, value_type);                                                                   \
	} name SEC(".maps")

#define LOOKUP(name, key) bpf_map_lookup_elem(&name, key)
#define UPDATE(name, key, value) bpf_map_update_elem(&name, key, value, BPF_ANY)
#define INSERT(name, key, value) bpf_map_update_elem(&name, key, value, BPF_NOEXIST)
#define DELETE(name, key) bpf_map_delete_elem(&name, key)
#define PUSH(name, value) bpf_map_push_elem(&name, value, BPF_ANY)
#define POP(name, value) bpf_map_pop_elem(&name, value)

/* The clock of a task's run queue, and when the scheduler queued it there by its own books
 * (CONFIG_SCHED_INFO, kept for /proc/pid/schedstat). For pointers that a BTF-typed tracepoint handed out:
 * they are read directly, at a tenth of the cost of READ. */
#define RUNQUEUE_CLOCK(task) ((task)->se.cfs_rq->rq->clock)
#define QUEUED_AT(task) ((task)->sched_info.last_queued)
#define CGROUP_OF(task) ((task)->cgroups->dfl_cgrp->kn->id)

/*
 * Flags 0: the kernel wakes the reader only when it had caught up. Never BPF_RB_NO_WAKEUP: a record submitted
 * without a wake-up makes the reader look behind, and the next one would not wake it either.
 */
#define OUTPUT(ctx, name, event) bpf_ringbuf_output(&name, event, sizeof(*(event)), 0)

/*
 * Add to a u32 in which every CPU counts; what it is now. Kernels before Linux 5.12 (5ca419f2864a) do not say
 * what they found: there two CPUs may both see what the later of them made.
 */
#ifdef REFLEXARC_NO_FETCH
#define ADD_UP(at, by) (__sync_fetch_and_add(at, by), *(volatile u32 *)(at))
#else
#define ADD_UP(at, by) (__sync_fetch_and_add(at, by) + (by))
#endif

#define ctx_args(ctx) (ctx)
/*
 * One for which there is no HOOKn, or that other kernels lack. In assembly, because the compiler merges two
 * loads of the context into one at a computed offset, which the verifier refuses.
 */
#define ARGUMENT(ctx, number)                                                                                \
	({                                                                                                   \
		u64 _argument;                                                                               \
		asm volatile("%0 = *(u64 *)(%1 + %2)" : "=r"(_argument) : "r"(ctx), "i"((number)*8));        \
		_argument;                                                                                   \
	})
#define HOOK_ENTRY(name, call)                                                                               \
	SEC("tp_btf/" #name) int name(u64 *ctx)                                                              \
	{                                                                                                    \
		call;                                                                                        \
		return 0;                                                                                    \
	}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif
