"""A region in memory: what the console asks, answered at once or as a test says."""

import random
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import anyio
import anyio.lowlevel
import msgspec
from anyio.streams.memory import MemoryObjectSendStream

from mulligan.console.brief import MachineBrief, Place
from mulligan.console.source import Moment, Pulse, Source
from mulligan.console.theme import STATES
from mulligan.diagnosis.found import Status
from mulligan.errors import MulliganError, NotFound, Unavailable
from mulligan.proto import v1

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
SHARES = {
    "active": 0.62,
    "available": 0.2,
    "deploying": 0.05,
    "cleaning": 0.04,
    "manageable": 0.03,
    "failed": 0.015,
    "inspecting": 0.015,
    "enrolled": 0.01,
    "retired": 0.01,
    "rescue": 0.01,
}


def fleet(count: int, seed: int = 1) -> tuple[list[MachineBrief], list[Place], dict[str, str]]:
    """Return machines of every state in racks of 40, these in rows of ten, these in sites."""
    rng = random.Random(seed)
    states = rng.choices(list(SHARES), list(SHARES.values()), k=count)
    racks = -(-count // 40)
    places = [Place(uuid=f"site-{n}", name=f"site-{n}") for n in range(-(-racks // 80))]
    places += [
        Place(uuid=f"row-{n}", name=f"row-{n}", parent=f"site-{n // 8}")
        for n in range(-(-racks // 10))
    ]
    places += [
        Place(uuid=f"rack-{n}", name=f"rack-{n}", parent=f"row-{n // 10}") for n in range(racks)
    ]
    machines = [_machine(n, state, rng) for n, state in enumerate(states)]
    return machines, places, {one.uuid: f"rack-{n // 40}" for n, one in enumerate(machines)}


def _machine(number: int, state: str, rng: random.Random) -> MachineBrief:
    assert state in STATES
    failed = state == "failed"
    return MachineBrief(
        uuid=f"m-{number}",
        name=f"node-{number}",
        state=state,
        failed="deploy" if failed else "",
        fault="bmc_unreachable: no answer from the BMC" if failed else "",
        health="critical" if rng.random() < 0.01 else "warning" if rng.random() < 0.02 else "ok",
        cordon="cordoned" if rng.random() < 0.02 else "",
        make="Dell Inc. PowerEdge R660" if rng.random() < 0.6 else "HPE ProLiant DL360",
        operation="deploy: insert_media 5/9" if state == "deploying" else "",
        power="on",
    )


class FakeSource(Source):
    """A source without a region; ``away`` has every question answered by Unavailable.

    ``lists_away`` answers lists alone so, as without read models; ``hitches`` are raised one by
    one where a machine is read; moments are found once ``made`` is set.
    """

    def __init__(self, count: int = 0, seed: int = 1) -> None:
        super().__init__(cast(Any, None))
        listed, self._places, self._parents = fleet(count, seed)
        self.fleet = {one.uuid: one for one in listed}
        self.head_now = 1000
        self.away = ""
        self.lists_away = ""
        self.hitches: list[MulliganError] = []
        self.made = anyio.Event()
        self.made.set()
        self.making: list[str] = []
        self.reads: list[str] = []
        self.known: dict[str, str] = {}
        self._told: list[MemoryObjectSendStream[v1.LogRecord]] = []

    @property
    def region(self) -> str:
        return "east"

    def go_to(self, moment: Moment) -> None:
        self.moment = moment

    def go_live(self) -> None:
        self.moment = None

    async def find(self, wanted: str, told: Callable[[str], None]) -> Moment:
        for text in self.making:
            told(text)
            await anyio.lowlevel.checkpoint()
        await self.made.wait()
        if wanted.isdecimal():
            return await self.entry(int(wanted))
        at = datetime.fromisoformat(wanted)
        return Moment(max(1, self.head_now + round((at - NOON).total_seconds() / 60)), at)

    async def pulse(self) -> Pulse:
        if self.away:
            return Pulse(region=self.region, trouble=self.away, what="no answer")
        return Pulse(region=self.region, head=self.head_now)

    async def status(self) -> Status:
        raise Unavailable("nobody tells")

    async def head(self) -> int:
        self._require()
        return self.head_now

    async def machines(self) -> AsyncIterator[list[MachineBrief]]:
        self._require()
        if self.lists_away:
            raise Unavailable(self.lists_away)
        self.reads.append("all")
        listed = list(self.fleet.values())
        for start in range(0, max(1, len(listed)), 500):
            yield listed[start : start + 500]
            await anyio.lowlevel.checkpoint()

    async def machine(self, uuid: str) -> v1.Machine:
        self._require()
        self.reads.append(uuid)
        if self.hitches:
            raise self.hitches.pop()
        if uuid not in self.fleet:
            raise NotFound("machine", uuid)
        return message(self.fleet[uuid])

    async def names(self, uuids: list[str]) -> Mapping[str, str]:
        self._require()
        return {uuid: self.known[uuid] for uuid in uuids if uuid in self.known}

    async def history(self, uuid: str, limit: int = 12) -> list[v1.Cause]:
        return [v1.Cause(at=NOON, actor="ada", what="machine enrolled")]

    async def places(self) -> list[Place]:
        self._require()
        return self._places

    async def machine_places(self) -> AsyncIterator[list[Place]]:
        yield [Place(uuid=uuid, name=uuid, parent=up) for uuid, up in self._parents.items()]

    async def parent(self, uuid: str) -> str:
        return self._parents.get(uuid, "")

    async def rack(self, uuid: str) -> str:
        return self._parents.get(uuid, "")

    async def watch(
        self, *, after: int | None = None, only: v1.LogFilter | None = None
    ) -> AsyncIterator[v1.LogRecord]:
        self._require()
        send, receive = anyio.create_memory_object_stream[v1.LogRecord](10_000)
        self._told.append(send)
        try:
            async with send, receive:
                async for record in receive:
                    self._require()
                    yield record
        finally:
            self._told.remove(send)

    async def entry(self, seq: int) -> Moment:
        if not 1 <= seq <= self.head_now:
            raise NotFound("entry", str(seq))
        return Moment(seq, NOON - timedelta(minutes=self.head_now - seq))

    def change(self, uuid: str, **changes: Any) -> None:
        """Change a machine, and have the log tell of it."""
        self.fleet[uuid] = msgspec.structs.replace(self.fleet[uuid], **changes)
        self.tell(uuid)

    def remove(self, uuid: str) -> None:
        """Delete a machine, and have the log tell of it."""
        del self.fleet[uuid]
        self.tell(uuid)

    def tell(self, uuid: str) -> None:
        """Have the log tell of a machine."""
        self.head_now += 1
        record = v1.LogRecord(
            position=v1.Position(region=self.region, seq=self.head_now),
            events=[v1.LogEvent(stream=f"machine/{uuid}", type="machine.changed")],
        )
        for one in self._told:
            one.send_nowait(record)

    def _require(self) -> None:
        if self.away:
            raise Unavailable(self.away)


def message(one: MachineBrief) -> v1.Machine:
    """Return a machine as the services tell of it."""
    make, _, model = one.make.partition(" ")
    fault, _, text = one.fault.partition(": ")
    return v1.Machine(
        uuid=one.uuid,
        name=one.name,
        state=v1.MachineState[one.state.upper()],
        failed_operation=one.failed,
        power=v1.PowerStatus(observed=one.power),
        health=v1.HealthStatus(health=one.health),
        facts=v1.Facts(manufacturer=make, model=model, cpu_sockets=2, cpu_model="Xeon 6430"),
        fault=v1.Fault(fault=fault, message=text, since=NOON) if one.fault else None,
        operation=_operation(one),
        cordon=v1.MachineCordon(reason="fan") if one.cordon else None,
        claim=one.claim,
        project=one.project,
        created_at=NOON,
        updated_at=one.updated,
    )


def _operation(one: MachineBrief) -> v1.Operation | None:
    if not one.operation:
        return None
    return v1.Operation(verb="deploy", step="insert_media", step_number=5, steps=9, attempt=1)
