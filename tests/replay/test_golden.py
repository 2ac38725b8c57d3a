"""Recordings and what policies find in them, kept beside them: `NAME.csv`, `NAME.yaml`, `NAME.jsonl`."""

import json
from pathlib import Path

import pytest

from controlplane.cli.exits import Exit
from controlplane.cli.main import main

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", sorted(path.stem for path in HERE.glob("*.csv")))
def test_findings_are_those_that_were_kept(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--csv", str(HERE / f"{name}.csv"), "--policy", str(HERE / f"{name}.yaml"), "--json"]
    assert main(["replay", *words]) == Exit.DONE
    out, err = capsys.readouterr()
    found = [json.loads(line) for line in out.splitlines()]
    kept = [json.loads(line) for line in (HERE / f"{name}.jsonl").read_text().splitlines()]
    assert [(one["time"], one["key"], one["policy"]) for one in found] == [
        (one["time"], one["key"], one["policy"]) for one in kept
    ]
    for one, other in zip(found, kept, strict=True):
        assert one == pytest.approx(other)
    assert err == ""
