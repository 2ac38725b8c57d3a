#!/bin/sh
# In the machine, as root: the daemon is installed as docs/operations.md says, and started.
set -eu
for wheel in /wheels/reflexarc-*.whl; do
	case $wheel in *.post*) ;; *) /vagrant/deploy/systemd/install.sh "$wheel" ;; esac
done
systemctl enable --now reflexarc
