"""The guards of this arc: made of its parts, kept to the rules in force, and told when they disarm one."""

import os
from collections.abc import Iterable
from typing import Final

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.denials import Denials
from controlplane.arc.kernel.sensors import Sensors
from controlplane.arc.monitor.streams import Monitor
from controlplane.arc.reflex.breaker import Breaker, kept
from controlplane.arc.reflex.engine import Engine
from controlplane.arc.reflex.guards import Confirmation, Guards, Loss
from controlplane.arc.reflex.protection import MAX_COMM, Protection
from controlplane.link.config import Config
from controlplane.link.records import Notice
from controlplane.link.rules import NS, Rule

NAME_BYTES: Final = 16
"""Of a task's name in the kernel."""


class Guarding:
    """Owns the guards; the engine asks them."""

    def __init__(
        self, config: Config, folder: int, cgroups: Cgroups, sensors: Sensors, monitor: Monitor
    ) -> None:
        """`folder` is the descriptor of the runtime directory."""
        self._names = sensors.shared_map("protected_names", NAME_BYTES, 1)
        self.protection = Protection(cgroups, config.protect)
        self._breaker = Breaker(config.breaker_acts, config.breaker_window_s * NS, kept(folder))
        confirmation, loss = Confirmation(monitor.must_confirmed), Loss(sensors.must_last_loss)
        self.all = Guards(self.protection, confirmation, loss, self._breaker)

    def spare(self, plane: int, denials: Denials) -> None:
        """Protect this process and the plane's, and what runs by a protected name."""
        own = os.getpid(), plane
        self.protection.scan(own)
        denials.spare(own)
        self._tell_names()

    def follow(self, rules: Iterable[Rule], known: Iterable[tuple[int, str]]) -> None:
        """Protect what rules name besides, among the cgroups (id, path) that are known."""
        self.protection.set_words(rules, known)
        self._tell_names()

    def _tell_names(self) -> None:
        """To the kernel: programs whose execution it tells."""
        for name in self.protection.all_names:
            self._names.must_update(name.encode()[:MAX_COMM].ljust(NAME_BYTES, b"\0"), b"\1")

    def opened(self, engine: Engine, now_ns: int) -> Iterable[Notice]:
        """Breakers that have opened since, to be told: their rules may only look from now on."""
        for name in self._breaker.take_news():
            engine.stop_acting(engine.acting(), "breaker")
            whose = f"policy {name} may" if name else "all policies of this node may"
            yield Notice(
                time_ns=now_ns,
                name="breaker.opened",
                severity="error",
                text=f"too many acts that cannot be undone: {whose} only observe until the breaker is closed",
            )
