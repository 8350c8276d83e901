"""Reading optional resources and collections of a BMC: few requests, bounded, forgiving."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import anyio

from mulligan.redfish.answers import Json, items, link, reference, section, whole
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.digests import note
from mulligan.redfish.faults import BmcFault

T = TypeVar("T")

_MEMBERS = 64
_PAGES = 8
_BAD = frozenset({"bad-answer", "not-redfish", "server-error", "refused", "forbidden"})
"""Faults of one resource that say nothing about the others."""


def expand_query(root: Json, levels: int = 1) -> str:
    """Return the query that expands a resource, empty where a service does not offer it."""
    offered = section(root, "ProtocolFeaturesSupported", "ExpandQuery")
    sign = "." if offered.get("NoLinks") is True else "*"
    if sign == "*" and offered.get("ExpandAll") is not True:
        return ""
    if offered.get("Levels") is not True:
        return f"?$expand={sign}"
    return f"?$expand={sign}($levels={min(levels, whole(offered.get('MaxLevels')) or 1)})"


class Reading:
    """Reads what may be missing; ``missing`` holds the names of what was.

    A member is handed to ``parse`` as soon as it is here and not kept: a BMC that sends much has
    it read twice at most at any time.
    """

    def __init__(self, bmc: BmcClient) -> None:
        self._bmc = bmc
        self._query = ""
        self.missing: set[str] = set()

    async def learn(self) -> None:
        """Find out whether the service expands collections."""
        self._query = expand_query(await self._bmc.root())

    @property
    def expands(self) -> bool:
        """Whether members come with their collection, as far as is known."""
        return bool(self._query)

    async def one(self, name: str, path: str) -> dict[str, Any] | None:
        """Read one resource; what the BMC has not, or answers badly for good, is missing."""
        body = await self._get(name, path) if path else None
        if body is None:
            self.missing.add(name)
        return body

    async def members(
        self,
        name: str,
        path: str,
        parse: Callable[[Json], T | None],
        *,
        limit: int = _MEMBERS,
        singly: int = _MEMBERS,
    ) -> list[T]:
        """Read a collection's members, at most ``limit``, or ``singly`` where each is a request."""
        if not path:
            self.missing.add(name)
            return []
        batch: _Batch[T] = _Batch(parse, limit=limit, singly=singly)
        body = await self._expanded(name, path)
        if body is None:
            self.missing.add(name)
        for _ in range(_PAGES):
            batch.take(items((body or {}).get("Members")))
            following = reference((body or {}).get("Members@odata.nextLink"))
            if not following or batch.left_out:
                break
            body = await self._get(name, following)
        return await self._complete(name, batch)

    async def each(
        self,
        name: str,
        listed: list[Any],
        parse: Callable[[Json], T | None],
        *,
        limit: int = _MEMBERS,
        singly: int = _MEMBERS,
    ) -> list[T]:
        """Read what a list refers to, or holds already, in its order and each once."""
        batch: _Batch[T] = _Batch(parse, limit=limit, singly=singly)
        batch.take(listed)
        return await self._complete(name, batch)

    async def _complete(self, name: str, batch: "_Batch[T]") -> list[T]:
        """Read what a batch only refers to, and return all that was found."""
        if batch.left_out:
            note(f"{name}: more than {len(batch.found)} members, the others were not read")
        answered = 0

        async def read(path: str) -> None:
            nonlocal answered
            body = await self._get(name, path)
            if body is not None:
                answered += 1
                batch.found[path] = batch.parse(body)

        try:
            async with anyio.create_task_group() as group:
                for path in batch.wanted:
                    group.start_soon(read, path)
        except* BmcFault as faults:
            raise first_of(faults) from None
        if batch.wanted and not answered:
            self.missing.add(name)
        return [value for value in batch.found.values() if value is not None]

    async def _expanded(self, name: str, path: str) -> dict[str, Any] | None:
        """Read a collection with its members, where the BMC does that as it says."""
        if self._query and "?" not in path:
            body = await self._get(name, path + self._query)
            if body is not None and "Members" in body:
                return body
        body = await self._get(name, path)
        if body is not None and self._query:
            note("collections are read member by member: the BMC does not expand as it says")
            self._query = ""
        return body

    async def unit(self, name: str, path: str) -> dict[str, Any] | None:
        """Read one resource with what is below it, if the BMC does that; None if it has none."""
        if self._query and (body := await self._get(name, path + self._query)) is not None:
            return body
        return await self._get(name, path)

    async def _get(self, name: str, path: str) -> dict[str, Any] | None:
        try:
            reply = await self._bmc.get_optional(path)
        except BmcFault as fault:
            if fault.fault not in _BAD:
                raise
            note(f"{name}: {fault.message}")
            return None
        return None if reply is None else reply.body


class _Batch(Generic[T]):
    """Members on their way: read already, or ``wanted`` by their path; bounded in number."""

    def __init__(self, parse: Callable[[Json], T | None], *, limit: int, singly: int) -> None:
        self.parse = parse
        self.found: dict[str, T | None] = {}
        self.wanted: list[str] = []
        self.left_out = False
        self._limit = limit
        self._singly = singly

    def take(self, listed: list[Any]) -> None:
        """Take what a list refers to, or holds: each once, until there is enough."""
        for member in listed:
            path, expanded = link(member), len(section(member)) > 1
            key = path or f"#{len(self.found)}"
            if key in self.found or not (path or expanded):
                continue
            full = len(self.found) == self._limit
            if full or (not expanded and len(self.wanted) == self._singly):
                self.left_out = True
                return
            self.found[key] = self.parse(member) if expanded else None
            if not expanded:
                self.wanted.append(path)


def first_of(faults: BaseExceptionGroup[BmcFault]) -> BmcFault:
    """Return the first of several faults that ended tasks side by side."""
    first = faults.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
