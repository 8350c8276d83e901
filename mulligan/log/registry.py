"""Presence over leases: who serves what, and who owns which share of the work."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager

import anyio
import msgspec

from mulligan.errors import Exhausted, MulliganError, NotFound, Unavailable
from mulligan.log.etcd import Compacted, Compare, Etcd, Put, WatchLost, prefix_end
from mulligan.log.protocol import Fence, Fenced

TTL = 10
"""Seconds that a lease outlives its last renewal."""

_RETRY = 0.5


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One live instance of a service, as it registered itself."""

    instance: str
    endpoint: str
    version: str = ""
    attributes: dict[str, str] = {}

    @property
    def draining(self) -> bool:
        """Whether it finishes what it has and takes nothing more."""
        return "draining" in self.attributes


Members = Mapping[str, Member]
"""Live members by their key."""

_decoder = msgspec.json.Decoder(Member)


class Registration:
    """Keeps one lease key alive for as long as ``hold`` runs.

    A service's presence may be taken over by its next incarnation (``exclusive`` false); a share
    of work has one owner, and whoever comes second waits. ``admit`` tells, before each tenure,
    what must hold in etcd at its beginning; it raises Unavailable while there must be none.
    """

    def __init__(
        self,
        etcd: Etcd,
        key: str,
        value: bytes,
        *,
        exclusive: bool = False,
        ttl: int = TTL,
        rng: random.Random | None = None,
        admit: Callable[[], Awaitable[Sequence[Compare]]] | None = None,
    ) -> None:
        self._admit = admit
        self._rng = rng or random.Random()
        self.key = key
        self._etcd = etcd
        self._value = value
        self._exclusive = exclusive
        self._ttl = ttl
        self._lease = 0
        self._created = 0
        self._held_until = 0.0
        self._changed = anyio.Event()

    @property
    def held(self) -> bool:
        """Whether the key is ours, as far as can be known without asking."""
        return self._created > 0 and anyio.current_time() < self._held_until

    def fence(self) -> Fence:
        """Return the fence of the present tenure; raise Fenced when there is none."""
        if not self.held:
            raise Fenced(f"{self.key} is not held")
        return Fence(key=self.key, create_revision=self._created)

    async def acquired(self) -> None:
        """Return once the key is ours."""
        while not self.held:
            await self._changed.wait()

    async def describe(self, value: bytes) -> None:
        """Register another value from now on; the tenure goes on, and so does its fence."""
        self._value = value
        if self._created:
            await self._etcd.txn(
                [Compare(self.key, "create", self._created)], [Put(self.key, value, self._lease)]
            )

    @asynccontextmanager
    async def hold(self) -> AsyncIterator["Registration"]:
        """Register, stay registered, and give the key back at the end of the block."""
        raised: Exception | None = None  # by the block: it leaves as it is, in no group
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run, name=f"registration {self.key}")
            try:
                yield self
            except Exception as error:
                raised = error
            finally:
                tasks.cancel_scope.cancel()
                await self._give_back()
        if raised is not None:
            raise raised

    async def _run(self) -> None:
        while True:
            try:
                if await self._register():
                    await self._keep_alive()
            except (Unavailable, Exhausted, NotFound):
                pass
            await anyio.sleep(_RETRY * self._rng.uniform(0.5, 1.0))

    async def _register(self) -> bool:
        began = anyio.current_time()
        if not self._lease:
            self._lease = await self._etcd.lease_grant(self._ttl)
        else:
            await self._renew()
        conditions = [Compare(self.key, "create", 0)] if self._exclusive else []
        conditions += await self._admit() if self._admit is not None else []
        answer = await self._etcd.txn(conditions, [Put(self.key, self._value, self._lease)])
        found = await self._etcd.get(self.key)
        if found is None or found.lease != self._lease:
            return False
        self._created = found.create_revision
        if answer.succeeded:
            self._held_until = began + self._ttl
        self._announce()
        return True

    async def _keep_alive(self) -> None:
        while True:
            await anyio.sleep(self._ttl / 4)
            try:
                await self._renew()
            except Unavailable:
                if anyio.current_time() >= self._held_until:
                    raise
                continue
            found = await self._etcd.get(self.key)
            if found is None or found.create_revision != self._created:
                self._created = 0
                return

    async def _renew(self) -> None:
        began = anyio.current_time()
        try:
            await self._etcd.lease_keepalive(self._lease)
        except NotFound:
            self._lease = self._created = 0
            raise
        self._held_until = began + self._ttl

    async def _give_back(self) -> None:
        lease, self._lease, self._created = self._lease, 0, 0
        if not lease:
            return
        with anyio.move_on_after(2, shield=True):
            try:
                await self._etcd.lease_revoke(lease)
            except MulliganError:
                return  # it expires by itself

    def _announce(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


def member_value(member: Member) -> bytes:
    """Return the JSON that a service registers."""
    return msgspec.json.encode(member)


class Membership:
    """The live members under a prefix, kept up to date while ``run`` runs."""

    def __init__(
        self,
        etcd: Etcd,
        prefix: str,
        on_change: Callable[[Members], None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._rng = rng or random.Random()
        self._etcd = etcd
        self._prefix = prefix
        self._on_change = on_change
        self._members: dict[str, Member] = {}
        self.known = anyio.Event()
        self.bell = anyio.Event()
        """Rings when ``members`` change; take it before reading them, for the next is another."""

    @property
    def members(self) -> Members:
        """Who is alive; the last known answer while etcd is away."""
        return self._members

    async def run(self) -> None:
        """Follow the members for ever, across lost connections and compactions."""
        while True:
            try:
                await self._follow()
            except (Unavailable, Exhausted, WatchLost, Compacted):
                await anyio.sleep(_RETRY * self._rng.uniform(0.5, 1.0))

    async def _follow(self) -> None:
        found = await self._etcd.range_prefix(self._prefix)
        self._become({kv.key: m for kv in found.kvs if (m := read_member(kv.value))})
        self.known.set()
        watch = self._etcd.watch(
            self._prefix, prefix_end(self._prefix), revision=found.revision + 1
        )
        async with aclosing(watch) as batches:
            async for changes in batches:
                members = dict(self._members)
                for change in changes:
                    member = None if change.deleted else read_member(change.value)
                    if member:
                        members[change.key] = member
                    else:
                        members.pop(change.key, None)
                self._become(members)

    def _become(self, members: dict[str, Member]) -> None:
        if members != self._members:
            self._members = members
            bell, self.bell = self.bell, anyio.Event()
            bell.set()
            if self._on_change:
                self._on_change(members)


def read_member(value: bytes) -> Member | None:
    """Return what a service registered; None if it is of a form that only a newer release knows."""
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError:
        return None


@asynccontextmanager
async def watch_members(
    etcd: Etcd, prefix: str, on_change: Callable[[Members], None] | None = None
) -> AsyncIterator[Membership]:
    """Follow the members under ``prefix`` until the block ends; the first answer may be to come."""
    membership = Membership(etcd, prefix, on_change)
    raised: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(membership.run, name=f"members of {prefix}")
        try:
            yield membership
        except Exception as error:
            raised = error
        finally:
            tasks.cancel_scope.cancel()
    if raised is not None:
        raise raised
