"""`reflexarc record`: what it refuses before it loads anything."""

import pytest

from controlplane.cli.exits import Exit
from controlplane.cli.main import main


def test_an_unknown_signal_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--signal", "process.fourk", "--out", "-"]) == Exit.USAGE
    assert "process.fork" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "written", "said"),
    [("--for", "10", "is not a duration"), ("--max-bytes", "many", "is not a size")],
)
def test_quantities_have_units(
    option: str, written: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["record", "--signal", "process.fork", "--out", "-", option, written])
    assert ended.value.code == Exit.USAGE
    assert said in capsys.readouterr().err
