"""Programs that policies run: what is run, as whom, for how long. Only a policy's own file may name one."""

from collections.abc import Iterator
from typing import Final

import msgspec

from controlplane.link.amounts import Misfit

NS: Final = 1_000_000_000
MAX_ARGUMENTS: Final = 32
MAX_COMMAND: Final = 1024
"""Characters of all arguments together."""
MAX_TIMEOUT_NS: Final = 60 * NS
_USER: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


class Hook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program to run, and one that takes back what it did."""

    run: tuple[str, ...]
    """An absolute path and arguments; no shell reads them."""
    undo: tuple[str, ...] = ()
    timeout_ns: int = 5 * NS
    """Of each; then it is killed, with all it has started."""
    user: str = "nobody"


def hook_misfits(act: str, hook: Hook | None) -> Iterator[Misfit]:
    """What is wrong with what a step runs."""
    if hook is None:
        if act == "hook":
            hint = 'write for example `run: ["/usr/local/bin/tell"]`'
            yield Misfit("", "a hook needs a program to run", hint)
        return
    if act != "hook":
        yield Misfit("run", f"{act} runs no program", "write `act: hook`")
    yield from _command_misfits("run", hook.run)
    if hook.undo:
        yield from _command_misfits("undo", hook.undo)
    if not 1 <= hook.timeout_ns <= MAX_TIMEOUT_NS:
        yield Misfit("timeout", "must be above zero and at most 1m")
    if not 1 <= len(hook.user) <= 32 or not _USER.issuperset(hook.user):
        yield Misfit("as", "is not the name of an account")


def _command_misfits(key: str, command: tuple[str, ...]) -> Iterator[Misfit]:
    if not command or not command[0].startswith("/"):
        hint = "no shell is asked where it is: write for example /usr/local/bin/tell"
        yield Misfit(key, "must begin with the absolute path of a program", hint)
    if len(command) > MAX_ARGUMENTS or sum(map(len, command)) > MAX_COMMAND:
        yield Misfit(key, f"must be at most {MAX_ARGUMENTS} words, of {MAX_COMMAND} characters together")
    if not all(word.isprintable() for word in command):
        yield Misfit(key, "has characters that cannot be printed")
