"""docs/kernels.md from the results of the runs: which sensor feels where, and what was tested. Pure."""

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Final

from tests.vm.results import Ran, Results

HEAD: Final = """\
<!-- Written by `make kernels` from the last runs of `make vm`; do not edit. -->

# Kernels

Every kernel of [vagrant/kernels.yaml](../vagrant/kernels.yaml) is booted in an emulated machine with
cgroup2 alone and pressure stall information. There the daemon meets a fork storm, and the kernel tests run.
"""
FEEL: Final = "feels"


def table(core: Sequence[Results], bcc: Sequence[Results], headers: Sequence[Results] = ()) -> str:
    """The whole page: of each loader one column for each run."""
    columns = [_column(run) for run in core]
    sections = [
        HEAD,
        "## What each kernel offers\n",
        _grid("", columns, _offers(core)),
        "\n## Sensors\n",
        *_found(core),
    ]
    if bcc:
        sections += ["\n## Sensors through bcc\n", *_found(bcc)]
    if headers:
        sections += ["\n## Sensors through bcc, by headers instead of BTF\n", *_found(headers)]
    return "\n".join(sections) + "\n"


def _column(run: Results) -> str:
    return run.host.release.removesuffix("-cloud-amd64") if run.host else run.kernel


def _found(runs: Sequence[Results]) -> Iterator[str]:
    columns = [_column(run) for run in runs]
    yield _grid("sensor", columns, _sensors(runs))
    yield from _notes(runs, columns)
    yield "\nTests passed of those run:\n"
    yield _grid("file", columns, _tests(runs))
    yield from _skips(runs, columns)


def _grid(corner: str, columns: Sequence[str], rows: Iterator[tuple[str, list[str]]]) -> str:
    lines = [f"| {corner} | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|"]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    return "\n".join(lines)


def _offers(runs: Sequence[Results]) -> Iterator[tuple[str, list[str]]]:
    hosts = [run.host for run in runs if run.host]
    for name in hosts[0].offers if hosts else ():
        yield name, ["yes" if run.host and run.host.offers[name] else "no" for run in runs]
    yield "controllers", [" ".join(run.host.controllers) if run.host else "" for run in runs]


def _sensors(runs: Sequence[Results]) -> Iterator[tuple[str, list[str]]]:
    for name in dict.fromkeys(sensor.name for run in runs for sensor in run.sensors):
        reasons = [{sensor.name: sensor.reason for sensor in run.sensors}.get(name) for run in runs]
        yield name, [FEEL if reason == "" else "disabled" if reason else "not run" for reason in reasons]


def _notes(runs: Sequence[Results], columns: Sequence[str]) -> Iterator[str]:
    found = [
        f"- {column}, {sensor.name}: {sensor.reason}"
        for run, column in zip(runs, columns, strict=True)
        for sensor in run.sensors
        if sensor.reason
    ]
    if found:
        yield "\nWhy a sensor is disabled:\n"
        yield "\n".join(found)


def _tests(runs: Sequence[Results]) -> Iterator[tuple[str, list[str]]]:
    for file in dict.fromkeys(_file(test) for run in runs for test in run.tests):
        yield f"`{file}`", [_share([test for test in run.tests if _file(test) == file]) for run in runs]


def _file(test: Ran) -> str:
    return PurePath(test.name.partition("::")[0]).name


def _share(tests: Sequence[Ran]) -> str:
    run = [test for test in tests if test.outcome != "skipped"]
    return f"{sum(test.outcome == 'passed' for test in run)} of {len(run)}" if tests else "not run"


def _skips(runs: Sequence[Results], columns: Sequence[str]) -> Iterator[str]:
    where: dict[str, dict[str, None]] = {}
    for run, column in zip(runs, columns, strict=True):
        for test in run.tests:
            if test.outcome == "skipped":
                where.setdefault(test.text, {})[column] = None
    if where:
        yield "\nSkipped:\n"
        yield "\n".join(f"- {reason} ({', '.join(found)})" for reason, found in where.items())
