"""How large a perf ring buffer is made."""

import mmap

import pytest

from controlplane.arc.kernel.perf_ring import MIN_PAGES, pages_for


@pytest.mark.parametrize(
    ("ring_bytes", "cpus", "pages"),
    [
        pytest.param(256 * mmap.PAGESIZE, 2, 128, id="shared-out"),
        pytest.param(256 * mmap.PAGESIZE, 3, 64, id="a-power-of-two"),
        pytest.param(256 * mmap.PAGESIZE, 512, MIN_PAGES, id="many-cpus"),
        pytest.param(mmap.PAGESIZE, 1, MIN_PAGES, id="tiny"),
    ],
)
def test_pages(ring_bytes: int, cpus: int, pages: int) -> None:
    assert pages_for(ring_bytes, cpus) == pages
