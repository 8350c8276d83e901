"""What one seed is about: how large its world is, what goes on in it, and what befalls it."""

import random
from typing import Any

import msgspec

from mulligan.log.memory import Faults


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A world, small enough to be lived in milliseconds. Times are seconds.

    ``deadly`` is the chance that an executor dies in the very moment in which a BMC acts for it;
    ``befalls`` are the means of what happens once in so long: crashes, cuts, jumps and the like.
    """

    seed: int
    processes: int
    machines: int
    lives: str
    crowd: int
    capacity: int
    tenants: bool
    rotates: bool
    projectors: int
    faults: Faults
    befalls: dict[str, float]
    latency: float
    skew: float
    window: int
    bmc_trouble: float
    bmc_pace: float
    deadly: float
    horizon: float

    @property
    def named(self) -> str:
        """The plan in a line."""
        return ", ".join(f"{k}={v}" for k, v in msgspec.to_builtins(self).items() if v)


FAULTS = (
    "lost_ack", "lost_write", "late_write", "unavailable", "deaf", "twice", "broken_watch"
)  # fmt: skip
BEFALLS = (
    "crash", "cut", "deaf_watch", "jump", "full", "compact", "seal", "break_watches",
    "postgres_away", "late",
)  # fmt: skip
LIVES = ("cycle", "cycle", "serve")


def plan(seed: int) -> Plan:
    """Draw a plan; the same for the same seed always."""
    rng = random.Random(f"{seed}/plan")
    machines = rng.choice((0, 1, 1, 2))
    crowd = rng.choice((0, 2, 3)) if machines else rng.randint(2, 5)
    wild = rng.random() < 0.85
    return Plan(
        seed=seed,
        processes=rng.choice((2, 2, 3)),
        machines=machines,
        lives=rng.choice(LIVES),
        crowd=crowd,
        capacity=rng.randint(1, 6),
        tenants=rng.random() < 0.4,
        rotates=machines > 0 and rng.random() < 0.35,
        projectors=rng.choice((1, 2)),
        faults=_faults(rng) if wild else Faults(seed=seed),
        befalls=_befalls(rng) if wild else {},
        latency=rng.choice((0.0, 0.002, 0.02)),
        skew=rng.choice((0.0, 2.0, 20.0)),
        window=rng.choice((8, 40, 5000)),
        bmc_trouble=rng.choice((0.0, 0.05, 0.15)) if wild else 0.0,
        bmc_pace=rng.choice((0.05, 0.05, 1.5)),
        deadly=rng.choice((0.0, 0.0, 0.1)) if wild else 0.0,
        horizon=rng.choice((20.0, 60.0)),
    )


def _faults(rng: random.Random) -> Faults:
    chances: dict[str, Any] = {name: rng.choice((0.0, 0.03, 0.1)) for name in FAULTS}
    return Faults(seed=rng.getrandbits(32), **chances)


def _befalls(rng: random.Random) -> dict[str, float]:
    return {name: rng.choice((8.0, 20.0)) for name in BEFALLS if rng.random() < 0.45}
