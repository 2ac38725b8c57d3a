/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The contract between the kernel side and the arc: everything that crosses the ring or a map.
 * Fixed widths, explicit padding, no pointers. controlplane/arc/kernel/events.py is generated
 * from the BTF of contract.bpf.c (`make events`); a test compares the two.
 */
#ifndef REFLEXARC_EVENTS_H
#define REFLEXARC_EVENTS_H

#define COMM_LENGTH 16
#define HISTOGRAM_BUCKETS 40
#define WATCHED 4096U
#define ENDED 32768U
#define BET_BUCKETS 162
#define BET_SLOTS 10240
#define OWN_PROCESSES 2
#define PLACES 16
#define BREAKER_TIMES 1024

/* Of `open` of a gate. */
#define GATE_OPEN 1
#define GATE_EACH 2   /* a rule wants each event for its process */
#define GATE_REFLEX 8 /* a policy for the signal is carried out in the kernel */
#define GATE_BETS 4   /* a rule wants to know whether the distribution of values has moved up */

/* A named quantity. The numbers are indices into `gates`; what else is known of them is in link/signals.py.
 */
enum signal {
	SIGNAL_NONE,
	SIGNAL_PROCESS_FORK,
	SIGNAL_PROCESS_EXEC,
	SIGNAL_PROCESS_EXIT_FAILURE,
	SIGNAL_PROCESS_CRASH,
	SIGNAL_PROCESS_FORK_REFUSED,
	SIGNAL_CPU_RUNQ_DELAY,
	SIGNAL_MEMORY_RECLAIM_STALL,
	SIGNAL_MEMORY_OOM_KILL,
	SIGNAL_MEMORY_GROWTH,
	SIGNAL_MEMORY_FAULT,
	SIGNAL_PSI_MEMORY,
	SIGNAL_PSI_CPU,
	SIGNAL_PSI_IO,
	SIGNAL_BLOCK_LATENCY,
	SIGNAL_BLOCK_ERROR,
	SIGNAL_WRITEBACK_PAUSE,
	SIGNAL_NET_RETRANSMIT,
	SIGNAL_NET_RESET,
	SIGNAL_NET_CONNECT_FAILURE,
	SIGNAL_NET_DROP,
	SIGNAL_NET_LINK_DOWN,
	SIGNAL_NET_LINK_FLAP,
	SIGNAL_FD_EXHAUSTED,
	SIGNAL_DISK_FULL,
	SIGNAL_SOFTIRQ_TIME,
	SIGNAL_EVENTS_LOST,
	SIGNAL_USER, /* the first of the users' own; each of their sensors is given the next */
	SIGNALS = SIGNAL_USER + 16,
};

enum event_kind {
	EVENT_SIGNAL = 1,  /* a stream passed its gate */
	EVENT_EXIT,	   /* a watched process has exited */
	EVENT_FROZEN,	   /* a cgroup is frozen (value 1) or thawed (value 0) */
	EVENT_POPULATED,   /* a cgroup has processes (value 1) or none (value 0) */
	EVENT_CGROUP_NEW,  /* a cgroup was made */
	EVENT_CGROUP_GONE, /* a cgroup was removed; its streams are gone from the maps */
	EVENT_PROTECTED,   /* a process of a protected name was executed in, or moved to, a cgroup */
	EVENT_BET,	   /* a stream won its bets: its values are larger than they were, or no longer so */
	EVENT_SUMMARY,	   /* so many values have come that the odds of a stream are to be made anew */
	EVENT_ACTED,	   /* a policy has fired in the kernel, see enum outcome */
};

struct event {
	__u64 time_ns;	 /* CLOCK_MONOTONIC */
	__u64 value;	 /* in the signal's unit; for counts, how many */
	__u64 since_ns;	 /* counts: when the first of them happened */
	__u64 key;	 /* of the stream: a cgroup id, or what else the signal is kept by */
	__u64 cgroup;	 /* who is affected, or responsible where the key is no cgroup; 0: unknown */
	__u64 culprit;	 /* cgroup that ran instead, 0 where the signal names none */
	__u64 start_ns;	 /* start of the process since boot, with pid its identity */
	__u64 inode;	 /* of its pidfd, never used twice; 0 before Linux 6.9 */
	__u32 pid;	 /* thread group id in the initial namespace */
	__u32 parent;	 /* thread group id of the parent */
	__u32 weight;	 /* kernel events this record stands for */
	__u32 statistic; /* bets: winnings, in 64ths of a bit */
	__u32 slot;	 /* bets: of the stream, in `bets` and `odds`; 0: it has none */
	__u16 signal;	 /* enum signal */
	__u8 kind;	 /* enum event_kind */
	__u8 cpu;
	char comm[COMM_LENGTH];
};

/* What a signal's rules come to in the kernel: nothing is emitted while `open` is 0. */
struct gate {
	__u64 window_ns; /* counts: how long a batch may take; values: one round of exceedances */
	__u64 level;	 /* values: only what is above is told */
	__u32 batch;	 /* counts: events that make one record */
	__u32 open;	 /* GATE_ flags; 0: closed */
};

struct stream_key {
	__u64 key;
	__u32 signal;
	__u32 padding;
};

struct count_stream {
	__u64 total;
	__u64 since_ns;	 /* when the first of those pending happened */
	__u64 window_ns; /* when this round of batches began */
	__u32 pending;
	__u32 told; /* batches already told in this round */
};

struct value_stream {
	__u64 total;
	__u64 peak;
	__u64 last;
	__u64 window_ns; /* when this round of exceedances began */
	__u32 exceeded;
	__u32 told; /* exceedances already told in this round */
	__u32 slot; /* of its bets; 0: none */
	__u32 padding;
	__u32 histogram[HISTOGRAM_BUCKETS]; /* bucket i: 2^i <= value < 2^(i+1) */
};

/*
 * Histogram betting. Each value is a bet whose payoff the arc has set from the stream's own past; the
 * statistic is the sum of the payoffs' logarithms, never below zero, in 64ths of a bit. `odds` are the arc's,
 * `bets` the kernel's; both are arrays in shared memory with one slot a stream, and what is counted in them
 * only grows, so neither side ever resets what the other may be changing. Slot 0 is blank.
 */
struct odds {
	__u32 threshold; /* statistic at which the stream is told of */
	__u32 over;	 /* statistic below which an alarm has ended */
	__u32 most;	 /* statistic at most; 0 while nothing may be told */
	__u32 half;	 /* values between two looks, of which the second is a bet; 0: each is one */
	__u32 due;	 /* value of `gathered` at which a summary is told */
	__s16 scores[BET_BUCKETS]; /* what a value of this bucket wins */
	__u64 of; /* key of the stream they are for, for a slot may have gone to another; written last */
};

struct bet {
	__u32 gathered; /* values so far */
	__u32 wait;	/* values before the next bet */
	__u32 statistic;
	__u32 told;   /* statistic that was told last, 0 while there is no alarm */
	__u32 opened; /* bets since the alarm began */
	__u32 looks;  /* scores that went into these four sums */
	__s32 last;
	__s32 before;
	__s64 sum;
	__s64 squares;
	__s64 near;		      /* products with the score of the look before */
	__s64 far;		      /* ... and of the one before that */
	__u32 histogram[BET_BUCKETS]; /* four buckets an octave */
};

/* What may be denied to a cgroup. */
enum denied {
	DENIED_NOTHING,
	DENIED_FORK,
	DENIED_EXEC,
	DENIED_CONNECT,
};

/* Acts, tests and modes of a policy that is carried out in the kernel. */
enum act_in_kernel {
	ACT_KILL, /* SIGKILL to the process that runs */
	ACT_DENY,
};

enum test_in_kernel {
	TEST_RATE,
	TEST_LEVEL,
	TEST_BETS,
};

enum mode_in_kernel {
	MODE_OFF,
	MODE_OBSERVE,
	MODE_ENFORCE,
};

/*
 * What came of a policy that fired in the kernel: `weight` of its EVENT_ACTED, in which `time_ns` is when the
 * event was felt, `culprit` when it was decided, `since_ns` when the act had returned, and `slot` the `id`.
 */
enum outcome {
	OUTCOME_DONE,
	OUTCOME_OBSERVED,
	OUTCOME_PROTECTED,
	OUTCOME_BREAKER,
	OUTCOME_BUDGET,
	OUTCOME_FAILED,
};

/* A policy that is carried out in the kernel. */
struct placed {
	__u64 interval_ns; /* rates: of events that are allowed */
	__u64 burst_ns;	   /* ... beyond which so many of them may come, in their time */
	__u64 level;	   /* values: only what is above counts */
	__u64 quiet_ns;	   /* between two acts on a victim */
	__u64 breaker_ns;  /* in which `allow` acts may be done that cannot be undone */
	__u64 node_ns;	   /* ... and `node_allow` of all policies together */
	__u32 allow;
	__u32 node_allow;
	__u32 id; /* never given twice */
	__u32 signal;
	__u32 test; /* enum test_in_kernel */
	__u32 act;  /* enum act_in_kernel */
	__u32 what; /* of a denial */
	__u32 per_process;
	__u32 mode; /* enum mode_in_kernel; written last */
	__u32 padding;
};

struct standing_key {
	__u64 who; /* cgroup */
	__u64 start_ns;
	__u32 process; /* with its start; 0: the whole cgroup */
	__u32 id;      /* of the policy */
};

/* How a policy stands to one victim. */
struct standing {
	__u64 arrival_ns;
	__u64 quiet_until_ns;
	__u64 fired_ns; /* last, whether or not anything was done */
	__u32 statistic;
	__u32 busy;
};

struct breaker {
	__u32 taken; /* acts so far */
	__u32 open;
	__u64 times[BREAKER_TIMES]; /* of the last acts */
};

struct denial_key {
	__u64 cgroup;
	__u32 what; /* enum denied */
	__u32 padding;
};

struct denial {
	__u64 times;
	__u64 last_ns;
};

/* Places where the kernel side counts; the value map is per CPU. */
enum counter {
	COUNTER_SEEN,	      /* kernel events that reached a hook's own logic */
	COUNTER_EMITTED,      /* records put into the ring */
	COUNTER_LOST_RING,    /* ... and not, because it was full */
	COUNTER_LOST_STREAMS, /* events of a stream for which the map had no room */
	COUNTER_LOST_STORAGE, /* beginnings whose time could not be kept until their end */
	COUNTER_LOST_SLOTS,   /* values of a stream for whose bets there was no room */
	COUNTERS,
};

#endif
