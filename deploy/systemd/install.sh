#!/bin/sh
# Installs the daemon on a host with systemd, or puts another version in its place: `install.sh WHEEL`, as root.
# It needs python3-venv and libbpf1. What runs is restarted, what does not run is not started: docs/operations.md.
set -eu
wheel=$(realpath "$1")
cd "$(dirname "$0")"
home=/opt/reflexarc
[ -x "$home/bin/python" ] || python3 -m venv "$home"
"$home/bin/python" -m pip install -q --disable-pip-version-check "$wheel[cli]"
ln -sf "$home/bin/reflexarc" /usr/bin/reflexarc
install -m 644 reflexarc.service /etc/systemd/system/reflexarc.service
install -D -m 644 reflexarc.sysusers /etc/sysusers.d/reflexarc.conf
install -D -m 644 reflexarc.tmpfiles /etc/tmpfiles.d/reflexarc.conf
systemd-sysusers /etc/sysusers.d/reflexarc.conf
systemd-tmpfiles --create /etc/tmpfiles.d/reflexarc.conf
systemctl daemon-reload
systemctl try-restart reflexarc
