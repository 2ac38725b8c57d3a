/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Reflexes that the kernel carries out by itself: the test, the guards and the act in one hook, where whoever
 * runs is whom it is about. The arc says which policies, for which cgroups, and is told what was done.
 * Included by dialect.h; CO-RE alone.
 */
#ifndef REFLEXARC_REFLEX_H
#define REFLEXARC_REFLEX_H

#include "denials.h"

#define SIGKILL 9
#define EEXIST 17
#define MAX_PROTECTED 8192
/* Clock ticks of /proc/pid/stat, in which the arc knows when a process began. */
#define TICK_NS 10000000ULL

MAP_ARRAY(placed, struct placed, PLACES);
/* Which policies may act in a cgroup, a bit for each; what has no entry is out of every scope. */
MAP_HASH(scopes, u64, u32, MAX_COUNT_STREAMS);
/* Of those beyond, the ones untouched longest begin anew. */
MAP_LRU(standings, struct standing_key, struct standing, 4096);
/* One for each policy, and the node's. */
MAP_ARRAY(breakers, struct breaker, PLACES + 1);
/* When protected processes began, in ticks. */
MAP_HASH(protected_processes, u32, u64, MAX_PROTECTED);

static __always_inline bool is_protected(struct task_struct *task)
{
	u32 process = READ(task, tgid);
	u64 *ticks = LOOKUP(protected_processes, &process);
	struct name name = {};

	if (is_core(task) || (ticks && *ticks == READ(task, group_leader, start_boottime) / TICK_NS))
		return 1;
	READ_TEXT(&name.text, task, comm);
	return LOOKUP(protected_names, &name) != 0;
}

/* Whether one more act is within the allowance; after the first that is not, none is. */
static __always_inline bool is_allowed(u32 at, u32 allow, u64 window_ns, u64 now)
{
	struct breaker *breaker = LOOKUP(breakers, &at);
	u32 number;
	u64 before;

	if (!breaker || breaker->open)
		return 0;
	number = ADD_UP(&breaker->taken, 1) - 1;
	before = breaker->times[(number - allow) % BREAKER_TIMES];
	if (before && now - before < window_ns) {
		breaker->open = 1;
		return 0;
	}
	breaker->times[number % BREAKER_TIMES] = now;
	return 1;
}

/* Its end is to be told, too: the arc may be asleep until after it. */
static __always_inline void watch(struct task_struct *task)
{
	u32 slot = (u32)READ(task, tgid) % WATCHED;
	u64 *start = LOOKUP(watched, &slot);

	if (start)
		*start = READ(task, group_leader, start_boottime);
}

static __always_inline u32 kill_current(struct placed *policy, u32 at, struct task_struct *task, u64 now)
{
	if (is_protected(task))
		return OUTCOME_PROTECTED;
	if (policy->mode != MODE_ENFORCE)
		return OUTCOME_OBSERVED;
	if (!is_allowed(at, policy->allow, policy->breaker_ns, now) ||
	    !is_allowed(PLACES, policy->node_allow, policy->node_ns, now))
		return OUTCOME_BREAKER;
	watch(task);
	return bpf_send_signal(SIGKILL) ? OUTCOME_FAILED : OUTCOME_DONE;
}

static __always_inline u32 deny_cgroup(struct placed *policy, u64 cgroup, struct task_struct *task)
{
	struct denial_key key = {};
	struct denial none = {};
	long error;

	/* The root has nothing above it. */
	if (is_core(task) || !READ(task, cgroups, dfl_cgrp, self.parent))
		return OUTCOME_PROTECTED;
	if (policy->mode != MODE_ENFORCE)
		return OUTCOME_OBSERVED;
	key.cgroup = cgroup;
	key.what = policy->what;
	error = INSERT(denials, &key, &none);
	return error && error != -EEXIST ? OUTCOME_BUDGET : OUTCOME_DONE;
}

/* First there is room to tell of it, for nothing is done that would not be told; what is told comes last. */
static __always_inline void act(struct placed *policy, u32 at, struct standing *standing, u32 signal,
				u64 value, u64 cgroup, struct task_struct *task, u64 now)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	u64 decided, acted;
	u32 outcome;

	if (!event) {
		count(COUNTER_LOST_RING, 1);
		return;
	}
	decided = bpf_ktime_get_ns();
	if (policy->act == ACT_KILL)
		outcome = kill_current(policy, at, task, now);
	else
		outcome = deny_cgroup(policy, cgroup, task);
	acted = bpf_ktime_get_ns();
	__builtin_memset(event, 0, sizeof(*event));
	about_task(event, task);
	event->key = event->cgroup = cgroup;
	event->signal = signal;
	event->value = value;
	event->statistic = standing->statistic;
	event->slot = policy->id;
	event->kind = EVENT_ACTED;
	event->cpu = bpf_get_smp_processor_id();
	event->time_ns = now;
	event->culprit = decided;
	event->since_ns = acted;
	event->weight = outcome;
	bpf_ringbuf_submit(event, 0);
	count(COUNTER_EMITTED, 1);
}

/* The generic cell rate algorithm, as in monitor/tests.py: how many events are owed, beyond a steady rate. */
static __always_inline bool is_too_fast(struct placed *policy, struct standing *standing, u64 now)
{
	u64 from = standing->arrival_ns > now ? standing->arrival_ns : now, owed;

	standing->arrival_ns = from + policy->interval_ns;
	owed = standing->arrival_ns - now;
	standing->statistic = owed / policy->interval_ns;
	return owed > policy->burst_ns;
}

/* Whether the stream has won its bets and not lost them since; the arc has set the threshold. */
static __always_inline bool has_won(struct placed *policy, struct standing *standing, u32 signal, u64 cgroup)
{
	struct stream_key key = {};
	struct value_stream *stream;
	struct odds *table;
	struct bet *bet;
	u32 slot;

	key.key = cgroup;
	key.signal = signal;
	stream = LOOKUP(values, &key);
	if (!stream)
		return 0;
	slot = stream->slot;
	table = LOOKUP(odds, &slot);
	bet = LOOKUP(bets, &slot);
	if (!slot || !table || !bet || table->of != cgroup || !bet->told)
		return 0;
	standing->statistic = bet->statistic;
	return bet->statistic >= table->threshold;
}

static __always_inline bool fires(struct placed *policy, struct standing *standing, u32 signal, u64 value,
				  u64 cgroup, u64 now)
{
	if (policy->test == TEST_RATE)
		return policy->interval_ns && is_too_fast(policy, standing, now);
	if (policy->test == TEST_BETS)
		return has_won(policy, standing, signal, cgroup);
	return value > policy->level;
}

/* One policy against one victim at a time; of several CPUs that come together one goes on. */
static __always_inline bool begins(struct placed *policy, struct standing *standing, u64 now)
{
	volatile u64 *quiet = &standing->quiet_until_ns;
	bool first;

	if (now < *quiet || ADD_UP(&standing->busy, 1) != 1)
		return 0;
	first = now >= *quiet;
	if (first)
		*quiet = now + policy->quiet_ns;
	*(volatile u32 *)&standing->busy = 0;
	return first;
}

static __always_inline struct standing *standing_of(struct placed *policy, u64 cgroup,
						    struct task_struct *task)
{
	struct standing_key key = {};
	struct standing *standing, fresh = {};

	key.who = cgroup;
	key.id = policy->id;
	if (policy->per_process) {
		key.process = READ(task, tgid);
		key.start_ns = READ(task, group_leader, start_boottime);
	}
	standing = LOOKUP(standings, &key);
	if (standing)
		return standing;
	INSERT(standings, &key, &fresh);
	return LOOKUP(standings, &key);
}

/* Not inlined: once for each policy would be too much for the verifier. */
static __attribute__((noinline)) int consider(u32 at, u32 signal, u64 value, u64 cgroup)
{
	struct placed *policy = LOOKUP(placed, &at);
	struct task_struct *task = this_task();
	struct standing *standing;
	u64 now;

	if (!policy || policy->signal != signal || policy->mode == MODE_OFF)
		return 0;
	now = bpf_ktime_get_ns();
	standing = standing_of(policy, cgroup, task);
	if (!standing) {
		count(COUNTER_LOST_STREAMS, 1);
		return 0;
	}
	if (!fires(policy, standing, signal, value, cgroup, now))
		return 0;
	standing->fired_ns = now;
	if (begins(policy, standing, now))
		act(policy, at, standing, signal, value, cgroup, task, now);
	return 0;
}

/* As value_signal, in a frame of its own: with that of `consider` it would be more than a stack holds. */
static __attribute__((noinline, unused)) int value_of_current(void *ctx, u32 signal, u64 value)
{
	value_signal(ctx, signal, this_task(), value, 0);
	return 0;
}

/* An event of a signal whose culprit is whoever runs now, for the policies that have been placed here. */
static __always_inline void react(u32 signal, u64 value)
{
	struct gate *gate = gate_of(signal);
	u32 at, *scope;
	u64 cgroup;

	if (!gate || !(gate->open & GATE_REFLEX))
		return;
	cgroup = cgroup_of(this_task());
	scope = LOOKUP(scopes, &cgroup);
	if (!scope)
		return;
	for (at = 0; at < PLACES; at++) {
		if (*scope >> at & 1)
			consider(at, signal, value, cgroup);
	}
}

#endif
