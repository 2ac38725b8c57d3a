"""Which rules are in force: those of files and the default table, overlaid by what the API changed."""

from collections.abc import Iterable

import msgspec

from controlplane.link.config import Mode
from controlplane.link.rules import MAX_RULES, Rule


class RuleBook:
    """API changes last until the daemon restarts; a reload of the files keeps them."""

    def __init__(self, base: Iterable[Rule]) -> None:
        self._base = {rule.name: rule for rule in base}
        self._changed: dict[str, Rule | None] = {}
        """None: deleted."""

    def rules(self) -> tuple[Rule, ...]:
        """In force, by name."""
        merged = {**self._base, **self._changed}
        return tuple(rule for _, rule in sorted(merged.items()) if rule is not None)

    def find(self, name: str) -> Rule | None:
        """The rule in force of that name."""
        return self._changed[name] if name in self._changed else self._base.get(name)

    def replace_base(self, rules: Iterable[Rule]) -> None:
        """After a reload of the files."""
        self._base = {rule.name: rule for rule in rules}

    def apply(self, rule: Rule) -> bool:
        """Put a rule in force; False when there are too many."""
        if self.find(rule.name) is None and len(self.rules()) >= MAX_RULES:
            return False
        self._changed[rule.name] = rule
        return True

    def delete(self, name: str) -> bool:
        """Take a rule out of force; False when there is none of that name."""
        if self.find(name) is None:
            return False
        self._changed[name] = None
        return True

    def set_mode(self, name: str, mode: Mode) -> bool:
        """Of one rule; False when there is none of that name."""
        rule = self.find(name)
        if rule is None:
            return False
        self._changed[name] = msgspec.structs.replace(rule, mode=mode)
        return True
