"""What lies between a process and the others: latency, cuts, and its own death."""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from mulligan.errors import Unavailable
from mulligan.model import id_of

from .virtual import clock

LIMIT = 1.2
"""Seconds after which a process gives a call up that does not come back."""


class SimulatedRoad:
    """One process's way to the log and to Postgres."""

    def __init__(self, rng: random.Random, latency: float) -> None:
        self.cut = False
        self.deaf = False
        self.dead = False
        self._rng = rng
        self._latency = latency

    async def there(self) -> None:
        """Travel; raise Unavailable from a process that is cut off or dead."""
        await self._travel()
        if self.cut and not self.dead:
            await asyncio.sleep(LIMIT)
        if self.cut or self.dead:
            raise Unavailable("cut off")

    async def back(self) -> None:
        """Travel back, likewise."""
        await self.there()

    async def hears(self) -> bool:
        """Travel with news; lost where the watch alone is cut, too."""
        await self._travel()
        return not (self.cut or self.dead or self.deaf)

    async def _travel(self) -> None:
        await asyncio.sleep(self._rng.uniform(0, self._latency) if self._latency else 0)


class Clock:
    """A process's clock: it is off by some seconds, and somebody sets it now and then."""

    def __init__(self, rng: random.Random, skew: float) -> None:
        self._rng = rng
        self._skew = skew
        self._off = timedelta(seconds=rng.uniform(-skew, skew))

    def __call__(self) -> datetime:
        return clock() + self._off

    def jump(self) -> float:
        """Set it, within its bounds; return by how much it is off now."""
        self._off = timedelta(seconds=self._rng.uniform(-self._skew, self._skew))
        return self._off.total_seconds()


class Ids:
    """UUIDv7s of a process, by its own clock and the seed's chance."""

    def __init__(self, rng: random.Random, time: Callable[[], datetime]) -> None:
        self._rng = rng
        self._time = time

    def __call__(self) -> str:
        return id_of(int(self._time().timestamp() * 1000), self._rng.getrandbits(74))
