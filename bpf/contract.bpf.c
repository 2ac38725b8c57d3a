// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Never loaded: one instance of every type of the contract, so that all of them are in its BTF. A struct
 * that is used only through bpf_ringbuf_reserve would be absent.
 */
#include <linux/types.h>

#include "events.h"

struct event event;
struct gate gate;
struct stream_key stream_key;
struct count_stream count_stream;
struct value_stream value_stream;
struct odds odds;
struct bet bet;
struct denial_key denial_key;
struct denial denial;
struct placed placed;
struct standing_key standing_key;
struct standing standing;
struct breaker breaker;
enum signal signal;
enum event_kind event_kind;
enum counter counter;
enum denied denied;
enum act_in_kernel act_in_kernel;
enum test_in_kernel test_in_kernel;
enum mode_in_kernel mode_in_kernel;
enum outcome outcome;
