#!/bin/sh
# Process 1 of the guest once it has its root: what an init does, as far as tests need it, and then the tests, or a benchmark.
# The root is writable and in memory, so only what must be a file system of its own is mounted.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8
for each in /run /dev/shm; do
	mkdir -p "$each"
	mount -t tmpfs tmpfs "$each"
	chmod 1777 "$each"
done
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
sed 's/\([a-z]*\) */+\1 /g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
busybox ip link set lo up
mkdir -p "/lib/modules/$(uname -r)"
mount --bind "$VM_MODULES" "/lib/modules/$(uname -r)"
if [ "$VM_LOADER" = headers ]; then
	mkdir -p /usr/src
	mount --bind "$VM_HEADERS" /usr/src
	mount -t tmpfs tmpfs /sys/kernel/btf
fi
modprobe loop  # nothing else asks for it
cd "$VM_REPO" || exit
# Sizes of what a descriptor may be: the kernel's own limit for process 1 is low.
ulimit -n 20000
if [ -n "$VM_BENCH" ]; then
	.venv/bin/python -m tests.vm.measure /dev/ttyS1 "$VM_BENCH" "$VM_COUNT" "$VM_ONLY"
else
	.venv/bin/python -m tests.vm.guest /dev/ttyS1 "$VM_LOADER" "$VM_TESTS"
fi
busybox poweroff -f
