# The node's first process: what of the machine it does not see or cannot change. Its arguments: its folder, its address.
# In namespaces of its own for mounts, network and cgroups, with its own cgroup as the root of the last.
set -eu
folder=$1 address=$2

umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/init.scope
echo 0 >/sys/fs/cgroup/init.scope/cgroup.procs

mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/log
mount --bind "$folder/lib" /var/lib

# A kubelet sets these. It finds what it would set, and the machine keeps what it has.
set_for_kubelet() {
	echo "$2" >"$folder/$(basename "$1")"
	mount --bind "$folder/$(basename "$1")" "/proc/sys/$1"
}
set_for_kubelet vm/overcommit_memory 1
set_for_kubelet vm/panic_on_oom 0
set_for_kubelet kernel/panic 10
set_for_kubelet kernel/panic_on_oops 1
set_for_kubelet kernel/keys/root_maxkeys 1000000
set_for_kubelet kernel/keys/root_maxbytes 25000000

ip link set lo up
ip link add node0 type veth peer name node1
ip address add "$address/24" dev node0
ip link set node0 up
ip link set node1 up

echo ready
exec sleep infinity
