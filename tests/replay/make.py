"""Writes the recordings of this folder anew: `python -m tests.replay.make`. What they yield is kept, too."""

import math
from pathlib import Path
from random import Random

HERE = Path(__file__).parent


def delays(random: Random) -> str:
    """Run-queue delays of two cgroups, 100 a second; from 60 s to 64 s one's are 5 x as long."""
    rows = ["time,value,key"]
    for index in range(8000):
        key = "/web" if index % 2 else "/batch"
        worse = 5 if key == "/web" and 6000 <= index < 6400 else 1
        rows.append(f"{index / 100:.2f},{int(80_000 * worse * math.exp(random.gauss(0, 1)))},{key}")
    return "\n".join(rows) + "\n"


def forks(random: Random) -> str:
    """Forks at 50 a second, and at 500 from 60 s to 62 s; told when they happen."""
    rows, now = ["time,value"], 0.0
    while now < 80:
        now += random.expovariate(500 if 60 <= now < 62 else 50)
        rows.append(f"{now:.6f},1")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    (HERE / "delays.csv").write_text(delays(Random(1)))
    (HERE / "forks.csv").write_text(forks(Random(2)))
