"""Any bytes are a policy, a configuration, or an error for the reader; nothing else comes out."""

from typing import TypeAlias, get_args

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.link.faults import problems
from controlplane.link.rules import ActName
from controlplane.policy.compile import rules_of
from controlplane.policy.document import documents
from controlplane.policy.errors import PolicyError
from controlplane.policy.load import config_of

Yaml: TypeAlias = "dict[str, Yaml] | list[Yaml] | str | int | float | bool | None"

KEYS = ("signal", "per", "scope", "cgroups", "node", "test", "kind", "above", "over", "ladder", "act", "mode")
WORDS = (
    *KEYS,
    "freeze",
    "kill",
    "observe",
    "enforce",
    "500/s",
    "50ms",
    "-1s",
    "1e999s",
    "/a/**",
    "~",
    "0",
    "-7",
)
MARKS = (
    "\n",
    "\n  ",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "---\n",
    "#",
    '"',
    "|",
    "&a ",
    "*a",
    "!!str ",
    "<<",
    "\r",
)


words = st.sampled_from(WORDS)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | words
values: st.SearchStrategy[Yaml] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)
SETS = ("cpu", "io", "nice", "ionice", "oom_score_adj", "max", "more", "read", "write")
amounts = st.sampled_from(["10%", "1MiB", "1MiB/s", "idle", "0x" + "f" * 5000]) | st.integers() | scalars
steps = st.fixed_dictionaries(
    {"act": st.sampled_from(get_args(ActName)) | words},
    optional={"for": words, "after": words, "grace": words, **dict.fromkeys(SETS, amounts)},
)
tests = st.fixed_dictionaries(
    {"kind": st.just("threshold"), "above": words | values}, optional={"over": words}
) | st.fixed_dictionaries(
    {"kind": st.sampled_from(["rate", "histogram", "rare", "pressure"])},
    optional={"false_alarms": words | values, "above": words | values},
)
confirms = st.fixed_dictionaries(
    {
        "signal": st.sampled_from(["psi.memory", "process.fork", "process.exec"]) | values,
        "above": words | values,
    },
    optional={"over": words, "within": words},
)
specs = st.fixed_dictionaries(
    {
        "signal": st.sampled_from(["process.fork", "cpu.runq_delay"]) | values,
        "test": tests | values,
        "ladder": st.lists(steps, max_size=3) | values,
    },
    optional={"confirm": confirms | values, "scope": values, "per": words, "mode": words, "cooldown": words},
)


def check(data: bytes) -> None:
    """Both readers give what is right, or an error on a line that exists."""
    error = refusal_of_policies(data)
    for found in (error, refusal_of_config(data)):
        if found is not None:
            assert found.message
            assert 0 <= found.line <= len(data.splitlines())
            assert len(str(found).encode()) < 1000


def refusal_of_policies(data: bytes) -> PolicyError | None:
    try:
        rules = rules_of(data, "f", "api")
    except PolicyError as error:
        return error
    assert not [problem for rule in rules for problem in problems(rule)]
    return None


def refusal_of_config(data: bytes) -> PolicyError | None:
    try:
        config_of(data, "f")
    except PolicyError as error:
        return error
    return None


@given(st.binary(max_size=200))
def test_bytes(data: bytes) -> None:
    check(data)


@given(st.text(st.characters(exclude_characters="\x85\u2028\u2029"), max_size=100))
def test_text(text: str) -> None:
    check(text.encode("utf-8", "surrogatepass"))


@given(st.lists(st.sampled_from(WORDS + MARKS)).map("".join))
def test_yaml_like_text(text: str) -> None:
    check(text.encode())


@settings(max_examples=300)
@given(specs, st.fixed_dictionaries({"name": words | values}) | values)
def test_nearly_right_policies(spec: Yaml, metadata: Yaml) -> None:
    head = {"apiVersion": "reflexarc/v1", "kind": "Policy", "metadata": metadata, "spec": spec}
    check(yaml.safe_dump(head, sort_keys=False, encoding="utf-8"))


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), values, max_size=4))
def test_every_value_has_a_line(value: Yaml) -> None:
    data = yaml.safe_dump(value, encoding="utf-8")
    try:
        found = documents(data, "f")
    except PolicyError:
        return
    for document in found:
        assert all(1 <= line <= len(data.splitlines()) for line in document.lines.values())
