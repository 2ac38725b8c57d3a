"""How many programs policies may have run in a window, of all policies together."""

from controlplane.arc.reflex.jobs import HOOKS_A_WINDOW, WINDOW_NS, Jobs
from controlplane.link.hooks import Hook
from controlplane.link.rules import NS, Step

HOOK = Step("hook", hook=Hook(("/bin/true",)))


def test_a_window_slides() -> None:
    jobs = Jobs()
    assert all(jobs.must_admit(HOOK, number * NS) for number in range(HOOKS_A_WINDOW))
    assert not jobs.must_admit(HOOK, WINDOW_NS - 1)
    assert jobs.must_admit(HOOK, WINDOW_NS), "the first has left it"
    assert not jobs.must_admit(HOOK, WINDOW_NS + NS - 1)
    assert jobs.must_admit(HOOK, WINDOW_NS + NS)


def test_other_acts_are_not_counted() -> None:
    jobs = Jobs()
    assert all(jobs.must_admit(Step("reclaim"), 0) for _ in range(2 * HOOKS_A_WINDOW))
    assert jobs.must_admit(HOOK, 0)
