/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What every sensor is written in: hooks, maps, reads and emission. A sensor includes this and nothing
 * else. Declares only the kernel fields it needs, relocated at load time.
 */
#ifndef REFLEXARC_DIALECT_H
#define REFLEXARC_DIALECT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

#include "events.h"

typedef _Bool bool;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
	__u64 id;
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
	__u64 ino;
};

struct task_struct {
	int pid;
	int tgid;
	int exit_code;
	unsigned int flags;
	unsigned int __state;
	__u64 start_boottime;
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct pid *thread_pid;
	struct css_set *cgroups;
	char comm[COMM_LENGTH];
};

#pragma clang attribute pop

#define PF_KTHREAD 0x00200000

#define HOOK(name, args...) SEC("tp_btf/" #name) int BPF_PROG(name, ##args)

/*
 * Bounds: streams are (signal x cgroup); a node of 110 pods has some 1,500 cgroups. What does not fit is
 * counted as lost. The ring holds some 10,000 records, ten milliseconds of the arc's reading.
 */
#define MAX_COUNT_STREAMS 16384
#define MAX_VALUE_STREAMS 4096
#define RING_BYTES (1 << 20)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_BYTES);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SIGNALS);
	__type(key, __u32);
	__type(value, struct gate);
} gates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_COUNT_STREAMS);
	__type(key, struct stream_key);
	__type(value, struct count_stream);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_VALUE_STREAMS);
	__type(key, struct stream_key);
	__type(value, struct value_stream);
} values SEC(".maps");

/* Of this sensor alone; the maps above are shared by all. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 what, __u64 by)
{
	__u64 *slot = bpf_map_lookup_elem(&counters, &what);

	if (slot)
		*slot += by;
}

static __always_inline struct gate *gate_of(__u32 signal)
{
	struct gate *gate = bpf_map_lookup_elem(&gates, &signal);

	return gate && gate->open ? gate : NULL;
}

static __always_inline __u64 cgroup_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
}

/* Reserve a record and fill in what every record has; NULL when the ring is full. */
static __always_inline struct event *event_about(__u8 kind, __u64 now)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		count(COUNTER_LOST_RING, 1);
		return NULL;
	}
	count(COUNTER_EMITTED, 1);
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = now;
	event->kind = kind;
	event->cpu = bpf_get_smp_processor_id();
	return event;
}

static __always_inline void event_names(struct event *event, struct task_struct *task)
{
	event->cgroup = cgroup_of(task);
	event->pid = task->tgid;
	event->parent = BPF_CORE_READ(task, real_parent, tgid);
	event->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	if (bpf_core_field_exists(struct pid, ino))
		event->inode = BPF_CORE_READ(task, group_leader, thread_pid, ino);
	BPF_CORE_READ_STR_INTO(&event->comm, task, comm);
}

/* Flags 0: the kernel wakes the reader only when it had caught up. Never BPF_RB_NO_WAKEUP: a record
 * submitted without a wake-up makes the reader look behind, and the next one would not wake it either. */
static __always_inline void submit(struct event *event)
{
	bpf_ringbuf_submit(event, 0);
}

/*
 * One more event of a counted signal. Emits when `batch` of them came within the gate's window. Two CPUs
 * may reset the batch at once: then a few events fall into the next one, and none is counted twice.
 */
static __always_inline void count_signal(__u32 signal, struct task_struct *task)
{
	struct gate *gate = gate_of(signal);
	struct stream_key key = { .signal = signal };
	struct count_stream *stream;
	struct event *event;
	__u64 now, since;
	__u32 pending;

	if (!gate)
		return;
	count(COUNTER_SEEN, 1);
	key.cgroup = cgroup_of(task);
	now = bpf_ktime_get_ns();
	stream = bpf_map_lookup_elem(&counts, &key);
	if (!stream) {
		struct count_stream fresh = { .since_ns = now };

		bpf_map_update_elem(&counts, &key, &fresh, BPF_NOEXIST);
		stream = bpf_map_lookup_elem(&counts, &key);
		if (!stream) {
			count(COUNTER_LOST_STREAMS, 1);
			return;
		}
	}
	__sync_fetch_and_add(&stream->total, 1);
	since = stream->since_ns;
	if (now - since > gate->window_ns) {
		stream->since_ns = since = now;
		stream->pending = 0;
	}
	pending = __sync_fetch_and_add(&stream->pending, 1) + 1;
	if (pending < gate->batch)
		return;
	stream->pending = 0;
	stream->since_ns = now;
	event = event_about(EVENT_SIGNAL, now);
	if (!event)
		return;
	event_names(event, task);
	event->signal = signal;
	event->value = event->weight = pending;
	event->since_ns = since;
	submit(event);
}

static __always_inline __u32 log2_of(__u64 value)
{
	__u32 bucket = 0;

	if (value >= 1ULL << 32) {
		bucket += 32;
		value >>= 32;
	}
	if (value >= 1 << 16) {
		bucket += 16;
		value >>= 16;
	}
	if (value >= 1 << 8) {
		bucket += 8;
		value >>= 8;
	}
	if (value >= 1 << 4) {
		bucket += 4;
		value >>= 4;
	}
	if (value >= 1 << 2) {
		bucket += 2;
		value >>= 2;
	}
	if (value >= 1 << 1)
		bucket += 1;
	return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* Whether this exceedance is the 1st, 2nd, 4th, 8th ... of its round: what is told of a storm. */
static __always_inline bool worth_telling(struct value_stream *stream, struct gate *gate, __u64 now)
{
	__u32 exceeded;

	if (now - stream->window_ns > gate->window_ns) {
		stream->window_ns = now;
		stream->exceeded = 0;
		stream->told = 0;
	}
	exceeded = __sync_fetch_and_add(&stream->exceeded, 1) + 1;
	return (exceeded & (exceeded - 1)) == 0;
}

/* One value of `task`'s cgroup; `culprit` is whoever it is charged to, 0 when unknown. */
static __always_inline void value_signal(__u32 signal, struct task_struct *task, __u64 value, __u64 now,
					 struct task_struct *culprit)
{
	struct gate *gate = gate_of(signal);
	struct stream_key key = { .signal = signal };
	struct value_stream *stream;
	struct event *event;
	__u32 exceeded;

	if (!gate)
		return;
	count(COUNTER_SEEN, 1);
	key.cgroup = cgroup_of(task);
	stream = bpf_map_lookup_elem(&values, &key);
	if (!stream) {
		static const struct value_stream fresh = {};

		bpf_map_update_elem(&values, &key, &fresh, BPF_NOEXIST);
		stream = bpf_map_lookup_elem(&values, &key);
		if (!stream) {
			count(COUNTER_LOST_STREAMS, 1);
			return;
		}
	}
	__sync_fetch_and_add(&stream->total, 1);
	__sync_fetch_and_add(&stream->histogram[log2_of(value)], 1);
	stream->last = value;
	if (value > stream->peak)
		stream->peak = value;
	if (value <= gate->level || !worth_telling(stream, gate, now))
		return;
	exceeded = stream->exceeded;
	event = event_about(EVENT_SIGNAL, now);
	if (!event)
		return;
	event_names(event, task);
	event->signal = signal;
	event->value = value;
	event->culprit = cgroup_of(culprit);
	event->weight = exceeded > stream->told ? exceeded - stream->told : 1;
	stream->told = exceeded;
	submit(event);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif
