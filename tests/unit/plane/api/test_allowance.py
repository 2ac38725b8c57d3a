"""Shares of callers: of calls under way, and of changes as time goes by."""

from controlplane.plane.api.allowance import AT_ONCE, BURST, PER_S, Allowance


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def changes(allowance: Allowance, identity: str, wanted: int) -> int:
    return sum(not allowance.exceeded(identity, changes=True) for _ in range(wanted))


def test_calls_under_way_are_each_callers_own() -> None:
    allowance = Allowance()
    for _ in range(AT_ONCE):
        assert not allowance.exceeded("one", changes=False)
        allowance.begin("one")
    assert allowance.exceeded("one", changes=False) == "you have 100 calls under way"
    assert not allowance.exceeded("other", changes=False)
    allowance.end("one")
    assert not allowance.exceeded("one", changes=False)


def test_changes_are_as_many_as_the_journal_bears() -> None:
    clock = Clock()
    allowance = Allowance(clock)
    assert changes(allowance, "one", 2 * BURST) == BURST
    assert changes(allowance, "other", 2 * BURST) == BURST
    assert "try again in a second" in allowance.exceeded("one", changes=True)
    assert not allowance.exceeded("one", changes=False)
    clock.now += 1
    assert changes(allowance, "one", 2 * BURST) == PER_S
    clock.now += 1_000
    assert changes(allowance, "one", 2 * BURST) == BURST
