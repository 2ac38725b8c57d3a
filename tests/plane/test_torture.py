"""The short form of the benchmark `torture`."""

import asyncio
from random import Random

from tests.plane.torture import torture


def test_all_arrives_in_order_whatever_breaks() -> None:
    done = asyncio.run(asyncio.wait_for(torture(4_000, 4, Random(7)), 55))
    assert done.distinct == done.written == 4_000
    assert done.out_of_order == 0
    assert done.dead_letters == done.poisoned > 0
    assert sum(done.faults.values()) > 3
