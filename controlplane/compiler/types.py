"""Whom to ask for the types of the running kernel: itself, by its BTF, or else its headers."""

from functools import partial

from controlplane.arc.kernel.loader import BTF
from controlplane.compiler.asking import FLAGS, Declared, UnreadableHeadersError, answers, event_of, text
from controlplane.compiler.bcc import complaints
from controlplane.compiler.btf import Btf
from controlplane.compiler.installed import Installed, installed, package
from controlplane.compiler.layout import Layout, laid_out


def layout_here() -> Layout:
    """For the running kernel. Raises UnreadableHeadersError where there is neither."""
    if BTF.exists():
        return partial(laid_out, kernel=Btf())
    found = installed()
    if found is None:
        raise UnreadableHeadersError(
            f"this kernel has no BTF, and its headers are not installed: {package()}"
        )
    return partial(laid_out_by, found)


def laid_out_by(headers: Installed, source: str) -> str:
    """`laid_out`, with all that is asked for found out at once. Raises UnreadableHeadersError."""
    kernel = Declared()
    laid_out(source, kernel)
    return laid_out(source, Declared(learnt(headers, kernel.asked)))


def learnt(headers: Installed, asked: dict[str, str]) -> dict[str, int | None]:
    """Answers by question; `asked` has the type that each is about. Raises UnreadableHeadersError."""
    if not asked:
        return {}
    if headers.is_shuffled():
        raise UnreadableHeadersError(
            "this kernel was built with RANDSTRUCT: headers do not tell where its fields are"
        )
    events = {event for name in asked.values() if (event := event_of(name))}
    types = {name for name in asked.values() if not event_of(name)}
    asking = text(headers.types(types), headers.events(events), asked)
    return answers(asked, complaints(asking, headers.source, [*FLAGS, *headers.flags()]))
