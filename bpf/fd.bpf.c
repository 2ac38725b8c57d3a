// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * fd: system calls that failed because something has run out: descriptors, space on a disk, processes.
 * Runs at the end of every system call of the node, so the result is looked at before anything else.
 */
#include "dialect.h"

/* include/uapi/asm-generic/errno-base.h */
#define NO_MORE_NOW (-11)	   /* EAGAIN */
#define NODE_HAS_NO_FILES (-23)	   /* ENFILE */
#define PROCESS_HAS_NO_FILES (-24) /* EMFILE */
#define NO_SPACE (-28)		   /* ENOSPC */

HOOK2(sys_exit, struct pt_regs *, regs, long, result)
{
	if (result > NO_MORE_NOW || result < NO_SPACE)
		return;
	if (result == NO_SPACE)
		count_signal(ctx, SIGNAL_DISK_FULL, this_task());
	else if (result == PROCESS_HAS_NO_FILES || result == NODE_HAS_NO_FILES)
		count_signal(ctx, SIGNAL_FD_EXHAUSTED, this_task());
	else if (result == NO_MORE_NOW && MAKES_A_TASK(SYSCALL_OF(regs)))
		count_signal(ctx, SIGNAL_PROCESS_FORK_REFUSED, this_task());
}
