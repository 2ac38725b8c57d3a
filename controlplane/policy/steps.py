"""Steps of a ladder: what an act sets, from the keys beside it."""

from collections.abc import Iterator

from controlplane.link.amounts import BEST_EFFORT, IDLE, Amount
from controlplane.link.rules import Step
from controlplane.policy.model import StepSpec


def step_of(spec: StepSpec) -> Step:
    """As the arc executes it."""
    return Step(
        act=spec.act,
        after_ns=int(spec.after),
        for_ns=int(spec.for_ or 0),
        amounts=tuple(amounts_of(spec)),
    )


def amounts_of(spec: StepSpec) -> Iterator[Amount]:
    """In the order in which they are set."""
    if spec.cpu is not None:
        yield Amount("cpu", spec.cpu)
    if spec.io is not None:
        yield Amount("io", spec.io)
    if spec.nice is not None:
        yield Amount("nice", spec.nice)
    if spec.ionice is not None:
        yield Amount("ionice", IDLE if spec.ionice == "idle" else BEST_EFFORT + spec.ionice)
    if spec.oom_score_adj is not None:
        yield Amount("oom_score_adj", spec.oom_score_adj)
