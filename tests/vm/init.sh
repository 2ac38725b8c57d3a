#!/bin/busybox sh
# First program of the guest, in its initramfs. The host's root, read-only, under a writable layer in memory
# becomes the root, or the folder $VM_ROOT of it, which then has the repository, too. Then $VM_BOOT of the repository
# at $VM_REPO takes over. All three are on the kernel's command line.
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
mount -t overlay -o lowerdir="/host$VM_ROOT",upperdir=/layer/upper,workdir=/layer/work overlay /root
if [ -n "$VM_ROOT" ]; then
	mkdir -p "/root$VM_REPO"
	mount --bind "/host$VM_REPO" "/root$VM_REPO"
fi
for each in dev proc sys; do
	mount --move "/$each" "/root/$each"
done
exec switch_root /root /bin/sh "$VM_REPO/$VM_BOOT"
