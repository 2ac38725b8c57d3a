"""What is read off the sources before bcc sees them."""

from controlplane.arc.kernel.loader import SHARED, SOURCES
from controlplane.arc.kernel.sensors import NAMES
from controlplane.compiler.headers import map_names


def test_maps_are_found_once_and_in_order() -> None:
    text = (
        "MAP_HASH(one, u64,\n\tu64, 1);\nTASK_MAP(two, u64);\n#define MAP_X(n)\n\tMAP_ARRAY(inner, u64, 1)\n"
    )
    assert map_names("RING(events, 4096);\n", text, text) == ["events", "one", "two"]


def test_every_shared_map_is_one_of_the_dialects_own() -> None:
    assert set(SHARED) < set(map_names((SOURCES / "streams.h").read_text()))


def test_no_sensor_takes_a_name_of_the_dialects_own() -> None:
    shared = set(map_names((SOURCES / "streams.h").read_text()))
    for name in NAMES:
        assert not shared.intersection(map_names((SOURCES / f"{name}.bpf.c").read_text()))
