#!/bin/busybox sh
# First program of the guest, in its initramfs. The host's root, read-only, under a writable layer in memory
# becomes the root; then guest.sh of the repository at $VM_REPO (from the kernel's command line) takes over.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
	insmod "/modules/$module"
done </modules/order
mount -t virtiofs -o ro host /host
mount -t tmpfs tmpfs /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work overlay /root
for each in dev proc sys; do
	mount --move "/$each" "/root/$each"
done
exec switch_root /root /bin/sh "$VM_REPO/tests/vm/guest.sh"
