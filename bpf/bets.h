/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Histogram betting, the hot path: a bucket is counted, a score added. All that needs arithmetic is done by
 * the arc, when so many values have come. Included by streams.h.
 *
 * Two CPUs that bet for one stream at once may lose a step of the statistic, as if one of the values had not
 * been looked at; no value is missing from the histogram.
 */
#ifndef REFLEXARC_BETS_H
#define REFLEXARC_BETS_H

#define UNIT 64U
#define FIRST_TABLE 256U
#define AGAIN 4096U

/* 4 buckets an octave; the last takes all from 2^40 on. */
static __always_inline u32 bucket_of(u64 value)
{
	u32 octave;

	if (value >= 1ULL << 40)
		return BET_BUCKETS - 1;
	if (!value)
		return 0;
	octave = log2_of(value) + 1;
	return (u32)(value << 3 >> octave) + octave * 4 - 7;
}

/*
 * Two CPUs at the first value of one stream may take two slots: then one is out of use until the daemon
 * starts anew.
 */
static __always_inline u32 take_slot(struct value_stream *stream)
{
	u32 zero = 0, slot = 0;
	struct bet *blank = LOOKUP(bets, &zero);

	if (!blank || POP(free_slots, &slot)) {
		count_loss(COUNTER_LOST_SLOTS);
		return 0;
	}
	UPDATE(bets, &slot, blank);
	stream->slot = slot;
	return slot;
}

/* A stream and its slot. */
static __always_inline void drop_values(struct stream_key *key)
{
	struct value_stream *stream = LOOKUP(values, key);
	u32 slot;

	if (!stream)
		return;
	slot = stream->slot;
	DELETE(values, key);
	if (slot)
		PUSH(free_slots, &slot);
}

static __always_inline void tell_bet(void *ctx, u8 kind, struct stream_key *key, u32 slot, u32 statistic,
				     u64 value, u64 cgroup, u64 culprit, struct task_struct *task)
{
	struct event event = {};

	about_value(&event, key, value, cgroup, culprit, task);
	event.weight = 1;
	event.statistic = statistic;
	event.slot = slot;
	emit(ctx, &event, kind, bpf_ktime_get_ns());
}

/* For the correlation between bets, by which the arc sees how far apart they have to be. */
static __always_inline void measure(struct bet *bet, int score)
{
	bet->sum += score;
	bet->squares += score * score;
	bet->near += score * bet->last;
	bet->far += score * bet->before;
	bet->before = bet->last;
	bet->last = score;
	bet->looks++;
}

/* Whether there is news: the alarm begins, grows by a bit, ends, or has lasted twice as long. */
static __always_inline bool is_news(struct bet *bet, struct odds *table, u32 statistic)
{
	u32 opened;

	if (!bet->told) {
		bet->opened = 0;
		return statistic >= table->threshold && table->most;
	}
	opened = ++bet->opened;
	return statistic < table->over || statistic >= bet->told + UNIT || !(opened & (opened - 1));
}

/* Whether this value is a bet. Half-way between two bets there is a look that is none. */
static __always_inline bool takes_part(struct bet *bet, u32 half, int score)
{
	u32 wait = bet->wait;

	if (wait && wait != half) {
		bet->wait = wait - 1;
		return 0;
	}
	measure(bet, score);
	if (wait) {
		bet->wait = wait - 1;
		return 0;
	}
	bet->wait = half ? 2 * half - 1 : 0;
	return 1;
}

/* Whether there is something to tell of the stream after one more bet. */
static __always_inline bool wins(struct bet *bet, struct odds *table, int score)
{
	int statistic = bet->statistic + score;

	if (statistic < 0)
		statistic = 0;
	if (statistic > (int)table->most)
		statistic = table->most;
	bet->statistic = statistic;
	if (!is_news(bet, table, statistic))
		return 0;
	if (bet->told && statistic < (int)table->over)
		bet->statistic = statistic = 0;
	bet->told = statistic;
	return 1;
}

/* Once, and again after so many more values if it was not heeded. */
static __always_inline bool is_due(struct bet *bet, u32 due)
{
	u32 late = ADD_UP(&bet->gathered, 1) - due;

	return (int)late >= 0 && late % AGAIN == 0;
}

static __always_inline void bet_on(void *ctx, struct stream_key *key, struct value_stream *stream, u64 value,
				   u64 cgroup, u64 culprit, struct task_struct *task)
{
	u32 slot = stream->slot ?: take_slot(stream), bucket = bucket_of(value);
	struct odds *table = LOOKUP(odds, &slot);
	struct bet *bet = LOOKUP(bets, &slot);
	bool has_odds;
	int score;

	if (!slot || !table || !bet || bucket >= BET_BUCKETS)
		return;
	__sync_fetch_and_add(&bet->histogram[bucket], 1);
	/* Now: of a number that has been on the stack, verifiers before Linux 5.16 know no bounds. */
	score = table->scores[bucket];
	has_odds = table->of == key->key;
	if (is_due(bet, has_odds ? table->due : FIRST_TABLE))
		tell_bet(ctx, EVENT_SUMMARY, key, slot, bet->statistic, value, cgroup, culprit, task);
	if (!has_odds)
		return;
	if (takes_part(bet, table->half, score) && wins(bet, table, score))
		tell_bet(ctx, EVENT_BET, key, slot, bet->statistic, value, cgroup, culprit, task);
}

#endif
