#!/bin/sh
# In the machine, as root: what the daemon finds there, a storm, and the tests that are named, else those of the unit
# and those of the kernel for which machines differ most. All from the installed wheel: of the sources there are only tests.
set -eu
cd /vagrant
[ $# -gt 0 ] || set -- tests/systemd tests/kernel/test_attach.py tests/kernel/test_reflex.py tests/kernel/test_limits.py
python=/opt/reflexarc/bin/python
testing=$($python - <<'END'
import tomllib
extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]
print(*(each for each in extras["dev"] if each.startswith(("pytest", "hypothesis"))))
END
)
# shellcheck disable=SC2086  # several words
$python -m pip install -q --disable-pip-version-check $testing
export PYTHONDONTWRITEBYTECODE=1 REFLEXARC_WHEELS=/wheels
uname -r
reflexarc doctor || true
reflexarc status
$python -c 'from tests.demo.fork_storm import main; main(above=20, seconds=300)'
$python -m pytest -q --color=no -p no:cacheprovider --patience 6 --timeout 900 \
	-k 'not bcc and not perf and not libbpf and not clang' \
	"$@"
