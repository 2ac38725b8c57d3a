# reflexarc as an image: interpreter, libraries, BPF objects and certificates; no shell, no package manager.
# `make image` builds it; docs/operations.md says how it is run and what is in it.

ARG BASE=docker.io/library/debian:trixie-slim
ARG RUNTIME=scratch
ARG VARIANT=core

# What compiles, and where the interpreter and its native libraries are taken from.
FROM ${BASE} AS tools
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
      binutils bpftool ca-certificates clang libbpf-dev libbpf1 libc6-dev patchelf \
      python3 python3-cryptography python3-pip python3-setuptools \
 && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1

# Wheels of others, each of the content that was locked. A proxy's certificate may be given as a secret.
FROM tools AS libraries
COPY deploy/image/requirements.txt /build/
RUN --mount=type=secret,id=ca,target=/run/secrets/ca,required=false \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    pip install -q --no-deps --no-compile --require-hashes --only-binary :all: \
      --target /libraries -r /build/requirements.txt

# With bcc, for hosts without BTF and for users' own sensors, or without.
FROM libraries AS libraries-core
FROM libraries AS libraries-bcc
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends python3-bpfcc \
 && rm -rf /var/lib/apt/lists/*

# Ours, with the BPF objects compiled on the way.
FROM tools AS wheel
COPY pyproject.toml setup.py README.md LICENSE /build/
COPY bpf /build/bpf
COPY controlplane /build/controlplane
RUN cd /build && pip wheel -q --no-deps --no-build-isolation --wheel-dir /wheel .

FROM libraries-${VARIANT} AS assembled
ARG SOURCE_DATE_EPOCH=0
ARG VARIANT
COPY --from=wheel /wheel /wheel
COPY deploy/image/*.py /build/
RUN pip install -q --no-deps --no-compile --target /libraries /wheel/*.whl \
 && python3 /build/assemble.py --variant ${VARIANT} /libraries /image

FROM ${RUNTIME}
COPY --from=assembled /image /
LABEL org.opencontainers.image.title="reflexarc" \
      org.opencontainers.image.description="A node's reflex arc for Linux" \
      org.opencontainers.image.licenses="Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)"
ENV PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8 CRYPTOGRAPHY_OPENSSL_NO_LEGACY=1
VOLUME ["/run/reflexarc", "/var/lib/reflexarc"]
ENTRYPOINT ["/usr/bin/reflexarc"]
CMD ["run"]
