"""Parts of benchmarks that fail late when they fail: settings, and who is measured. It measures nothing."""

from pathlib import Path

import pytest

from controlplane.link.rules import Rate
from tests.bench.contestants import SLOWER, rule
from tests.bench.daemon import config
from tests.bench.peers import chosen
from tests.bench.testbed import CannotMeasureError


def test_a_daemon_takes_the_settings_it_is_measured_with(tmp_path: Path) -> None:
    assert config(tmp_path).breaker_acts / config(tmp_path).breaker_window_s >= 1000


def test_contestants_come_in_the_order_in_which_they_are_named() -> None:
    assert list(chosen(("nobody", "reflexarc.quick"))) == ["nobody", "reflexarc.quick"]
    assert {"reflexarc", "earlyoom", "nohang", "oomd", "systemd-oomd"} <= chosen(()).keys()


def test_an_unknown_contestant_is_refused_with_those_there_are() -> None:
    with pytest.raises(CannotMeasureError, match=r"no contestant oom; there are: reflexarc, .*nobody$"):
        chosen(("nobody", "oom"))


@pytest.mark.parametrize("name", SLOWER)
def test_a_quick_policy_is_the_default_one_looked_at_for_less_time(name: str) -> None:
    usual, quick = (rule(name, Path("/slice"), quick=quick) for quick in (False, True))
    assert isinstance(usual.test, Rate)
    assert isinstance(quick.test, Rate)
    assert quick.test.interval_ns == usual.test.interval_ns
    assert quick.test.burst < usual.test.burst
    assert quick.ladder == usual.ladder
    assert quick.scope.cgroups == ("/slice/**",)
