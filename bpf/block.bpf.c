// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * block: how long a device takes for a request, per device and operation, with the cgroup that issued it;
 * requests that ended in an error.
 */
#include "dialect.h"

/* REQ_OP_BITS of include/linux/blk_types.h; operations from 32 on are commands passed through to a driver. */
#define OPERATION 0xff
#define PASSED_THROUGH 32

/* Id of the root cgroup. */
#define ROOT 1

struct issue {
	u64 since;
	u64 cgroup;
};

/* By address: requests that devices are at, as many as 64 queues of 128; those beyond are counted as lost. */
MAP_HASH(issued, u64, struct issue, 8192);

/* Since Linux 5.15 (d152c682f03c) a disk belongs to its queue; rq_disk went in 5.17 (f3fa33acca9f). */
static __always_inline struct gendisk *disk_of(struct request *request)
{
	if (HAS_FIELD(struct request_queue, disk))
		return READ(request, q, disk);
	return READ((struct request___old *)request, rq_disk);
}

/* As `device_key` of controlplane/arc/kernel/keys.py has it. */
static __always_inline u64 key_of(struct gendisk *disk, u32 operation)
{
	u64 device = (u64)READ(disk, major) << 20 | READ(disk, first_minor);

	return device << 8 | operation;
}

/* The queue was once the first argument. */
static __always_inline u64 issued_request(void *ctx)
{
	if (HAS_TYPE(btf_trace_block_rq_issue))
		return ARGUMENT(ctx, 0);
	return ARGUMENT(ctx, 1);
}

/*
 * Whose it is by the books of the io controller, as far as that is on and of cgroup2: those hold for what
 * writeback and the block layer's own threads issue. Else whoever issues it now; so, too, without BTF, as
 * headers of late do not have struct blkcg_gq.
 */
static __always_inline u64 issuer_of(struct request *request)
{
	struct cgroup *cgroup = 0;

	if (HAS_FIELD(struct bio, bi_blkg) && HAS_FIELD(struct blkcg_gq, blkcg))
		cgroup = READ(request, bio, bi_blkg, blkcg, css.cgroup);
	if (cgroup && is_v2(cgroup) && id_of(cgroup) != ROOT)
		return id_of(cgroup);
	return cgroup_of(this_task());
}

HOOK1(block_rq_issue, void *, first)
{
	u64 at = issued_request(ctx);
	struct issue issue = {};

	if (!gate_of(SIGNAL_BLOCK_LATENCY) && !gate_of(SIGNAL_BLOCK_ERROR))
		return;
	issue.since = bpf_ktime_get_ns();
	issue.cgroup = issuer_of((struct request *)at);
	if (UPDATE(issued, &at, &issue))
		count_loss(COUNTER_LOST_STORAGE);
}

/* An entry goes with the request even when no gate is open: its address will be that of another. */
HOOK2(block_rq_complete, struct request *, request, int, error)
{
	u32 operation = READ(request, cmd_flags) & OPERATION;
	struct gendisk *disk = disk_of(request);
	u64 at = (u64)request;
	struct issue *kept = LOOKUP(issued, &at);
	u64 key, waited = 0, cgroup = 0;

	if (kept) {
		waited = bpf_ktime_get_ns() - kept->since;
		cgroup = kept->cgroup;
		DELETE(issued, &at);
	}
	if (operation >= PASSED_THROUGH || !disk)
		return;
	key = key_of(disk, operation);
	if (waited)
		value_keyed(ctx, SIGNAL_BLOCK_LATENCY, key, waited, cgroup, 0, 0);
	if (error)
		count_keyed(ctx, SIGNAL_BLOCK_ERROR, key, cgroup, 0);
}
