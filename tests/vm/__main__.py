"""`python -m tests.vm [KERNEL...]`: run the tests on these kernels, or all; `--table` writes docs/kernels.md.

`--bench NAME` runs that benchmark there instead, `--init systemd` the tests of the unit, in a root of its
own. Each run leaves build/vm/<kernel>-<loader, benchmark or init>.json (what came of it) and .console (what
the guest printed).
"""

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tests.bench.__main__ import names
from tests.bench.contestants import PACKAGES
from tests.bench.packages import unpack
from tests.bench.testbed import compile_all
from tests.vm import root, wheels
from tests.vm.image import ImageError, unpacked_once
from tests.vm.initramfs import write_initramfs
from tests.vm.kernels import ROOT, STORE, Kernel, KernelError, chosen, fetched, listed
from tests.vm.machine import Machine, MachineError
from tests.vm.results import Ran, Results, results_of
from tests.vm.table import table

OUT: Final = ROOT / "build/vm"
PAGE: Final = ROOT / "docs/kernels.md"
SECONDS: Final = 2400
LOADERS: Final = ("core", "bcc", "headers")
KERNEL_TESTS: Final = "tests/kernel"
UNIT_TESTS: Final = "tests/systemd"
TESTS_HELP: Final = (
    f"what pytest runs there, separated by commas; {KERNEL_TESTS}, or {UNIT_TESTS} under systemd"
)
HELP: Final = "headers: bcc without BTF, by the kernel's headers"


class Work(NamedTuple):
    """What the guest is to do."""

    loader: str
    tests: str
    bench: str
    rounds: int
    memory: str
    only: str
    init: str = ""

    @property
    def name(self) -> str:
        """Of its results."""
        return self.bench or self.init or self.loader


def prepared(kernel: Kernel, work: Work) -> Machine:
    """Fetch the kernel and make what it boots from."""
    unpacked = fetched(kernel)
    folder = STORE / unpacked.release
    initramfs = folder / "initramfs"
    vmlinux = unpacked_once(unpacked.image, folder / "vmlinux")
    write_initramfs(unpacked.modules, initramfs)
    console, results = (OUT / f"{kernel.name}-{work.name}.{kind}" for kind in ("console", "lines"))
    for path in (console, results):
        path.write_bytes(b"")
    environment = {
        "VM_REPO": str(ROOT),
        "VM_MODULES": str(unpacked.modules),
        "VM_HEADERS": str(unpacked.headers),
        "VM_LOADER": work.loader,
        "VM_TESTS": work.tests,
        "VM_BENCH": work.bench,
        "VM_COUNT": str(work.rounds),
        "VM_ONLY": work.only,
        **booted(work.init),
    }
    return Machine(vmlinux, initramfs, environment, console, results, work.memory)


def booted(init: str) -> dict[str, str]:
    """What a machine has as its root, and starts there."""
    if not init:
        return {"VM_BOOT": "tests/vm/guest.sh"}
    return {
        "VM_BOOT": "tests/systemd/boot.sh",
        "VM_ROOT": str(root.made()),
        "VM_WHEELS": str(wheels.FOLDER),
    }


async def run(kernel: Kernel, machine: Machine, seconds: float) -> Results:
    """One kernel from power on to power off; what went wrong is in the results."""
    begun, error = time.monotonic(), ""
    try:
        await machine.run(seconds)
    except MachineError as failure:
        error = str(failure)
    lines = machine.results.read_bytes().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    results = results_of(kernel.name, whole, time.monotonic() - begun, error)
    machine.results.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    return results


def show(results: Results) -> None:
    """One kernel's run, failures in full."""
    release = results.host.release if results.host else "?"
    told = ", ".join(f"{results.count(outcome)} {outcome}" for outcome in ("passed", "failed", "skipped"))
    print(f"  {results.kernel:8}{release:32}{told} in {results.seconds:.0f} s", flush=True)
    for sensor in results.sensors:
        if sensor.reason:
            print(f"      sensor {sensor.name} disabled: {sensor.reason}")
    for test in results.tests:
        if test.text or test.outcome != "passed":
            print(f"      {test.outcome} {test.name}{_indented(test)}")
    if results.error:
        print(f"      {results.error}", flush=True)


def _indented(test: Ran) -> str:
    lines = test.text.strip().splitlines()
    return f": {lines[0]}" if len(lines) == 1 else "".join(f"\n          {line}" for line in lines)


async def run_all(kernels: list[Kernel], machines: list[Machine], jobs: int, seconds: float) -> bool:
    """Whether all is good. Ends with a line that counts the tests of all kernels."""
    free = asyncio.Semaphore(jobs)

    async def in_turn(kernel: Kernel, machine: Machine) -> Results:
        async with free:
            results = await run(kernel, machine, seconds)
        show(results)
        return results

    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    done = await asyncio.gather(*map(in_turn, kernels, machines))
    passed, failed, skipped = (
        sum(each.count(outcome) for each in done) for outcome in ("passed", "failed", "skipped")
    )
    broken = sum(bool(each.error) for each in done)
    print(f"vm: {passed} passed, {failed + broken} failed, {skipped} skipped")
    return all(each.good for each in done)


def write_page() -> None:
    """From the last runs. Every kernel must have been run with core; the other loaders may be missing."""
    core, *others = ([OUT / f"{kernel.name}-{loader}.json" for kernel in listed()] for loader in LOADERS)
    if missing := [path.stem for path in core if not path.exists()]:
        sys.exit(f"not run here: {', '.join(missing)}; run `make vm` first")
    ran = (_read([path for path in paths if path.exists()]) for paths in others)
    PAGE.write_text(table(_read(core), *ran))


def _read(paths: list[Path]) -> list[Results]:
    return [msgspec.json.decode(path.read_bytes(), type=Results) for path in paths]


def main() -> int:
    """Exit codes: 0 all good, 1 a test failed or a kernel could not be had or run, 2 usage."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=__doc__)
    parser.add_argument(
        "kernels", nargs="*", metavar="KERNEL", help="names in vagrant/kernels.yaml; all without any"
    )
    parser.add_argument("--tests", default="", help=TESTS_HELP)
    parser.add_argument("--loader", choices=LOADERS, default="core", help=HELP)
    parser.add_argument("--bench", default="", choices=names(), help="a benchmark that runs instead of tests")
    parser.add_argument("--count", type=int, default=0, help="rounds of the benchmark; else its own number")
    parser.add_argument("--only", default="", metavar="NAME,...", help="of its contestants")
    parser.add_argument("--init", choices=("systemd",), default="", help="tests of the unit, under systemd")
    parser.add_argument("--memory", default="2G", help="of a machine")
    parser.add_argument("--jobs", type=int, default=2, help="machines at a time")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which a machine is ended")
    parser.add_argument("--table", action="store_true", help=f"only write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    if options.table:
        write_page()
        return 0
    OUT.mkdir(parents=True, exist_ok=True)
    tests = options.tests or (UNIT_TESTS if options.init else KERNEL_TESTS)
    words = options.loader, tests, options.bench, options.count, options.memory, options.only, options.init
    work = Work(*words)
    try:
        if work.init:
            wheels.build()
        if work.bench:
            compile_all()
        if work.bench == "peers":
            unpack(PACKAGES)
        kernels = chosen(options.kernels)
        machines = [prepared(kernel, work) for kernel in kernels]
    except (KernelError, ImageError) as error:
        sys.exit(str(error))
    try:
        good = asyncio.run(run_all(kernels, machines, options.jobs, options.seconds))
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
