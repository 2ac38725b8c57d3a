"""What is committed as generated is what the .proto files generate."""

import itertools
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
GENERATED = ROOT / "controlplane" / "wire"


def test_committed_code_is_what_the_protos_generate(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "protos" / "generate.py", tmp_path], check=True)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_text() for path in GENERATED.glob("*_pb2.py*")}
    assert written == committed
    assert "management_pb2.pyi" in written


def test_every_message_and_field_of_the_protos_says_what_it_is() -> None:
    bare = []
    for path in sorted((ROOT / "protos" / "reflexarc" / "v1").glob("*.proto")):
        lines = [line.strip() for line in path.read_text().splitlines()]
        for before, line in itertools.pairwise(lines):
            declares = line.startswith(("message ", "enum ", "rpc ", "service ", "oneof ")) or (
                " = " in line and not line.startswith(("option ", "//", "syntax"))
            )
            if declares and not before.startswith("//"):
                bare.append(f"{path.name}: {line}")
    assert bare == []
