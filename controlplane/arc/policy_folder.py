"""The policy folder: watched by inotify, compiled by a child, so that no YAML is ever parsed in the arc."""

import os
from collections.abc import Callable

import msgspec

from controlplane.arc.children import Child, spawn
from controlplane.arc.kernel.descriptors import watch_folder
from controlplane.arc.loop import Loop
from controlplane.link.malformed import MALFORMED
from controlplane.link.rules import RuleSet

_DECODER = msgspec.msgpack.Decoder(RuleSet)


class PolicyFolder:
    """Calls `taken` with the result of each compilation, good or bad."""

    def __init__(
        self, loop: Loop, path: str, signals: int, taken: Callable[[RuleSet], None], *, defaults: bool
    ) -> None:
        """`signals`: descriptor of the user's own signals."""
        self._loop = loop
        self._path = path
        self._signals = signals
        self._defaults = defaults
        self._taken = taken
        self._output = -1
        self._child: Child | None = None
        self.again = False
        """Whether files have changed since the compilation under way began."""
        self._watch = watch_folder(path)
        loop.add(self._watch, self._changed)

    def _changed(self) -> None:
        os.read(self._watch, 65536)
        self.reload()

    def reload(self) -> None:
        """Compile now, or once more when the compilation under way is done."""
        if self._child is not None:
            self.again = True
            return
        self._output = os.memfd_create("rules")
        options = () if self._defaults else ("--no-defaults",)
        arguments = ("--out-fd", "3", "--signals-fd", "4", *options, self._path)
        try:
            pid = spawn("controlplane.policy.compile", arguments, (self._output, self._signals))
        except OSError as error:
            os.close(self._output)
            self._taken(RuleSet(error=f"the policy compiler cannot be started: {error.strerror}"))
            return
        self._child = Child(self._loop, pid, self._compiled)

    def close(self) -> None:
        """End the compilation under way, and watch no more."""
        if self._child is not None:
            self._child.abandon()
            os.close(self._output)
        self._loop.remove(self._watch)
        os.close(self._watch)

    def _compiled(self, status: int) -> None:
        self._child = None
        os.lseek(self._output, 0, os.SEEK_SET)
        with open(self._output, "rb") as file:
            written = file.read()
        self._taken(_read_result(written, status))
        if self.again:
            self.again = False
            self.reload()


def _read_result(written: bytes, status: int) -> RuleSet:
    try:
        return _DECODER.decode(written)
    except MALFORMED:
        return RuleSet(error=f"the policy compiler ended with status {status} and without a result")
