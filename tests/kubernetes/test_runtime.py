"""What is changed of a container's description, and what is not."""

from typing import Any

from tests.kubernetes.runtime import adapted

UID = "0d5c3a3e-6f4e-4b6c-9a8e-1f2e3d4c5b6a"
ALL = (1 << 41) - 1
RESOURCE = 1 << 24


def spec(oom_score_adj: int, source: str = f"/var/lib/kubelet/pods/{UID}/etc-hosts") -> dict[str, Any]:
    return {
        "mounts": [{"source": "proc"}, {"source": source}],
        "process": {
            "oomScoreAdj": oom_score_adj,
            "capabilities": {"bounding": ["CAP_BPF", "CAP_SYS_RESOURCE"]},
            "rlimits": [],
        },
        "linux": {
            "cgroupsPath": "/abc",
            "resources": {"devices": [{"allow": False}], "memory": {"limit": 1}, "cpu": {"shares": 2}},
        },
    }


def test_limits_are_left_out_and_devices_are_not() -> None:
    assert adapted(spec(1000), ALL)["linux"]["resources"] == {"devices": [{"allow": False}]}


def test_a_container_is_put_where_the_kubelet_would_have_put_it() -> None:
    assert adapted(spec(1000), ALL)["linux"]["cgroupsPath"] == f"/kubepods/besteffort/pod{UID}/abc"
    assert adapted(spec(-997), ALL)["linux"]["cgroupsPath"] == f"/kubepods/burstable/pod{UID}/abc"
    assert adapted(spec(-998, "tmpfs"), ALL)["linux"]["cgroupsPath"] == "/abc"


def test_capabilities_are_kept_unless_the_machine_lacks_them() -> None:
    kept = adapted(spec(1000), ALL)["process"]["capabilities"]["bounding"]
    assert kept == ["CAP_BPF", "CAP_SYS_RESOURCE"]
    assert adapted(spec(1000), ALL & ~RESOURCE)["process"]["capabilities"]["bounding"] == ["CAP_BPF"]
