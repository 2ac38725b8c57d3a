/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Streams: one signal for one key, aggregated here; only what a gate lets through crosses the ring.
 * Included by dialect.h.
 */
#ifndef REFLEXARC_STREAMS_H
#define REFLEXARC_STREAMS_H

#define PF_EXITING 0x00000004
#define PF_KTHREAD 0x00200000
#define CSS_ONLINE 0x2

/*
 * Bounds: streams are (signal x key); a node of 110 pods has some 1,500 cgroups. What does not fit is
 * counted as lost. The ring holds some 10,000 records, ten milliseconds of the arc's reading.
 */
#define MAX_COUNT_STREAMS 16384
#define MAX_VALUE_STREAMS 10240
#ifndef RING_BYTES
#define RING_BYTES (1 << 20)
#endif

/* Shared by all sensors. */
RING(events, RING_BYTES);
MAP_ARRAY(gates, struct gate, SIGNALS);
MAP_HASH(counts, struct stream_key, struct count_stream, MAX_COUNT_STREAMS);
MAP_HASH(values, struct stream_key, struct value_stream, MAX_VALUE_STREAMS);
MAP_MMAPABLE(odds, struct odds, BET_SLOTS);
MAP_MMAPABLE(bets, struct bet, BET_SLOTS);
MAP_STACK(free_slots, u32, BET_SLOTS);
/*
 * Start times of processes whose end the arc waits for, by pid modulo the size; 0: free. The arc writes into
 * it through a memory map. Of two that share a slot the later wins, and the other's end goes untold.
 */
MAP_MMAPABLE(watched, u64, WATCHED);

/* Executable names that must never be a victim, as task->comm has them. */
struct name {
	char text[COMM_LENGTH];
};
MAP_HASH(protected_names, struct name, u8, 256);

/* Of this sensor alone. */
MAP_PER_CPU(counters, u64, COUNTERS);
MAP_PER_CPU(turns, u32, 1);
/* When any count of a loss last rose. The arc asks before each act that losses forbid, through a memory map.
 */
MAP_MMAPABLE(last_loss, u64, 1);

static __always_inline void count(u32 what, u64 by)
{
	u64 *slot = LOOKUP(counters, &what);

	if (slot)
		*slot += by;
}

/* Something was felt and cannot be told. */
static __always_inline void count_loss(u32 what)
{
	u32 first = 0;
	u64 *last = LOOKUP(last_loss, &first);

	count(what, 1);
	if (last)
		*last = bpf_ktime_get_ns();
}

/* The gate of a signal, NULL while it is closed. */
static __always_inline struct gate *gate_of(u32 signal)
{
	struct gate *gate = LOOKUP(gates, &signal);

	if (gate && gate->open)
		return gate;
	return 0;
}

static __always_inline u64 id_of(struct cgroup *cgroup)
{
	return READ(cgroup, kn, id);
}

static __always_inline u64 cgroup_of(struct task_struct *task)
{
	return READ(task, cgroups, dfl_cgrp, kn, id);
}

/* From the moment a cgroup is being removed nothing may be kept for it: nobody would take it away. */
static __always_inline bool is_online(struct cgroup *cgroup)
{
	return READ(cgroup, self.flags) & CSS_ONLINE;
}

/* The cgroup2 hierarchy has id 0; ids of cgroups are unique within a hierarchy only. */
static __always_inline bool is_v2(struct cgroup *cgroup)
{
	return READ(cgroup, root, hierarchy_id) == 0;
}

static __always_inline struct task_struct *this_task(void)
{
	return (struct task_struct *)bpf_get_current_task();
}

/* Fill in who it is about. */
static __always_inline void about_task(struct event *event, struct task_struct *task)
{
	event->cgroup = cgroup_of(task);
	event->pid = READ(task, tgid);
	event->parent = READ(task, real_parent, tgid);
	event->start_ns = READ(task, group_leader, start_boottime);
	if (HAS_FIELD(struct pid, ino))
		event->inode = READ(task, group_leader, thread_pid, ino);
	READ_TEXT(&event->comm, task, comm);
}

/* Fill in the rest and hand it over; the loss is counted when the ring is full. */
static __always_inline void emit(void *ctx, struct event *event, u8 kind, u64 now)
{
	event->time_ns = now;
	event->kind = kind;
	event->cpu = bpf_get_smp_processor_id();
	if (OUTPUT(ctx, events, event))
		count_loss(COUNTER_LOST_RING);
	else
		count(COUNTER_EMITTED, 1);
}

/* A process of a protected name has come into a cgroup, by execution or by being moved. */
static __always_inline void tell_if_protected(void *ctx, struct task_struct *task)
{
	struct event event = {};
	struct name name = {};

	READ_TEXT(&name.text, task, comm);
	if (!LOOKUP(protected_names, &name))
		return;
	about_task(&event, task);
	event.key = event.cgroup;
	emit(ctx, &event, EVENT_PROTECTED, bpf_ktime_get_ns());
}

static __always_inline struct count_stream *count_stream_of(struct stream_key *key, u64 now)
{
	struct count_stream *stream = LOOKUP(counts, key);
	struct count_stream fresh = {};

	if (stream)
		return stream;
	fresh.since_ns = now;
	INSERT(counts, key, &fresh);
	return LOOKUP(counts, key);
}

/*
 * For what happens so often that each look-up counts: of `sample` calls on a CPU one returns `sample`, and is
 * to be counted as so many; the others return 0, and are to be left out.
 */
static __always_inline u32 one_in(u32 sample)
{
	u32 zero = 0, *turn = LOOKUP(turns, &zero);

	return turn && ++*turn % sample == 0 ? sample : 0;
}

/*
 * Batches of one round: so many of the gate's own size, then each twice as large as the one before. A burst
 * that makes a rule fire is told in the first; of a storm the ring sees no more than the logarithm.
 */
#define EVEN_BATCHES 16
#define MAX_DOUBLINGS 20
#define MAX_ROUND_NS 1000000000ULL /* the longest gates are of rates that are learned, and want news */

/* Another CPU may have begun it after this one looked at the clock. */
static __always_inline bool is_over(u64 began, u64 length, u64 now)
{
	return now > began && now - began > length;
}

static __always_inline u64 round_of(struct gate *gate)
{
	return gate->window_ns < MAX_ROUND_NS ? gate->window_ns : MAX_ROUND_NS;
}

/* How many events make the next record of a stream. */
static __always_inline u32 batch_of(struct count_stream *stream, struct gate *gate)
{
	u32 told = stream->told, doublings;

	/* A record names one process: of a batch the others would go unnamed. */
	if (gate->open & GATE_EACH)
		return 1;
	if (told < EVEN_BATCHES)
		return gate->batch;
	doublings = told - EVEN_BATCHES + 1;
	return gate->batch << (doublings < MAX_DOUBLINGS ? doublings : MAX_DOUBLINGS);
}

static __always_inline void tell_count(void *ctx, struct stream_key *key, u32 pending, u64 since, u64 now,
				       u64 cgroup, struct task_struct *task)
{
	struct event event = {};

	if (task)
		about_task(&event, task);
	event.key = key->key;
	event.cgroup = cgroup;
	event.signal = key->signal;
	event.value = event.weight = pending;
	event.since_ns = since;
	emit(ctx, &event, EVENT_SIGNAL, now);
}

/*
 * `weight` more events of a counted signal, in the stream `of`, about `task`, which may be NULL; below zero,
 * so much was given back, and what comes within the window is owed for it first. Emits when a batch of them
 * came within the gate's window. Two CPUs may reset the batch at once: then a few events fall into the next
 * one, and none is counted twice.
 */
static __always_inline void count_weighted(void *ctx, u32 signal, u64 of, int weight, u64 cgroup,
					   struct task_struct *task)
{
	struct gate *gate = gate_of(signal);
	struct stream_key key = {};
	struct count_stream *stream;
	u64 now, since;
	u32 pending;

	if (!gate)
		return;
	count(COUNTER_SEEN, 1);
	key.key = of;
	key.signal = signal;
	now = bpf_ktime_get_ns();
	stream = count_stream_of(&key, now);
	if (!stream) {
		count_loss(COUNTER_LOST_STREAMS);
		return;
	}
	if (weight > 0)
		__sync_fetch_and_add(&stream->total, weight);
	since = stream->since_ns;
	if (is_over(since, gate->window_ns, now)) {
		stream->since_ns = since = now;
		stream->pending = 0;
	}
	if (is_over(stream->window_ns, round_of(gate), now)) {
		stream->window_ns = now;
		stream->told = 0;
	}
	pending = ADD_UP(&stream->pending, weight);
	if ((int)pending < 0 || pending < batch_of(stream, gate))
		return;
	stream->pending = 0;
	stream->since_ns = now;
	stream->told++;
	tell_count(ctx, &key, pending, since, now, cgroup, task);
}

/* One more event. */
static __always_inline void count_keyed(void *ctx, u32 signal, u64 of, u64 cgroup, struct task_struct *task)
{
	count_weighted(ctx, signal, of, 1, cgroup, task);
}

/* One more in the stream of the task's cgroup. */
static __always_inline void count_signal(void *ctx, u32 signal, struct task_struct *task)
{
	u64 cgroup;

	if (!gate_of(signal))
		return;
	cgroup = cgroup_of(task);
	count_keyed(ctx, signal, cgroup, cgroup, task);
}

static __always_inline u32 log2_of(u64 value)
{
	u32 bucket = 0;

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
static __always_inline bool worth_telling(struct value_stream *stream, struct gate *gate, u64 now)
{
	u32 exceeded;

	if (is_over(stream->window_ns, gate->window_ns, now)) {
		stream->window_ns = now;
		stream->exceeded = 0;
		stream->told = 0;
	}
	exceeded = ADD_UP(&stream->exceeded, 1);
	return gate->open & GATE_EACH || (exceeded & (exceeded - 1)) == 0;
}

static __always_inline struct value_stream *value_stream_of(struct stream_key *key)
{
	struct value_stream *stream = LOOKUP(values, key);
	struct value_stream fresh = {};

	if (stream)
		return stream;
	INSERT(values, key, &fresh);
	return LOOKUP(values, key);
}

/* Fill in a value, and whom it is about. */
static __always_inline void about_value(struct event *event, struct stream_key *key, u64 value, u64 cgroup,
					u64 culprit, struct task_struct *task)
{
	if (task)
		about_task(event, task);
	event->key = key->key;
	event->cgroup = cgroup;
	event->culprit = culprit;
	event->signal = key->signal;
	event->value = value;
}

static __always_inline void tell_value(void *ctx, struct stream_key *key, struct value_stream *stream,
				       u64 value, u64 cgroup, u64 culprit, struct task_struct *task, u64 now)
{
	u32 exceeded = stream->exceeded;
	struct event event = {};

	about_value(&event, key, value, cgroup, culprit, task);
	event.weight = exceeded > stream->told ? exceeded - stream->told : 1;
	stream->told = exceeded;
	emit(ctx, &event, EVENT_SIGNAL, now);
}

#include "bets.h"

/*
 * One value, standing for `weight`, in the stream `of`. `task` is whom it is about and may be NULL, `cgroup`
 * is that task's or who is responsible, `culprit` whoever ran instead; 0 when unknown.
 */
static __always_inline void value_weighted(void *ctx, u32 signal, u64 of, u64 value, u32 weight, u64 cgroup,
					   u64 culprit, struct task_struct *task)
{
	struct gate *gate = gate_of(signal);
	struct stream_key key = {};
	struct value_stream *stream;
	u64 now;

	if (!gate)
		return;
	count(COUNTER_SEEN, 1);
	key.key = of;
	key.signal = signal;
	stream = value_stream_of(&key);
	if (!stream) {
		count_loss(COUNTER_LOST_STREAMS);
		return;
	}
	__sync_fetch_and_add(&stream->total, weight);
	__sync_fetch_and_add(&stream->histogram[log2_of(value)], weight);
	stream->last = value;
	if (value > stream->peak)
		stream->peak = value;
	if (gate->open & GATE_BETS)
		bet_on(ctx, &key, stream, value, cgroup, culprit, task);
	if (value <= gate->level)
		return;
	now = bpf_ktime_get_ns();
	if (!worth_telling(stream, gate, now))
		return;
	tell_value(ctx, &key, stream, value, cgroup, culprit, task, now);
}

static __always_inline void value_keyed(void *ctx, u32 signal, u64 of, u64 value, u64 cgroup, u64 culprit,
					struct task_struct *task)
{
	value_weighted(ctx, signal, of, value, 1, cgroup, culprit, task);
}

/* The same in the stream of the task's cgroup. */
static __always_inline void value_signal(void *ctx, u32 signal, struct task_struct *task, u64 value,
					 u64 culprit)
{
	u64 cgroup = cgroup_of(task);

	value_keyed(ctx, signal, cgroup, value, cgroup, culprit, task);
}

#endif
