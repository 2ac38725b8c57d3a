"""What the documents say is so: links lead somewhere, commands and targets exist, policies are valid."""

import re
from pathlib import Path

from controlplane.cli.main import COMMANDS
from controlplane.policy.compile import rules_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def test_links_in_documents() -> None:
    """Every relative link in a document leads to a file, and every anchor in it to a heading."""
    found = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            if "://" in target:
                continue
            there = page.parent / path if path else page
            if not there.exists():
                found.append(f"{page.name}: {target} does not exist")
            elif anchor and anchor not in anchors(there):
                found.append(f"{page.name}: no heading for {target}")
    assert not found, "\n".join(found)


def test_make_targets_in_documents() -> None:
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|sudo )make ([a-z0-9]+)", page.read_text())}
    assert named <= targets
    assert named >= {"run", "demo", "test"}


def anchors(page: Path) -> set[str]:
    """Names by which the headings of a page can be linked to."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_policies_in_documents_are_valid() -> None:
    found = [text for page in PAGES for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)]
    rules = [
        rule for text in found if "kind: Policy" in text for rule in rules_of(text.encode(), "page", "page")
    ]
    assert [rule.name for rule in rules] == ["fork-storm"]


def test_commands_in_documents_exist() -> None:
    named = {name for page in PAGES for name in re.findall(r"`reflexarc ([a-z]+)", page.read_text())}
    assert named <= COMMANDS.keys()
    assert "run" in named
