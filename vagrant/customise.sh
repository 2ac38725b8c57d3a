#!/bin/sh
# The last step of the root at $1, run by mmdebstrap: the libraries in $WHEELS, and how the machine is reached.
# See tests/vm/root.py.
set -eu
root=$1
cp -r "$WHEELS" "$root/opt/wheels"
chroot "$root" python3 -m venv /opt/reflexarc
chroot "$root" sh -c '/opt/reflexarc/bin/pip install -q --no-index --no-deps /opt/wheels/*.whl'
rm -r "$root/opt/wheels"

chroot "$root" systemd-machine-id-setup
: >"$root/etc/fstab"
echo reflexarc >"$root/etc/hostname"
echo 127.0.0.1 localhost reflexarc >"$root/etc/hosts"
cat >"$root/etc/systemd/network/any.network" <<'END'
[Match]
Name=e*
[Network]
DHCP=ipv4
[DHCPv4]
ClientIdentifier=mac
END
chroot "$root" systemctl -q enable systemd-networkd

# A key of this root's own. RSA, as net-ssh 7.0 of Vagrant fails on ECDSA keys.
chroot "$root" useradd --create-home --shell /bin/bash --password '*' vagrant
chroot "$root" install -d -m 700 -o vagrant -g vagrant /home/vagrant/.ssh
chroot "$root" ssh-keygen -q -t rsa -b 2048 -m PEM -N '' -C vagrant -f /home/vagrant/.ssh/key
chroot "$root" install -m 600 -o vagrant -g vagrant /home/vagrant/.ssh/key.pub /home/vagrant/.ssh/authorized_keys
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/vagrant"
cat >"$root/etc/ssh/sshd_config.d/vagrant.conf" <<'END'
KexAlgorithms ecdh-sha2-nistp256,curve25519-sha256
UsePAM no
UseDNS no
END
