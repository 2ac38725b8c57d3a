"""`--fuzz SECONDS`: the tests of each file go on with new examples for so long, by equal shares.

Without it, each runs the same few.
"""

from time import monotonic

import pytest
from hypothesis import settings


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Repeats what passed until the time is over."""
    seconds: float = pyfuncitem.config.getoption("--fuzz")
    if not seconds:
        return (yield)
    beside = sum(item.path == pyfuncitem.path for item in pyfuncitem.session.items)
    end = monotonic() + seconds / beside
    given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    first = yield
    while monotonic() < end:
        pyfuncitem.obj(**given)
    return first


@pytest.fixture(autouse=True)
def _same_examples(request: pytest.FixtureRequest) -> None:
    """Chance belongs to the long form: what fails here fails everywhere."""
    if not request.config.getoption("--fuzz"):
        inner = request.function
        inner._hypothesis_internal_use_settings = settings(
            inner._hypothesis_internal_use_settings, derandomize=True
        )
