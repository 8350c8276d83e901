"""What happens to a region's processes: killed or frozen, one or several, at random moments."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Sequence

import anyio

from mulligan.services.serve import SERVICES
from tests.e2e.region import RunningRegion, until
from tests.embedded.processes import descendants

PARTS = ("etcd", "postgres", *SERVICES)
GAP = (0.2, 3.0)
"""Seconds from one blow to the next."""
FREEZE = (0.2, 4.0)
LONG_FREEZE = (11.0, 13.0)
"""Longer than a lease lives."""
MOVES_WITHIN = 60.0
LOOK_AFTER = 5


class Killer:
    """Strikes a region's processes; ``blows`` counts what was done to which."""

    def __init__(
        self, region: RunningRegion, rng: random.Random, parts: Sequence[str] = PARTS
    ) -> None:
        self.region = region
        self.blows: Counter[str] = Counter()
        self.slowest_s = 0.0
        self._rng = rng
        self._parts = parts

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return sum(n for what, n in self.blows.items() if what.startswith("kill "))

    async def run(self, kills: int, acked: Callable[[], int]) -> None:
        """Kill so many processes, freeze some; fail when acknowledgements stop coming for long."""
        goal, blow = self.kills + kills, 0
        while self.kills < goal:
            await self._strike()
            blow += 1
            await anyio.sleep(self._rng.uniform(*GAP))
            if blow % LOOK_AFTER == 0:
                await self._moves(acked)
        await self._moves(acked)

    async def _strike(self) -> None:
        roll = self._rng.random()
        if roll < 0.72:
            self._kill(self._rng.choice(self._parts))
        elif roll < 0.86:
            for part in self._rng.sample(self._parts, self._rng.randint(2, 4)):
                self._kill(part)
        elif roll < 0.96:
            await self._freeze(self._rng.choice(self._parts), self._rng.uniform(*FREEZE))
        elif roll < 0.98:
            await self._freeze(self._rng.choice(self._parts), self._rng.uniform(*LONG_FREEZE))
        else:
            await self.region.fell()
            self.blows["kill all"] += 1

    def _kill(self, part: str) -> None:
        if send(self._pid(part), signal.SIGKILL):
            self.blows[f"kill {part}"] += 1

    def _pid(self, part: str) -> int:
        """Return the process id of a part that runs; a file of one that died may name anybody."""
        pid = self.region.pid(part)
        return pid if pid in descendants(self.region.supervisor) else 0

    async def _freeze(self, part: str, seconds: float) -> None:
        pid = self._pid(part)
        pids = [pid, *descendants(pid)] if pid else []
        try:
            if [one for one in pids if send(one, signal.SIGSTOP)]:
                self.blows[f"freeze {part}"] += 1
                await anyio.sleep(seconds)
        finally:
            for one in pids:
                send(one, signal.SIGCONT)

    async def _moves(self, acked: Callable[[], int]) -> None:
        before, began = acked(), anyio.current_time()

        async def more() -> bool:
            return acked() > before + 5

        await until(more, "commands are acknowledged again", MOVES_WITHIN)
        self.slowest_s = max(self.slowest_s, anyio.current_time() - began)


def send(pid: int, number: int) -> bool:
    """Signal a process; return whether there was one."""
    if not pid:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
