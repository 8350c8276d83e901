"""Names of objects both ways, with what was looked up kept for a while."""

import dataclasses
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import anyio.lowlevel

from mulligan.client.calls import Calls
from mulligan.errors import InvalidArgument, MulliganError, NotFound
from mulligan.model import is_uuid, slug
from mulligan.proto.v1 import (
    DescribeRequest,
    DescribeResponse,
    Name,
    ResolveRequest,
    ResolveResponse,
)

KEPT = 10_000
"""Entries held; those unused longest give way."""
LIFE = 60.0
"""Seconds for which a name is believed."""
ABSENT_LIFE = 1.0
"""Seconds for which it is believed that there is none."""
BATCH = 1000
"""Names or UUIDs in one call: the service takes no more."""

_SERVICE = "service:"

Reply = TypeVar("Reply")
Found = TypeVar("Found")
Key = tuple[str, ...]
"""("uuid", UUID), or ("name", kind, project, slug)."""


class Lookups(Protocol):
    """The Meta service, as far as names need it."""

    async def resolve(self, message: ResolveRequest) -> ResolveResponse:
        """Find UUIDs by name or slug."""
        ...

    async def describe(self, message: DescribeRequest) -> DescribeResponse:
        """Find names by UUID."""
        ...


class _Entry(NamedTuple):
    name: Name | None
    until: float


class Names:
    """Looks names up through the Meta service; what many ask for at once goes in one call.

    An answer may be up to ``LIFE`` seconds old. What a call was refused for as NOT_FOUND is
    forgotten at once.
    """

    def __init__(self, meta: Lookups, clock: Callable[[], float] = time.monotonic) -> None:
        self._meta = meta
        self._clock = clock
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._describing = _Gathering(self._ask_names)
        self._resolving: dict[tuple[str, str], _Gathering[Name | None]] = {}

    async def resolve(self, kind: str, name: str, project: str = "") -> str:
        """Return the UUID of a name or slug; raise NotFound when nothing has it.

        ``project`` is the scope for kinds that are named by project, the caller's by default. A
        UUID is returned as it is, whether or not something has it.
        """
        if is_uuid(name):
            return name
        key = ("name", kind, project, slug(name))
        found, known = self._held(key)
        if not known:
            scope = (kind, project)
            gathering = self._resolving.get(scope)
            if gathering is None:
                gathering = self._resolving[scope] = _Gathering(
                    lambda names: self._ask_uuids(kind, project, names)
                )
            try:
                found = (await gathering.get([slug(name)]))[slug(name)]
            finally:
                if gathering.idle and self._resolving.get(scope) is gathering:
                    del self._resolving[scope]
        if found is None:
            raise NotFound(kind, name)
        return found.uuid

    async def describe(self, uuids: Iterable[str]) -> dict[str, Name]:
        """Return what objects are called, by UUID; those without a name are left out.

        A machine and the provider of its resources share a UUID and a name. Services that act in
        the log, as ``service:resource``, have no other name, and nobody, as who is denied a login
        may be, has none. Raise InvalidArgument for what else
        is no UUID.
        """
        found: dict[str, Name | None] = {}
        wanted: list[str] = []
        for uuid in dict.fromkeys(uuids):
            if not uuid or uuid.startswith(_SERVICE):
                continue
            name, known = self._held(("uuid", uuid))
            if known:
                found[uuid] = name
            else:
                wanted.append(uuid)
        for start in range(0, len(wanted), BATCH):
            found |= await self._describing.get(wanted[start : start + BATCH])
        return {uuid: name for uuid, name in found.items() if name is not None}

    def forget(self, text: str) -> None:
        """Drop what is known of a UUID, or of a name in any scope."""
        self.forget_all([text])

    def forget_all(self, texts: Iterable[str]) -> None:
        """Drop what is known of UUIDs and names."""
        gone = {slug(text) for text in texts}
        stale = [
            key
            for key, entry in self._entries.items()
            if key[-1] in gone or (entry.name is not None and entry.name.uuid in gone)
        ]
        for key in stale:
            del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)

    def _held(self, key: Key) -> tuple[Name | None, bool]:
        entry = self._entries.get(key)
        if entry is None or entry.until <= self._clock():
            return None, False
        self._entries.move_to_end(key)
        return entry.name, True

    def _keep(self, key: Key, name: Name | None) -> None:
        life = ABSENT_LIFE if name is None else LIFE
        self._entries[key] = _Entry(name, self._clock() + life)
        self._entries.move_to_end(key)
        while len(self._entries) > KEPT:
            self._entries.popitem(last=False)

    async def _ask_names(self, uuids: list[str]) -> Mapping[str, Name | None]:
        answer = await self._meta.describe(DescribeRequest(uuids=uuids))
        found: dict[str, Name | None] = dict.fromkeys(uuids)
        found |= {name.uuid: name for name in answer.names}
        for uuid, held in found.items():
            self._keep(("uuid", uuid), held)
        return found

    async def _ask_uuids(
        self, kind: str, project: str, slugs: list[str]
    ) -> Mapping[str, Name | None]:
        request = ResolveRequest(kind=kind, names=slugs, project=project)
        answer = await self._meta.resolve(request)
        found: dict[str, Name | None] = dict.fromkeys(slugs)
        for name in reversed(answer.names):  # of two scopes the nearer one comes first
            found[name.slug] = name
        for one, held in found.items():
            self._keep(("name", kind, project, one), held)
            if held is not None:
                self._keep(("uuid", held.uuid), held)
        return found


class _Batch(Generic[Found]):
    """Keys that go in one call, and what becomes of it."""

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}
        self.done = anyio.Event()
        self.found: Mapping[str, Found] | None = None
        self.error: MulliganError | None = None


class _Gathering(Generic[Found]):
    """Makes one call of what several tasks ask for before it is sent."""

    def __init__(self, ask: Callable[[list[str]], Awaitable[Mapping[str, Found]]]) -> None:
        self._ask = ask
        self._open: _Batch[Found] | None = None
        self._in_use = 0

    @property
    def idle(self) -> bool:
        """Whether nobody waits for it."""
        return not self._in_use

    async def get(self, keys: list[str]) -> Mapping[str, Found]:
        """Return what was found for these keys (at most ``BATCH``); raise what the call raises."""
        self._in_use += 1
        try:
            while True:
                batch = await self._take_part(keys)
                if isinstance(batch.error, InvalidArgument) and len(batch.keys) > len(keys):
                    return await self._ask(keys)  # it may be another's key that was malformed
                if batch.error is not None:
                    raise batch.error
                if batch.found is not None:
                    return {key: batch.found[key] for key in keys}
        finally:
            self._in_use -= 1

    async def _take_part(self, keys: list[str]) -> _Batch[Found]:
        """Return a finished batch with these keys; without result if its sender was cancelled."""
        batch = self._open
        if batch is not None and len(batch.keys.keys() | set(keys)) <= BATCH:
            batch.keys.update(dict.fromkeys(keys))
            await batch.done.wait()
            return batch
        batch = self._open = _Batch()
        batch.keys.update(dict.fromkeys(keys))
        try:
            await anyio.lowlevel.checkpoint()  # whoever is about to ask comes along
            self._close(batch)
            batch.found = await self._ask(list(batch.keys))
        except MulliganError as error:
            batch.error = error
        finally:
            self._close(batch)
            batch.done.set()
        return batch

    def _close(self, batch: _Batch[Found]) -> None:
        if self._open is batch:
            self._open = None


class MindfulCalls(Calls):
    """Calls that tell ``names`` to forget what a request named and the services do not find."""

    names: Names | None = None

    async def unary(
        self, route: str, request: Any, reply: type[Reply], timeout: float | None = None
    ) -> Reply:
        """Send a request as Calls does, and raise as it does."""
        try:
            return await super().unary(route, request, reply, timeout)
        except NotFound:
            if self.names is not None:
                self.names.forget_all(texts_of(request))
            raise


def texts_of(message: Any) -> Iterator[str]:
    """Yield every text in a message, however deep."""
    match message:
        case str():
            yield message
        case list() | tuple():
            for one in message:
                yield from texts_of(one)
        case dict():
            for key, value in message.items():
                yield from texts_of(key)
                yield from texts_of(value)
        case _ if dataclasses.is_dataclass(message) and not isinstance(message, type):
            for field in dataclasses.fields(message):
                yield from texts_of(getattr(message, field.name))
