#!/bin/sh
# Process 1 of a guest with a root of its own (tests/vm/root.py), until systemd is. The tests are one more unit of it.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
modules=/lib/modules/$(uname -r)
mkdir -p "$modules"
mount --bind "$VM_MODULES" "$modules"
ln -sf /dev/null /etc/systemd/system/systemd-udev-trigger.service  # slow, and nothing is waited for
cat >/etc/systemd/system/trial.service <<END
[Unit]
Requires=basic.target
After=basic.target
SuccessAction=poweroff-immediate
FailureAction=poweroff-immediate
[Service]
Type=oneshot
WorkingDirectory=$VM_REPO
Environment=HOME=/root LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 REFLEXARC_WHEELS=$VM_WHEELS
ExecStart=/opt/reflexarc/bin/python -m tests.systemd.guest /dev/ttyS1 $VM_TESTS
StandardOutput=journal+console
StandardError=journal+console
TimeoutStartSec=infinity
END
exec /lib/systemd/systemd --unit=trial.service
