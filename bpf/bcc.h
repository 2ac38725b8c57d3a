/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The dialect for bcc, which compiles at load: raw tracepoints, maps as bcc's tables. The kernel's types are
 * those of core.h, laid out for this kernel by controlplane/compiler/layout.py. Maps are referred to by
 * numbers that the loader gives and puts right, not by bcc's `table.lookup()`: bcc rewrites that in the text
 * of a source, which is impossible inside a macro.
 */
#ifndef REFLEXARC_BCC_H
#define REFLEXARC_BCC_H

#include "events.h"

/* As libbpf does with a field that is not there: a call the verifier refuses, unless it is never reached. */
#define REFUSE() ((void (*)(void))195896080)()
/* Where layout.py puts fields and types this kernel does not have, and the number of such an enumerator. */
#define ABSENT (1 << 20)

#define KERNEL_TYPES
#define KERNEL_TYPES_END
#include "kernel_types.h"

#define HAS_TYPE(type) (__builtin_offsetof(type, reflexarc_type) < ABSENT)
#define HAS_FIELD(type, field) (__builtin_offsetof(type, field) < ABSENT)
#define NUMBER_OF(type, name)                                                                                \
	({                                                                                                   \
		if ((name) == ABSENT)                                                                        \
			REFUSE();                                                                            \
		(name);                                                                                      \
	})

#define REQUIRE(from, field)                                                                                 \
	if (!HAS_FIELD(typeof(*(from)), field))                                                              \
	REFUSE()
#define READ1(from, a)                                                                                       \
	({                                                                                                   \
		typeof((from)->a) _read;                                                                     \
		REQUIRE(from, a);                                                                            \
		bpf_probe_read_kernel(&_read, sizeof(_read), &(from)->a);                                    \
		_read;                                                                                       \
	})
#define READ2(from, a, b) READ1(READ1(from, a), b)
#define READ3(from, a, b, c) READ1(READ2(from, a, b), c)
#define READ4(from, a, b, c, d) READ1(READ3(from, a, b, c), d)
#define READ5(from, a, b, c, d, e) READ1(READ4(from, a, b, c, d), e)
#define READ_BY(_1, _2, _3, _4, _5, name, ...) name
#define READ(from, fields...) READ_BY(fields, READ5, READ4, READ3, READ2, READ1)(from, fields)
#define READ_TYPED(from, field) READ(from, field)
#define READ_TEXT(to, from, field)                                                                           \
	({                                                                                                   \
		REQUIRE(from, field);                                                                        \
		bpf_probe_read_kernel_str(to, sizeof(*(to)), &(from)->field);                                \
	})

#define STATE_OF(task)                                                                                       \
	(HAS_FIELD(struct task_struct, __state) ? READ(task, __state)                                        \
						: READ((struct task_struct___old *)task, state))

#define MAP_ARRAY(name, value_type, entries) BPF_F_TABLE("array", u32, value_type, name, entries, 0)
#define MAP_MMAPABLE(name, value_type, entries)                                                              \
	BPF_F_TABLE("array", u32, value_type, name, entries, BPF_F_MMAPABLE)
#define MAP_PER_CPU(name, value_type, entries) BPF_F_TABLE("percpu_array", u32, value_type, name, entries, 0)
#define MAP_HASH(name, key_type, value_type, entries)                                                        \
	BPF_F_TABLE("hash", key_type, value_type, name, entries, 0)
#define MAP_LRU(name, key_type, value_type, entries)                                                         \
	BPF_F_TABLE("lru_hash", key_type, value_type, name, entries, 0)

#define MAP_STACK(name, value_type, entries) BPF_STACK(name, value_type, entries)

#define MAP_AT(name) ((void *)bpf_pseudo_fd(1, map_number_##name))
#define HELPER(number, result, arguments...) ((result(*)(arguments))(number))
#define LOOKUP(name, key) HELPER(BPF_FUNC_map_lookup_elem, void *, void *, const void *)(MAP_AT(name), key)
#define PUT(name, key, value, flags)                                                                         \
	HELPER(BPF_FUNC_map_update_elem, long, void *, const void *, const void *, u64)                      \
	(MAP_AT(name), key, value, flags)
#define UPDATE(name, key, value) PUT(name, key, value, BPF_ANY)
#define INSERT(name, key, value) PUT(name, key, value, BPF_NOEXIST)
#define DELETE(name, key) HELPER(BPF_FUNC_map_delete_elem, long, void *, const void *)(MAP_AT(name), key)
#define PUSH(name, value)                                                                                    \
	HELPER(BPF_FUNC_map_push_elem, long, void *, const void *, u64)(MAP_AT(name), value, BPF_ANY)
#define POP(name, value) HELPER(BPF_FUNC_map_pop_elem, long, void *, void *)(MAP_AT(name), value)

#ifdef REFLEXARC_PERF
#define RING(name, bytes) BPF_PERF_OUTPUT(name)
#define OUTPUT(ctx, name, event)                                                                             \
	HELPER(BPF_FUNC_perf_event_output, long, void *, void *, u64, void *, u64)                           \
	(ctx, MAP_AT(name), BPF_F_CURRENT_CPU, event, sizeof(*(event)))
#else
#define RING(name, bytes) BPF_RINGBUF_OUTPUT(name, (bytes) / PAGE_SIZE)
#define OUTPUT(ctx, name, event)                                                                             \
	HELPER(BPF_FUNC_ringbuf_output, long, void *, void *, u64, u64)                                      \
	(MAP_AT(name), event, sizeof(*(event)), 0)
#endif

/*
 * Add to a u32 in which every CPU counts; what it is now. bcc's LLVM does not know the instruction
 * (atomic_fetch_add, Linux 5.12, 5ca419f2864a), so it is spelled out around the registers it chose. Without
 * it two CPUs may both see what the later of them made.
 */
#ifdef REFLEXARC_FETCH
#define REGISTERS                                                                                            \
	".set number_r0, 0\n.set number_r1, 1\n.set number_r2, 2\n.set number_r3, 3\n.set number_r4, 4\n"    \
	".set number_r5, 5\n.set number_r6, 6\n.set number_r7, 7\n.set number_r8, 8\n.set number_r9, 9\n"
#define ADD_UP(at, by)                                                                                       \
	({                                                                                                   \
		u64 _added = by;                                                                             \
		asm volatile(REGISTERS ".8byte 0x1000000c3 | number_%0 << 12 | number_%1 << 8"               \
			     : "+r"(_added)                                                                  \
			     : "r"(at)                                                                       \
			     : "memory");                                                                    \
		(u32) _added + (by);                                                                         \
	})
#else
#define ADD_UP(at, by) (__sync_fetch_and_add(at, by), *(volatile u32 *)(at))
#endif

#define ctx_args(ctx) (ctx)
#define ARGUMENT(ctx, number)                                                                                \
	({                                                                                                   \
		u64 _argument;                                                                               \
		asm volatile("%0 = *(u64 *)(%1 + %2)" : "=r"(_argument) : "r"(ctx), "i"((number)*8));        \
		_argument;                                                                                   \
	})
/* Declared first, because bcc puts an attribute where the macro begins. */
#define HOOK_ENTRY(name, call)                                                                               \
	int name(u64 *ctx);                                                                                  \
	int name(u64 *ctx)                                                                                   \
	{                                                                                                    \
		call;                                                                                        \
		return 0;                                                                                    \
	}

#endif
