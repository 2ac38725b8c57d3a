/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What every sensor is written in: hooks, maps, reads and streams. A sensor includes this and nothing else,
 * and compiles under clang ahead of time (core.h) and under bcc at load (bcc.h) from the same text.
 *
 *	HOOK2(sched_process_fork, struct task_struct *, parent, struct task_struct *, child)
 *	{
 *		count_signal(ctx, SIGNAL_PROCESS_FORK, child);
 *	}
 */
#ifndef REFLEXARC_DIALECT_H
#define REFLEXARC_DIALECT_H

#ifdef REFLEXARC_BCC
#include "bcc.h"
#else
#include "core.h"
#endif

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* Something kept for each task for a short while, by thread id; the one not touched longest gives way. */
#define MAX_TASKS 16384
#define TASK_MAP(name, value_type) MAP_LRU(name, u32, value_type, MAX_TASKS)
#define TASK_GET(name, task)                                                                                 \
	({                                                                                                   \
		u32 _thread = READ(task, pid);                                                               \
		LOOKUP(name, &_thread);                                                                      \
	})
/* Not 0 when there was no room. */
#define TASK_SET(name, task, to)                                                                             \
	({                                                                                                   \
		u32 _thread = READ(task, pid);                                                               \
		typeof(to) _kept = to;                                                                       \
		UPDATE(name, &_thread, &_kept);                                                              \
	})

/* clone, fork, vfork, clone3; the newer architectures have the first and the last. */
#if defined(__TARGET_ARCH_x86)
#define MAKES_A_TASK(call) ((call) == 56 || (call) == 57 || (call) == 58 || (call) == 435)
#else
#define MAKES_A_TASK(call) ((call) == 220 || (call) == 435)
#endif

/* HOOKn: a tracepoint and the first n of its arguments, each as type and name. The body gets `ctx`, too. */
#define HOOK1(name, t1, a1)                                                                                  \
	static __always_inline void on_##name(void *ctx, t1 a1);                                             \
	HOOK_ENTRY(name, on_##name(ctx, (t1)ctx_args(ctx)[0]))                                               \
	static __always_inline void on_##name(void *ctx, t1 a1)

#define HOOK2(name, t1, a1, t2, a2)                                                                          \
	static __always_inline void on_##name(void *ctx, t1 a1, t2 a2);                                      \
	HOOK_ENTRY(name, on_##name(ctx, (t1)ctx_args(ctx)[0], (t2)ctx_args(ctx)[1]))                         \
	static __always_inline void on_##name(void *ctx, t1 a1, t2 a2)

#define HOOK3(name, t1, a1, t2, a2, t3, a3)                                                                  \
	static __always_inline void on_##name(void *ctx, t1 a1, t2 a2, t3 a3);                               \
	HOOK_ENTRY(name, on_##name(ctx, (t1)ctx_args(ctx)[0], (t2)ctx_args(ctx)[1], (t3)ctx_args(ctx)[2]))   \
	static __always_inline void on_##name(void *ctx, t1 a1, t2 a2, t3 a3)

#include "streams.h"

#ifdef REFLEXARC_BCC
/* Where sensors are compiled by bcc, every policy is carried out by the arc. */
#define react(signal, value)
#define value_of_current(ctx, signal, value) value_signal(ctx, signal, this_task(), value, 0)
#else
#include "reflex.h"
#endif

#endif
