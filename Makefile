# Everything a person or CI calls. `make` lists the targets; `setup` is what the others call first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.ONESHELL:

# Complete, because sudo and CI bring a PATH of their own: bpftool is in sbin, Prometheus in .tools.
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/.tools/usr/bin:$(CURDIR)/.tools/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

PYTHON ?= /usr/bin/python3
NAME ?=
KERNEL ?=
BOX ?=
LOADER ?= core
SECONDS ?= 60
VARIANT ?= core
TWICE ?=
MACHINE ?= $(shell uname -m)
# Of these the image has Debian's build, which shares one OpenSSL with the interpreter.
DEBIANS := cryptography cffi pycparser
OBJECTS := controlplane/arc/kernel/objects

# First line: to build and run. Second: for tests and benchmarks (gcc compiles the C peers).
PACKAGES := clang bpftool libbpf-dev libc6-dev python3-bpfcc python3-venv \
	clang-format gcc iproute2 nftables strace stress-ng

# For `make vm` alone: the machines, and what their kernels are unpacked with and start with.
VM_PACKAGES := qemu-system-x86 busybox-static kmod lz4 zstd

# For `make unit`, besides: the root of its machine.
UNIT_PACKAGES := $(VM_PACKAGES) mmdebstrap

# For `make vagrant`, besides: a box of our own, and libvirt without the service that Debian would start.
VAGRANT_PACKAGES := $(UNIT_PACKAGES) vagrant vagrant-libvirt libvirt-daemon libvirt-daemon-driver-qemu \
	libvirt-clients dnsmasq-base iptables openssh-client qemu-utils rsync

# For `make image` alone.
IMAGE_PACKAGES := buildah crun runc podman fuse-overlayfs mmdebstrap uidmap zstd

# For `make k8s` alone, besides those for the image; what is built on the way is kept in .kubernetes.
K8S_PACKAGES := busybox-static dpkg-dev make openssl

# For an image of another machine, whose programs are emulated meanwhile.
ifneq ($(MACHINE),$(shell uname -m))
IMAGE_PACKAGES += qemu-user-static
FOREIGN := $(PYTHON) deploy/image/foreign.py $(MACHINE) build/image/store-$(MACHINE)
endif

# .venv is right if this file exists: its name says for which declarations (what
# pyproject.toml has before the linters), folder and interpreter.
KEY = { sed '/^\[tool.ruff\]/Q' pyproject.toml; cat setup.py; echo '$(CURDIR)'; readlink -f '$(PYTHON)'; } | sha256sum | cut -c1-16
READY := .venv/.ready-$(shell $(KEY))

.PHONY: help setup run test fuzz demo lint format bench vm unit vagrant image k8s audit lock kernels table proto events clean packages objects tools

help:
	@sed -n 's/^\([a-z0-9]*\):.*## /  make \1|/p' Makefile | column -t -s'|'

setup: packages $(READY) objects ## install what is missing and build the BPF objects; quick when nothing changed

run: setup ## start the daemon in observe mode and show live what it feels (root)
	@log=$$(mktemp) code=0
	trap 'rm -f "$$log"' EXIT
	trap : INT HUP  # the view takes these, and its end is the end of everything
	trap 'kill -INT $$view' TERM
	setsid .venv/bin/reflexarc run >"$$log" 2>&1 & daemon=$$!
	env --default-signal .venv/bin/reflexarc top --wait <&0 & view=$$!
	wait -n $$daemon $$view || true
	kill -0 $$daemon 2>/dev/null || kill -INT $$view 2>/dev/null || true
	wait $$view || code=$$?
	kill -TERM $$daemon 2>/dev/null || true
	wait $$daemon || { code=$$?; cat "$$log" >&2; }
	exit $$code

test: setup tools ## all tests that can run here; as root also those on the kernel
	@.venv/bin/python -m pytest

fuzz: setup ## new bytes for frames, journals, policies and requests, a minute for each; SECONDS=600 for more
	@.venv/bin/python -m pytest -q --timeout 0 --fuzz $(SECONDS) tests/fuzz

demo: setup ## a fork storm in a cgroup of its own: felt, frozen, killed, told in microseconds (root)
	@.venv/bin/python -m tests.demo.fork_storm

lint: setup ## the linters alone
	@.venv/bin/python -m pytest -q tests/unit/test_linters.py

format: setup ## rewrite Python and C as the linters want it
	@ruff check --fix-only --quiet .
	ruff format --quiet .
	git ls-files -z '*.c' '*.h' | xargs -0 -r clang-format -i

bench: setup ## measure beside a peer in the same run; NAME=latency for one of them (root)
	@.venv/bin/python -m tests.bench $(NAME)

vm: setup ## the kernel tests on other kernels, in emulated machines; KERNEL=6.1 for one, LOADER=bcc or headers (root)
	@$(MAKE) packages PACKAGES='$(VM_PACKAGES)'
	.venv/bin/python -m tests.vm --loader $(LOADER) $(KERNEL)

unit: setup ## the systemd unit under a real systemd, in an emulated machine; KERNEL=6.12 for another kernel (root)
	@$(MAKE) packages PACKAGES='$(UNIT_PACKAGES)'
	.venv/bin/python -m tests.vm --init systemd $(or $(KERNEL),6.12)

vagrant: setup ## a Vagrant machine from nothing to nothing, tried in between; KERNEL=6.1, BOX=local without network (root)
	@$(MAKE) packages PACKAGES='$(VAGRANT_PACKAGES)'
	.venv/bin/python -m tests.vm.wheels
	for kernel in $(or $(KERNEL),6.1); do
		[[ '$(BOX)' != local ]] || vagrant/build-box $$kernel
		private=; virsh -q -c qemu:///system uri >/dev/null 2>&1 || private=vagrant/private-libvirt
		env $(BOX:%=REFLEXARC_BOX=%) $$private vagrant/run $$kernel
	done

image: ## build the container image with buildah; VARIANT=bcc, TWICE=1 (root)
	@$(MAKE) packages PACKAGES='$(IMAGE_PACKAGES)'
	$(FOREIGN) $(PYTHON) deploy/image/make.py --machine $(MACHINE) --variant $(VARIANT) $(if $(TWICE),--twice)

audit: $(READY) ## look for known holes in what the image holds from PyPI
	@pip install -qq --disable-pip-version-check pip-audit
	pip-audit --strict --disable-pip --require-hashes -r deploy/image/requirements.txt

k8s: setup ## the manifests on a cluster of one node, built of Debian's parts: half an hour once, then minutes (root)
	@$(MAKE) packages PACKAGES='$(K8S_PACKAGES)'
	$(MAKE) image
	.venv/bin/python -m tests.kubernetes.parts
	.venv/bin/python -m pytest --kubernetes tests/kubernetes

lock: $(READY) ## pin what the image holds from PyPI, by hash
	@pip install -qq --disable-pip-version-check uv
	uv pip compile -q pyproject.toml --upgrade --generate-hashes --no-header --no-annotate \
		--python-version 3.13 --python-platform linux $(addprefix --no-emit-package ,$(DEBIANS)) \
		-o deploy/image/requirements.txt

kernels: $(READY) ## write docs/kernels.md from what `make vm` found
	@.venv/bin/python -m tests.vm --table

table: $(READY) ## write docs/mapping-table.md from the default policies
	@.venv/bin/python -m controlplane.policy.table >docs/mapping-table.md.new
	mv docs/mapping-table.md.new docs/mapping-table.md

events: setup ## write the Python side of bpf/events.h, and docs/events.md
	@target=controlplane/arc/kernel/events.py
	python bpf/generate.py $(OBJECTS)/contract.bpf.o >$$target.new
	mv $$target.new $$target
	ruff format --quiet $$target
	python -m controlplane.plane.telemetry.events_page >docs/events.md.new
	mv docs/events.md.new docs/events.md

proto: setup ## write controlplane/wire from protos/
	@python protos/generate.py

clean: ## remove everything that is built, .venv included
	@rm -rf .venv .tools .kernels .kubernetes build dist *.egg-info $(OBJECTS) tests/bench/bin
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

packages:
	@installed=$$(dpkg-query -W -f '$${Package} $${db:Status-Abbrev}\n' 2>/dev/null | awk '$$2 == "ii" { print $$1 }' || true)
	missing=$$(comm -13 <(sort -u <<<"$$installed") <(tr ' ' '\n' <<<'$(strip $(PACKAGES))' | sort -u) | xargs)
	[[ -n $$missing ]] || exit 0
	if ! command -v apt-get >/dev/null; then
		echo "  note    no apt here; these Debian packages, or their like, are needed: $$missing"
	elif [[ $$EUID != 0 ]]; then
		echo "these packages are missing: $$missing"; echo "run: sudo make setup"; exit 1
	else
		echo "  apt     $$missing"
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $$missing >/dev/null
	fi

# Kept when only declarations changed; made anew when the folder or the interpreter is another.
$(READY):
	@if ! [[ $$(readlink -f .venv/bin/python) == "$$(readlink -f $(PYTHON))" ]] ||
		! grep -qsF '#!$(CURDIR)/.venv/' .venv/bin/pip; then
		echo "  venv    .venv"
		$(PYTHON) -m venv --clear .venv
	fi
	echo "  pip     reflexarc[cli,dev]"
	.venv/bin/python -m pip install -qq --disable-pip-version-check -e '.[cli,dev]'
	rm -f .venv/.ready-*
	touch .venv/.ready-$$($(KEY))  # not $@: on a new machine the interpreter has only just been installed

objects: packages $(READY)
	@.venv/bin/python bpf/build.py $(OBJECTS)

# Debian's packages would start and enable services. Tests need the binaries alone, so they are only unpacked.
tools: packages
	@missing=
	for tool in prometheus nginx; do command -v $$tool >/dev/null || missing+=" $$tool"; done
	[[ -n $$missing ]] || exit 0
	if [[ $$EUID != 0 ]] || ! command -v apt-get >/dev/null; then
		echo "  note    not here, so the tests against it are skipped:$$missing"; exit 0
	fi
	echo "  unpack $$missing"
	mkdir -p .tools && cd .tools
	fetch() { apt-get -qq -o APT::Sandbox::User=root download $$missing; }
	fetch 2>/dev/null || { apt-get update -qq; fetch; }
	for package in *.deb; do dpkg-deb -x "$$package" .; rm "$$package"; done
