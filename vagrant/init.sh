#!/bin/busybox sh
# First program of a machine from the local box, in its initramfs: the disk becomes the root, and systemd takes over.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
	insmod "/modules/$module"
done </modules/order
mount -t ext4 /dev/vda /root
for each in dev proc sys; do
	mount --move "/$each" "/root/$each"
done
exec switch_root /root /sbin/init
