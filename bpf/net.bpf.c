// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * net: segments sent again, connections reset or never made, packets dropped for a reason, by the cgroup
 * that owns the socket. Mostly felt in softirqs, so whoever runs then says nothing of whom it is about.
 */
#include "dialect.h"

/* kernfs numbers the nodes of a hierarchy from 1. */
#define ROOT_CGROUP 1

/* include/net/tcp_states.h */
#define TCP_SYN_SENT 2
#define TCP_TIME_WAIT 6
#define TCP_CLOSE 7
#define TCP_NEW_SYN_RECV 12

/* Sockets in these states are of smaller types, with no cgroup. */
static __always_inline bool is_whole(struct sock *sk)
{
	u8 state = READ(sk, __sk_common.skc_state);

	return state != TCP_TIME_WAIT && state != TCP_NEW_SYN_RECV;
}

static __always_inline struct cgroup *socket_cgroup(struct sock *sk)
{
	u64 old;

	if (HAS_FIELD(struct sock_cgroup_data, cgroup))
		return READ(sk, sk_cgrp_data.cgroup);
	old = READ((struct sock___old *)sk, sk_cgrp_data.val);
	return old & 1 ? 0 : (struct cgroup *)old;
}

/* The root stands for packets of no socket, and for sockets that outlive their cgroup. */
static __always_inline u64 cgroup_of_socket(struct sock *sk)
{
	struct cgroup *cgroup = 0;

	if (sk && is_whole(sk))
		cgroup = socket_cgroup(sk);
	return cgroup && is_online(cgroup) ? id_of(cgroup) : ROOT_CGROUP;
}

static __always_inline void count_socket(void *ctx, u32 signal, struct sock *sk)
{
	u64 cgroup;

	if (!gate_of(signal))
		return;
	cgroup = cgroup_of_socket(sk);
	count_keyed(ctx, signal, cgroup, cgroup, 0);
}

HOOK1(tcp_retransmit_skb, struct sock *, sk)
{
	count_socket(ctx, SIGNAL_NET_RETRANSMIT, sk);
}

HOOK1(tcp_receive_reset, struct sock *, sk)
{
	count_socket(ctx, SIGNAL_NET_RESET, sk);
}

HOOK3(inet_sock_set_state, struct sock *, sk, int, from, int, to)
{
	if (from == TCP_SYN_SENT && to == TCP_CLOSE)
		count_socket(ctx, SIGNAL_NET_CONNECT_FAILURE, sk);
}

/*
 * Reasons came with Linux 5.17 (c504e5c2f964), and from 6.11 on (c53795d48ee8) the receiving socket is told,
 * too: that of a packet on its way in does not own it yet.
 */
HOOK1(kfree_skb, struct sk_buff *, skb)
{
	struct sock *sk = 0;

	if (!HAS_FIELD(struct trace_event_raw_kfree_skb, reason))
		return;
	if ((u32)ARGUMENT(ctx, 2) <= NUMBER_OF(enum skb_drop_reason, SKB_DROP_REASON_NOT_SPECIFIED))
		return;
	if (HAS_FIELD(struct trace_event_raw_kfree_skb, rx_sk))
		sk = (struct sock *)ARGUMENT(ctx, 3);
	count_socket(ctx, SIGNAL_NET_DROP, sk ? sk : READ(skb, sk));
}
