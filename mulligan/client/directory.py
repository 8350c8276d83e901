"""Which instance to call: the Catalog's list, taken in turn, those that failed last."""

import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence

import anyio
from grpclib import GRPCError

from mulligan.client.channels import Channels, since
from mulligan.client.status import BROKEN, to_error, transport_error
from mulligan.errors import InvalidArgument, MulliganError, Unavailable
from mulligan.proto.v1 import (
    CatalogStub,
    Endpoint,
    ListEndpointsRequest,
    ListEndpointsResponse,
)

log = logging.getLogger(__name__)

LISTING = "Catalog.ListEndpoints"
ASK_TIMEOUT = 3.0
"""Seconds that one instance may take to list the endpoints."""
COOL_DOWN = 2.0
"""Seconds for which an instance that failed is passed over while others are left."""
SLOW = 0.5
"""Seconds after which the next address is asked as well; the first answer counts."""
PAUSE = 0.25
"""Least seconds between two questions to the Catalog."""


class Directory:
    """The endpoints of one region, found through any address of it.

    An empty ``region`` takes the region that the first answer comes from. ``on_use`` is called
    whenever an instance is about to be called; whoever hears of changes gives the list to ``take``.
    """

    def __init__(
        self,
        seeds: Sequence[str],
        channels: Channels,
        region: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not seeds:
            raise InvalidArgument("address", "at least one address is needed")
        self.region = region
        self.on_use: Callable[[], None] = lambda: None
        self._seeds = tuple(seeds)
        self._channels = channels
        self._clock = clock
        self._endpoints: list[Endpoint] = []
        self._stale = True
        self._asked_at = -PAUSE
        self._asking = anyio.Lock()
        self._turn: dict[str, int] = {}
        self._failed_at: dict[str, float] = {}

    async def endpoints(self) -> list[Endpoint]:
        """Ask the Catalog for every endpoint of every region it knows."""
        await self._refresh(force=True)
        return list(self._endpoints)

    async def pick(self, service: str) -> str:
        """Return the address of the instance of ``service`` whose turn it is.

        Raise Unavailable when none is known.
        """
        self.on_use()
        if service == "catalog":
            return self._in_turn(service, self._seeds)
        if self._stale:
            await self._refresh()
        found = self.serving(service)
        if not found:
            self._stale = True
            where = f"region {self.region}" if self.region else "any region"
            raise Unavailable(f"no {service} service is registered in {where}; is it running?")
        return self._in_turn(service, found)

    def any_address(self) -> str:
        """Return the address of an instance of any service, at random, none that just failed."""
        known = {*self._seeds, *(endpoint.address for endpoint in self._endpoints)}
        healthy = sorted(address for address in known if self._is_healthy(address))
        return random.choice(healthy or sorted(known))

    def take(self, answer: ListEndpointsResponse) -> None:
        """Go by this list from now on. An instance that is new has not failed yet."""
        before = {endpoint.instance for endpoint in self._endpoints}
        for endpoint in answer.endpoints:
            if endpoint.instance not in before:
                self._failed_at.pop(endpoint.address, None)
        self._endpoints = answer.endpoints
        self.region = self.region or answer.region
        self._stale = False
        known = {*self._seeds, *(endpoint.address for endpoint in self._endpoints)}
        self._failed_at = {a: at for a, at in self._failed_at.items() if a in known}
        self._channels.close_others(known)

    def failed(self, address: str) -> None:
        """Pass the address over for a while, and look for new ones."""
        self._failed_at[address] = self._clock()
        self._stale = True

    def has_healthy(self, service: str) -> bool:
        """Tell whether an instance is known that has not just failed."""
        known = self._seeds if service == "catalog" else self.serving(service)
        return any(self._is_healthy(address) for address in known)

    def serving(self, service: str) -> list[str]:
        """Return the addresses of a service's instances, as far as is known."""
        return sorted(
            endpoint.address
            for endpoint in self._endpoints
            if endpoint.service == service and endpoint.region in ("", self.region)
        )

    def _in_turn(self, service: str, addresses: Sequence[str]) -> str:
        healthy = [address for address in addresses if self._is_healthy(address)] or addresses
        turn = self._turn[service] = self._turn.get(service, -1) + 1
        return healthy[turn % len(healthy)]

    def _is_healthy(self, address: str) -> bool:
        failed_at = self._failed_at.get(address)
        return failed_at is None or self._clock() - failed_at > COOL_DOWN

    async def _refresh(self, *, force: bool = False) -> None:
        async with self._asking:
            recent = self._clock() - self._asked_at < PAUSE
            if not force and (not self._stale or (recent and self._endpoints)):
                return
            self._asked_at = self._clock()
            try:
                await self._ask()
            except Unavailable:
                if force or not self._endpoints:
                    raise

    async def _ask(self) -> None:
        known = {endpoint.address for endpoint in self._endpoints}
        order = self._healthy_first([*self._seeds, *sorted(known - set(self._seeds))])
        channels = {address: self._channels.to(address) for address in order}
        answers: list[ListEndpointsResponse] = []
        failures: list[MulliganError] = []

        async def ask(address: str, done: anyio.Event) -> None:
            stub = CatalogStub(channels[address], timeout=ASK_TIMEOUT)
            began = time.perf_counter()
            try:
                answer = await stub.list_endpoints(ListEndpointsRequest())
                answers.append(answer)
                where = f"{answer.region}: {LISTING}" if answer.region else LISTING
                known = len(answer.endpoints)
                log.debug("%s at %s: %d instances, in %s", where, address, known, since(began))
                tasks.cancel_scope.cancel()
            except BROKEN as error:
                self._failed_at[address] = self._clock()
                failures.append(transport_error(error, address, self._channels.ca))
                log.debug("%s at %s failed: %s", LISTING, address, failures[-1].message)
            except GRPCError as error:
                failures.append(to_error(error, LISTING))
                log.debug("%s at %s failed: %s", LISTING, address, failures[-1].message)
            done.set()

        async with anyio.create_task_group() as tasks:
            for address in order:
                done = anyio.Event()
                tasks.start_soon(ask, address, done)
                with anyio.move_on_after(SLOW):
                    await done.wait()
                    continue
                self._failed_at[address] = self._clock()  # it hangs, or is slow: others go first
        if answers:
            self.take(answers[0])
            return
        failure = failures[-1] if failures else None
        if isinstance(failure, Unavailable):
            raise failure
        raise Unavailable(f"no address answers as Mulligan does: {failure}")

    def _healthy_first(self, addresses: Iterable[str]) -> list[str]:
        return sorted(addresses, key=lambda address: not self._is_healthy(address))
