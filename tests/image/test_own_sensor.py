"""The image with a compiler: a user's own sensor, put beside it, is compiled and felt with."""

import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.image.conftest import Image
from tests.image.running import PRIVILEGED, container
from tests.kernel.conftest import TestCgroup, await_until

EXAMPLE: Final = Path(__file__).resolve().parents[2] / "bpf/examples/sensors.d"
POLICY: Final = """
apiVersion: reflexarc/v1
kind: Policy
metadata: {{name: image-fsync}}
spec:
  signal: fs.fsync_time
  scope: {{cgroups: ["{path}"]}}
  test: {{kind: threshold, above: 1ns}}
  ladder: [{{act: observe}}]
"""


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("watchdog")
def test_a_users_sensor_is_compiled_and_felt_with(
    bcc_image: Image, cgroup: TestCgroup, tmp_path: Path
) -> None:
    with container() as made:
        shutil.copytree(EXAMPLE, made.folder / "sensors.d", dirs_exist_ok=True)
        (made.folder / "policies.d/fsync.yaml").write_text(POLICY.format(path=cgroup.path))
        with made.running(bcc_image, *PRIVILEGED) as client:
            (own,) = (sensor for sensor in client.sensors() if sensor.name == "fsync")
            assert own.attached, own.reason
            data = tmp_path / "data"
            cgroup.run("dd", "if=/dev/zero", f"of={data}", "bs=4k", "count=4", "conv=fsync", "status=none")
            await_until(
                lambda: any(
                    stream.signal == "fs.fsync_time" and stream.of.cgroup == cgroup.id
                    for stream in client.streams()
                ),
                20,
            )
        assert made.code == 0, made.said
