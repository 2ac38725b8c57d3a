#!/bin/sh
# In a machine from a public box, as root: `kernel.sh SUITE SERIES` installs the newest kernel of that series from that
# suite and removes all others, so that the next boot is with it. An empty SERIES is the newest of all.
set -eu
suite=$1 series=$2
export DEBIAN_FRONTEND=noninteractive
# From where the box has its own packages: its suites for security are elsewhere than the others.
mirrors=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages')
case $suite in
*-security) mirror=$(echo "$mirrors" | grep -m1 security) ;;
*) mirror=$(echo "$mirrors" | grep -m1 -v security) ;;
esac
echo "deb $mirror $suite main" >/etc/apt/sources.list.d/kernel.list
apt-get -qq update
apt-get -qq install --no-install-recommends python3-venv libbpf1 nftables rsync
package=$(apt-cache search --names-only "^linux-image-$series.*-cloud-amd64\$" | cut -d' ' -f1 | grep '[0-9]' | sort -V | tail -1)
apt-get -qq install --no-install-recommends "$package"
dpkg-query -W -f '${Package}\n' 'linux-image-[0-9]*' | grep -vx "$package" | xargs -r apt-get -qq purge
