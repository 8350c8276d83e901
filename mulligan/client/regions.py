"""Other regions than the one a client was given: who they are, a client of each, all at once."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import anyio

from mulligan.client.neighbours import Known, Vouched, breadth_first, known_to
from mulligan.errors import (
    DeadlineExceeded,
    InvalidArgument,
    MulliganError,
    NotFound,
    Unauthenticated,
)
from mulligan.proto.v1 import Region

if TYPE_CHECKING:
    from mulligan.client.client import Client

MOST = 64
"""Regions that are followed, and that are asked at once."""
DEADLINE_S = 10.0
"""Seconds that one region may take, unless the caller says otherwise."""
LISTING_S = 5.0
"""Seconds that a region may take to tell which others it knows."""

Value = TypeVar("Value")
Opener = Callable[[str, Region | None], "Client"]
"""Makes a client of a region from its record, or from the user's contexts where there is none."""


class Outcome(NamedTuple, Generic[Value]):
    """What became of a call in one region: a value, or an error."""

    region: str
    value: Value | None
    error: MulliganError | None


class Regions:
    """The regions that can be reached from ``home``; their clients end with it.

    ``open_`` makes a client of one of them. ``contexts`` returns the names of regions that the
    user's own contexts lead to: these are asked as the user says, whatever a peer says of them.
    """

    def __init__(
        self, home: "Client", open_: Opener, contexts: Callable[[], Mapping[str, str]]
    ) -> None:
        self._home = home
        self._open = open_
        self._contexts = contexts
        self._clients: dict[str, Client] = {}
        self._known: Known = {}
        self._asking = anyio.Lock()

    async def list(self) -> Sequence[Region]:
        """Return the regions that home knows, those that these know, and so on, at most ``MOST``.

        Home comes first, then the nearest. What the nearer region says of another one counts. A
        region that does not answer is listed as others know it. Raise what home's call raises.
        """
        self._known = await breadth_first(
            await known_to(self._home), self._told_by, most=MOST, deadline_s=LISTING_S
        )
        return [vouched.region for vouched in self._known.values()]

    async def client(self, name: str) -> "Client":
        """Return the client of a region, made when it is first asked for; it ends with home's.

        A context of the user's file whose region is this one says how it is reached and as whom.
        Otherwise the region's record says how, and the account and secret are home's: only to
        regions that home itself names, as others might name an impostor. Raise NotFound for a
        region that nobody knows, and Unauthenticated for one that needs a context.
        """
        if name == self._home.region or not name:
            return self._home
        if name not in self._clients and name not in self._contexts():
            record = await self._record(name)
            return self._home if record.home else self._opened(name, record)
        return self._opened(name, None)

    async def each(
        self,
        names: Iterable[str],
        call: Callable[["Client"], Awaitable[Value]],
        deadline_s: float = DEADLINE_S,
    ) -> Sequence[Outcome[Value]]:
        """Make a call in several regions at once; return what became of it in each, in order.

        No region has more than ``deadline_s`` seconds, and none waits for another. Errors of
        ``mulligan.errors`` are outcomes, others are raised. At most ``MOST`` regions are asked.
        """
        wanted = list(dict.fromkeys(names))
        if len(wanted) > MOST:
            raise InvalidArgument("regions", f"{len(wanted)} are too many; name {MOST} at most")
        outcomes: dict[str, Outcome[Value]] = {}

        async def ask(name: str) -> None:
            outcomes[name] = await self._outcome(name, call, deadline_s)

        async with anyio.create_task_group() as tasks:
            for name in wanted:
                tasks.start_soon(ask, name)
        return [outcomes[name] for name in wanted]

    async def everywhere(
        self, call: Callable[["Client"], Awaitable[Value]], deadline_s: float = DEADLINE_S
    ) -> Sequence[Outcome[Value]]:
        """Make a call in every region that ``list`` finds, as ``each`` does and in its order.

        A region is called as soon as it is heard of, and not only when all that are away have been
        waited for. Raise what asking home whom it knows raises.
        """
        outcomes: dict[str, Outcome[Value]] = {}
        near = await known_to(self._home)
        self._known = {region.name: Vouched(region, True) for region in near}

        async with anyio.create_task_group() as tasks:

            async def ask(name: str) -> None:
                outcomes[name] = await self._outcome(name, call, deadline_s)

            def begin(name: str) -> None:
                if name not in begun:
                    begun.add(name)
                    tasks.start_soon(ask, name)

            async def told_by(vouched: Vouched) -> Sequence[Region]:
                self._known.setdefault(vouched.region.name, vouched)
                begin(vouched.region.name)
                return await self._told_by(vouched)

            begun: set[str] = set()
            begin(near[0].name)
            known = await breadth_first(near, told_by, most=MOST, deadline_s=LISTING_S)
            self._known = known
            for name in known:
                begin(name)
        return [outcomes[name] for name in known]

    async def _outcome(
        self, name: str, call: Callable[["Client"], Awaitable[Value]], deadline_s: float
    ) -> Outcome[Value]:
        """Make a call in a region within a time, and return what became of it."""
        try:
            with anyio.fail_after(deadline_s):
                return Outcome(name, await call(await self.client(name)), None)
        except MulliganError as error:
            return Outcome(name, None, error)
        except TimeoutError:
            late = DeadlineExceeded(f"region {name} did not answer within {deadline_s:g} s")
            return Outcome(name, None, late)

    def close(self) -> None:
        """Close the clients of all other regions."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    async def aclose(self) -> None:
        """Close them, and return when nothing of them runs any more."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def _opened(self, name: str, record: Region | None) -> "Client":
        if name not in self._clients:
            self._clients[name] = self._open(name, record)
        return self._clients[name]

    async def _record(self, name: str) -> Region:
        """Return what home says of a region; ask again if it has not been heard of."""
        async with self._asking:
            if name not in self._known:
                await self.list()
        vouched = self._known.get(name)
        if vouched is None:
            raise self._unknown(name)
        if not vouched.by_home:
            raise Unauthenticated(
                f"region {name!r} is known through others only, who do not get your secret: "
                f"`mulligan login --context {name} --address HOST:PORT --ca FILE`, or have "
                f"an operator connect it to region {self._home.region!r}"
            )
        return vouched.region

    async def _told_by(self, vouched: Vouched) -> Sequence[Region]:
        """Return whom a region knows; it is asked as nobody where it is not home that names it."""
        region = vouched.region
        if region.name in self._contexts():
            return await known_to(self._opened(region.name, None))
        if not region.addresses:
            return []
        if vouched.by_home:
            return await known_to(self._opened(region.name, region))
        stranger = self._open("", region)
        try:
            return await known_to(stranger, anonymous=True)
        finally:
            stranger.close()

    def _unknown(self, name: str) -> NotFound:
        error = NotFound("region", name)
        known = ", ".join(self._known) or "none"
        error.message = f"region {name!r} is not known to {self._home.region!r}; known: {known}"
        return error
