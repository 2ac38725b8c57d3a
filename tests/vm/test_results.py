"""What a guest told is added up, and what it did not tell is noticed."""

import msgspec
import pytest

from tests.vm.results import End, Host, Outcome, Ran, Results, SensorFound, Told, results_of
from tests.vm.table import table

HOST = Host("6.1.0-1-cloud-amd64", ("cpu", "memory"), {"BTF": True, "PSI": False})
GOOD = Ran("tests/kernel/test_a.py::test_b", "passed", 1.5)


def results(*told: Told, error: str = "") -> Results:
    return results_of("6.1", [msgspec.json.encode(each) + b"\n" for each in told], 10, error)


def test_a_run_is_good_when_it_ends_and_nothing_failed() -> None:
    run = results(HOST, SensorFound("cpu", "", ("cpu.runq_delay",)), GOOD, End(9))
    assert run.good
    assert (run.host, run.count("passed")) == (HOST, 1)


@pytest.mark.parametrize(
    "told",
    [[HOST, GOOD], [HOST, End(9)], [HOST, GOOD, Ran("t", "failed", 1), End(9)]],
    ids=["no end", "no test", "a failed test"],
)
def test_otherwise_it_is_not(told: list[Told]) -> None:
    assert not results(*told).good


def test_why_a_machine_failed_is_kept() -> None:
    assert results(HOST, GOOD, End(9), error="still running").error == "still running"


def test_the_page_says_what_feels_where_and_what_was_tested() -> None:
    def run(reason: str, outcome: Outcome, text: str) -> Results:
        return results(
            HOST, SensorFound("cpu", reason, ()), GOOD, Ran("a/test_a.py::c", outcome, 1, text), End(9)
        )

    page = table([run("", "failed", "boom"), run("no such hook", "skipped", "no loop devices")], [])
    assert "| cpu | feels | disabled |" in page
    assert "- 6.1.0-1, cpu: no such hook" in page
    assert "| `test_a.py` | 1 of 2 | 1 of 1 |" in page
    assert "- no loop devices (6.1.0-1)" in page
    assert "| BTF | yes | yes |\n| PSI | no | no |" in page


def test_bcc_has_a_section_where_it_was_run() -> None:
    run = results(HOST, SensorFound("cpu", "", ()), GOOD, End(9))
    assert "through bcc" not in table([run], [])
    assert table([run], [run]).count("| cpu | feels |") == 2
    assert table([run], [run], [run]).count("through bcc, by headers") == 1
