"""The BMC clients that an executor keeps, one a machine; those given up are closed beside the work.

Closing talks to a BMC, which may be slow or gone: nobody waits for it but the end of the process,
and that for a few seconds.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import anyio

from mulligan.redfish.auth import Breaker
from mulligan.redfish.bmc import BmcClient

LIMIT = 10_000
"""Clients kept, and with them sessions with BMCs; the least used is given up first."""

CLOSING = 500
"""Clients that may wait to be closed; the sessions of more are left to expire."""

_AT_ONCE = 32
_LOOKED_AT = 64
_REST_S = 2.0
"""A connection is kept so long after its last step. BMCs have few, and close idle ones soon."""

_LAST_S = 3.0


class _Kept(NamedTuple):
    identity: str
    client: BmcClient


class Clients:
    """Keeps the client of each machine; a client in use is never closed under its user."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._used: set[str] = set()
        self._rested: OrderedDict[str, float] = OrderedDict()
        self.wanted: Callable[[str], bool] = lambda machine: False
        self._breakers: OrderedDict[tuple[str, str], Breaker] = OrderedDict()
        self._given_up: deque[BmcClient] = deque()
        self._closing: set[BmcClient] = set()
        self._idle = anyio.Event()
        self._ready = anyio.Semaphore(0)

    def __len__(self) -> int:
        return len(self._kept)

    @contextmanager
    def using(self, machine: str) -> Iterator[None]:
        """Keep the machine's client open while the block runs."""
        self._used.add(machine)
        self._rested.pop(machine, None)
        try:
            yield
        finally:
            self._used.discard(machine)
            self._rested[machine] = anyio.current_time()
            if not self._used:
                self._idle.set()

    async def unused(self) -> None:
        """Return when no client is in use."""
        while self._used:
            self._idle = anyio.Event()
            await self._idle.wait()

    def breaker(self, address: str, account: str) -> Breaker:
        """Return the breaker of one account of one BMC, whichever machines are behind it."""
        breaker = self._breakers.setdefault((address, account), Breaker())
        self._breakers.move_to_end((address, account))
        if len(self._breakers) > 2 * self._limit:
            self._breakers.popitem(last=False)
        return breaker

    @property
    def breakers_open(self) -> int:
        """How many accounts of BMCs have refused so often that no more logins are tried."""
        return sum(breaker.is_open for breaker in self._breakers.values())

    def knows(self, machine: str) -> bool:
        """Tell whether a client is kept for the machine, whatever its identity."""
        return machine in self._kept

    def get(self, machine: str, identity: str) -> BmcClient | None:
        """Return the machine's client if it was kept for this identity."""
        kept = self._kept.get(machine)
        if kept is None or kept.identity != identity:
            return None
        self._kept.move_to_end(machine)
        return kept.client

    def keep(self, machine: str, identity: str, client: BmcClient) -> None:
        """Keep a client in place of the machine's former one; a spare one is given up."""
        self.give_up(machine)
        self._kept[machine] = _Kept(identity, client)
        if len(self._kept) > self._limit:
            idle = [one for one in islice(self._kept, _LOOKED_AT) if one not in self._used]
            spare = next((one for one in idle if not self.wanted(one)), idle[0] if idle else None)
            if spare is not None:
                self.give_up(spare)

    def give_up_unless(self, mine: Callable[[str], bool]) -> None:
        """Give up the clients of machines that are not ours, but those in use."""
        for machine in [one for one in self._kept if one not in self._used and not mine(one)]:
            self.give_up(machine)

    def give_up(self, machine: str) -> None:
        """Have the machine's client closed, if there is one, some time from now."""
        kept = self._kept.pop(machine, None)
        if kept is None:
            return
        if len(self._given_up) >= CLOSING:
            kept.client.release_connections()
            return
        self._given_up.append(kept.client)
        self._ready.release()

    async def run(self) -> None:
        """Close what is given up; on cancellation, everything, within three seconds."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._release_connections)
                for _ in range(_AT_ONCE):
                    tasks.start_soon(self._close_given_up)
        finally:
            with anyio.move_on_after(_LAST_S, shield=True):
                await self._close_all()

    async def _release_connections(self) -> None:
        """Close the connections of clients that rest: the next step of an operation comes soon."""
        while True:
            await anyio.sleep(_REST_S / 2)
            while self._rested:
                machine, since = next(iter(self._rested.items()))
                if anyio.current_time() - since < _REST_S:
                    break
                del self._rested[machine]
                kept = self._kept.get(machine)
                if kept is not None:
                    kept.client.release_connections()

    async def _close_given_up(self) -> None:
        while True:
            await self._ready.acquire()
            client = self._given_up.popleft()
            self._closing.add(client)
            await client.close()
            self._closing.discard(client)

    async def _close_all(self) -> None:
        rest = [*self._closing, *self._given_up, *(kept.client for kept in self._kept.values())]
        self._kept.clear()
        async with anyio.create_task_group() as tasks:
            for client in rest:
                tasks.start_soon(client.close)
