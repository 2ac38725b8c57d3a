"""The user's own sensors: sensors.d read, and refused where somebody else could have written into it.

What is in there runs in the kernel as root, so the folder, all above it and every file must be root's alone.
Nothing is compiled here.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from controlplane.link.config import Config
from controlplane.link.signals import BY_NAME, SIGNALS, Signal
from controlplane.link.user_sensors import FIRST_NUMBER, MAX_SIGNALS, UserSensor
from controlplane.policy.document import Document, documents
from controlplane.policy.errors import PolicyError
from controlplane.policy.load import check_header, policy_files, read_bytes
from controlplane.policy.model import Sensor, SignalSpec
from controlplane.policy.shape import shaped

DEFAULT_FOLDER: Final = Path(Config().sensors_dir)
SUFFIX: Final = ".bpf.c"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_SIGNAL: Final = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_MAX_SIGNAL: Final = 63
_SENSORS: Final = {signal.sensor for signal in SIGNALS}


def user_sensors(folder: Path) -> tuple[UserSensor, ...]:
    """The sensors of a folder, in order of name. Only the default one may be missing. Raises PolicyError."""
    if folder == DEFAULT_FOLDER and not folder.exists():
        return ()
    require_private(folder)
    found: list[UserSensor] = []
    for file in policy_files(folder):
        source = file.with_name(file.name.rpartition(".")[0] + SUFFIX)
        for path in (file, source):
            require_private(path)
        taken = {signal.name for sensor in found for signal in sensor.signals}
        first = FIRST_NUMBER + len(taken)
        found.append(sensor_of(read_bytes(file), str(file), str(source.resolve()), first, taken))
    for source in sorted(folder.glob(f"*{SUFFIX}")):
        if source.name.removesuffix(SUFFIX) not in {sensor.name for sensor in found}:
            name = source.name.removesuffix(SUFFIX) + ".yaml"
            raise PolicyError("has no description", f"write {name} beside it", str(source))
    return tuple(found)


def sensor_of(data: bytes, file: str, source: str, first_number: int, taken: set[str]) -> UserSensor:
    """The sensor that the bytes of a file describe; names in `taken` are another's. Raises PolicyError."""
    found = documents(data, file)
    if len(found) != 1:
        raise PolicyError("must hold one document", "a sensor is one source and one description", file)
    document = found[0]
    check_header(document, "Sensor", optional=False)
    sensor = shaped(document, Sensor)
    name = sensor.metadata.name
    _check_name(document, name, Path(source).name.removesuffix(SUFFIX))
    signals = tuple(_signals(document, sensor, taken))
    if first_number - FIRST_NUMBER + len(signals) > MAX_SIGNALS:
        message = f"there are more than {MAX_SIGNALS} signals of users' own sensors"
        raise document.error("$.spec.signals", message, "remove one")
    return UserSensor(name=name, path=source, signals=signals, first_number=first_number)


def _check_name(document: Document, name: str, stem: str) -> None:
    at = "$.metadata.name"
    if name != stem:
        raise document.error(at, f"must be {stem}, as the source is called", f"write `name: {stem}`")
    if not _NAME.fullmatch(name):
        raise document.error(at, "must be a word of a-z, 0-9 and _, at most 32 letters long")
    if name in _SENSORS:
        raise document.error(at, f"{name} is a sensor of the daemon's own", "call it something else")


def _signals(document: Document, sensor: Sensor, taken: set[str]) -> Iterator[Signal]:
    if not sensor.spec.signals:
        raise document.error("$.spec.signals", "names no signal", "name at least one")
    names = set(taken)
    for index, spec in enumerate(sensor.spec.signals):
        at = f"$.spec.signals[{index}]"
        _check_signal(document, at, spec, names)
        names.add(spec.name)
        yield Signal(spec.name, sensor.metadata.name, spec.kind, spec.unit, spec.meaning, spec.key)


def _check_signal(document: Document, at: str, spec: SignalSpec, names: set[str]) -> None:
    name = spec.name
    if len(name) > _MAX_SIGNAL or not _SIGNAL.fullmatch(name):
        raise document.error(
            f"{at}.name", f"`{name[:64]}` must be two words of a-z, 0-9 and _ with a dot", "fs.fsync_time"
        )
    if name in BY_NAME or name in names:
        raise document.error(f"{at}.name", f"the name `{name}` is taken", "call it something else")
    if spec.kind == "count" and spec.unit != "1":
        raise document.error(f"{at}.unit", "a count has no unit", "leave `unit` out")
    if spec.kind == "value" and spec.unit == "1":
        raise document.error(f"{at}.unit", "a value needs a unit", "write `unit: ns`, `By` or `%`")


def require_private(path: Path) -> None:
    """Nobody but root can have written it, or exchanged a folder above it. Raises PolicyError."""
    try:
        real = path.resolve(strict=True)
        for part in {real, *real.parents, *path.absolute().parents}:
            _check_owner(part, above=part != real)
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror}", "", str(path)) from None


def _check_owner(path: Path, *, above: bool) -> None:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return
    found = path.stat()
    hint = "its sources run in the kernel: chown root it, and chmod go-w"
    if found.st_uid != 0:
        raise PolicyError("does not belong to root", hint, str(path))
    open_to_others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    # In a folder like /tmp nobody can exchange what is another's.
    if open_to_others and not (above and found.st_mode & stat.S_ISVTX):
        raise PolicyError("can be written by others than root", hint, str(path))
