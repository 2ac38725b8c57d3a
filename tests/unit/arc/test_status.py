"""What the arc answers when asked how it is fits into a frame, however much is in force."""

import msgspec

from controlplane.arc.reflex.holdings import Holdings
from controlplane.arc.status import IN_FORCE_BYTES, held, in_force
from controlplane.link.frames import PAGE
from tests.unit.arc.reflex.test_holdings import hold


def holdings(count: int, path: str) -> Holdings:
    made = Holdings()
    for number in range(count):
        span = hold(made, number)
        entry = made._by_span[span]
        intent = msgspec.structs.replace(entry.intent, path=path)
        made._by_span[span] = entry._replace(intent=intent)
    return made


def test_all_acts_are_counted_and_the_first_are_listed() -> None:
    made = holdings(PAGE + 50, "/short")
    assert held(made.all()) == {"reweigh": PAGE + 50}
    assert len(in_force(made.all())) == PAGE


def test_with_long_paths_fewer_are_listed() -> None:
    made = holdings(50, "/" + "x" * 4000)
    listed = in_force(made.all())
    assert 1 <= len(listed) < 50
    assert sum(len(act.path) for act in listed) <= IN_FORCE_BYTES
