"""Machines are watched between operations: what is seen of them, and how often they are asked."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
from msgspec.structs import replace

from mulligan.events import machine as ev
from mulligan.events.codec import Codec, decode_entry
from mulligan.events.machine import Bmc
from mulligan.handlers.decision import Change, Command, States
from mulligan.handlers.machine import Machine
from mulligan.log.memory import MemoryDisk
from mulligan.model import (
    AccountId,
    CommitId,
    CredentialId,
    MachineId,
    StreamId,
    stream_id,
    utc_now,
)
from mulligan.redfish.bmc import BmcClient, Login
from mulligan.redfish.event_stream import BYTES_PER_S, StreamBroken, listen, open_session
from mulligan.redfish.first_contact import certificate_fingerprint
from mulligan.redfish.sse import EventParser, ServerSentEvent
from mulligan.redfish.watch import WatchTimings, jittered
from mulligan.redfish.watching import Watcher
from mulligan.tls import TlsFiles, issue, make_ca, server_context, write_pair
from tests.commands.region import Process, process, request
from tests.redfish.conftest import QUICK, Connect
from tests.redfish.scripted_bmc import SYSTEM, answer, stall, status
from tests.redfish.streaming_bmc import EVENTS, SSE, StreamingBmc

M1 = MachineId("m1")
OP = CommitId("op-1")
PACE = WatchTimings(
    interval=0.05,
    streaming=30,
    longest=0.2,
    settle=0.02,
    read=5,
    closer=1,
    silence=5,
    reopen=0.05,
    longest_reopen=0.1,
    proven=5,
)
"""A watcher in a hurry; what a test waits for comes long before its deadlines."""

HARDWARE: dict[str, Any] = {
    "MessageId": "Power.1.0.PowerSupplyFailed",
    "MessageSeverity": "Critical",
    "Message": "Power supply 1 has failed.",
}


class Happens(Command, frozen=True, kw_only=True):
    """Events of a machine that no command here decides."""

    NAME: ClassVar = "test.happens"
    machine: MachineId
    events: tuple[Any, ...]

    def reads(self, states: States) -> list[StreamId]:
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: Any) -> list[Change]:
        return [Change(stream_id("machine", self.machine), event) for event in self.events]


def started(verb: ev.Verb = "inspect", then: str = "manageable") -> ev.OperationStarted:
    return ev.OperationStarted(
        operation=OP,
        verb=verb,
        steps=("check",),
        deadline=utc_now() + timedelta(hours=1),
        then=then,
    )


ENDED = ev.OperationCompleted(operation=OP)


class Site:
    """One region, one watcher, and BMCs; ``mine`` can be changed."""

    def __init__(self, p: Process, disk: MemoryDisk, timings: WatchTimings, streams: int) -> None:
        self.p = p
        self._disk = disk
        self.mine = True
        self.bmcs: dict[str, StreamingBmc] = {}
        self.ca_file: str | None = None
        self._clients: dict[str, BmcClient] = {}
        self._limiter = anyio.CapacityLimiter(20)
        fence = disk.grant("executor")
        self.watcher = Watcher(
            p.commands,
            instance="executor-1",
            mine=lambda key: self.mine,
            fence=lambda: fence,
            find_watched=self._find,
            client_of=self._client,
            timings=timings,
            streams=streams,
            rng=random.Random(1),
        )

    async def _find(self, after: str) -> Sequence[MachineId]:
        return [MachineId(key) for key in sorted(self.bmcs) if key > after][:2]

    async def _client(self, machine: Machine) -> BmcClient:
        if machine.id not in self._clients:
            self._clients[machine.id] = BmcClient(
                machine.bmc,
                Login("admin", "s3cret-Passw0rd"),
                limiter=self._limiter,
                timings=replace(QUICK, connect=5, read=5),
                ca_file=self.ca_file,
            )
        return self._clients[machine.id]

    async def enrol(self, bmc: StreamingBmc, key: str = M1, **fields: Any) -> None:
        """Have a machine at rest."""
        self.bmcs[key] = bmc
        enrolled = ev.MachineEnrolled(
            machine=MachineId(key),
            name=key,
            bmc=Bmc(address=bmc.address, credential=CredentialId("lab"), **fields),
        )
        on = ev.PowerObserved(power="on", at=utc_now())
        await self.happens(enrolled, started(), ENDED, on, key=key)

    async def happens(self, *events: Any, key: str = M1) -> None:
        await self.p.commands.execute(Happens(machine=MachineId(key), events=events), request())

    async def machine(self, key: str = M1) -> Machine:
        state: Machine = (await self.p.commands.state(stream_id("machine", key))).state
        return state

    def told(self) -> list[tuple[str, str, int]]:
        """Every hardware event in the log: kind, message id, and how many more."""
        return [(e.kind, e.condition.message_id, e.more) for e in self.events(ev.HardwareEventSeen)]

    def events(self, type_: type[Any]) -> list[Any]:
        """Every event of this type in the log."""
        entries = [
            decode_entry(self._disk.entries[seq].value) for seq in sorted(self._disk.entries)
        ]
        records = [r for entry in entries for commit in entry.commits for r in commit.events]
        return [Codec().event(r) for r in records if r.type == type_.TYPE]

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


@asynccontextmanager
async def site(timings: WatchTimings = PACE, streams: int = 100) -> AsyncIterator[Site]:
    disk = MemoryDisk()
    async with process(disk) as p:
        one = Site(p, disk, timings, streams)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.watcher.run)
                yield one
                tasks.cancel_scope.cancel()
        finally:
            await one.close()


@pytest.fixture
async def bmc() -> AsyncIterator[StreamingBmc]:
    """A BMC whose machine is on and well, and which offers no stream until told so."""
    scripted = StreamingBmc()
    scripted.power = "On"
    scripted.offers = {"ServiceEnabled": True}
    scripted.system_extra = {"Status": {"Health": "OK"}}
    await scripted.start()
    yield scripted
    await scripted.stop()


@pytest.fixture
def streaming(bmc: StreamingBmc) -> StreamingBmc:
    bmc.offers = {"ServiceEnabled": True, "ServerSentEventUri": SSE}
    return bmc


async def until(condition: Callable[[], Any]) -> None:
    with anyio.fail_after(8):
        while not condition():
            await anyio.sleep(0.005)


async def read_again(bmc: StreamingBmc, times: int = 2) -> None:
    """Wait until the system was read so often after now; a read in flight may count as one."""
    before = bmc.reads
    await until(lambda: bmc.reads >= before + times)


async def machine_where(one: Site, condition: Callable[[Machine], Any]) -> Machine:
    with anyio.fail_after(8):
        while not condition(machine := await one.machine()):
            await anyio.sleep(0.005)
    return machine


# -- polling ---------------------------------------------------------------------------------


async def test_a_change_of_power_is_seen_and_one_that_was_only_a_flicker_is_not(
    bmc: StreamingBmc,
) -> None:
    async with site() as one:
        await one.enrol(bmc)
        await read_again(bmc)
        bmc.script("GET", SYSTEM, answer({"PowerState": "Off", "Status": {"Health": "OK"}}))
        await read_again(bmc, 3)
        bmc.power = "Off"
        await machine_where(one, lambda machine: machine.power == "off")
        assert [e.power for e in one.events(ev.PowerObserved)] == ["on", "off"]


async def test_polls_that_find_nothing_new_leave_nothing_in_the_log(bmc: StreamingBmc) -> None:
    async with site() as one:
        await one.enrol(bmc)
        await machine_where(one, lambda machine: machine.health == "ok")
        head = one.p.log.head.seq
        await read_again(bmc, 5)
        assert one.p.log.head.seq == head


async def test_a_poll_is_one_read_of_the_system(bmc: StreamingBmc) -> None:
    async with site() as one:
        await one.enrol(bmc)
        await read_again(bmc)
        before = len(bmc.log)
        await read_again(bmc, 4)
        assert set(bmc.log[before:]) == {("GET", SYSTEM)}


async def test_health_is_seen_with_what_is_wrong_and_again_when_it_is_well(
    bmc: StreamingBmc,
) -> None:
    async with site() as one:
        await one.enrol(bmc)
        condition = {"Severity": "Critical", "MessageId": "MEM0001", "Message": "DIMM A1 failed"}
        bmc.system_extra = {"Status": {"Health": "Critical", "Conditions": [condition]}}
        sick = await machine_where(one, lambda machine: machine.health == "critical")
        assert [(c.component, c.message) for c in sick.conditions] == [("memory", "DIMM A1 failed")]
        bmc.system_extra = {"Status": {"Health": "OK"}}
        well = await machine_where(one, lambda machine: machine.health == "ok")
        assert well.conditions == ()


async def test_a_reading_in_a_message_does_not_make_it_news(bmc: StreamingBmc) -> None:
    def hot(degrees: int) -> dict[str, Any]:
        condition = {"Severity": "Warning", "MessageId": "TMP0118", "Message": f"{degrees} C"}
        return {"Status": {"Health": "Warning", "Conditions": [condition]}}

    async with site(replace(PACE, closer_again=0)) as one:
        await one.enrol(bmc)
        bmc.system_extra = hot(80)
        await machine_where(one, lambda machine: machine.health == "warning")
        for degrees in (81, 82, 83):
            bmc.system_extra = hot(degrees)
            await read_again(bmc)
        assert len(one.events(ev.HealthObserved)) <= 2, "one of them while it was well"


async def test_a_bmc_that_does_not_answer_is_unknown_once_and_comes_back(
    bmc: StreamingBmc,
) -> None:
    async with site() as one:
        await one.enrol(bmc)
        await machine_where(one, lambda machine: machine.health == "ok")
        bmc.script("GET", SYSTEM, status(500), times=2)
        await read_again(bmc, 4)
        assert (await one.machine()).power == "on", "two misses are no silence"
        bmc.script("GET", SYSTEM, status(500), times=4)
        away = await machine_where(one, lambda machine: machine.health == "unknown")
        assert away.power == "unknown"
        assert [(c.component, c.severity) for c in away.conditions] == [("bmc", "warning")]
        assert "cannot be read" in away.conditions[0].message
        back = await machine_where(one, lambda machine: machine.power == "on")
        assert (back.health, back.conditions) == ("ok", ())
        seen = [e.health for e in one.events(ev.HealthObserved)]
        assert seen == ["ok", "unknown", "ok"]
        assert [e.power for e in one.events(ev.PowerObserved)] == ["on", "unknown", "on"]


async def test_a_bmc_that_hangs_holds_up_no_other(bmc: StreamingBmc) -> None:
    bmc.script("GET", SYSTEM, stall(9, apply=False), times=99)
    other = StreamingBmc()
    other.power, other.offers = "On", {}
    await other.start()
    try:
        async with site(replace(PACE, read=0.2)) as one:
            await one.enrol(bmc)
            await one.enrol(other, key="m2")
            await read_again(other, 8)
            away = await machine_where(one, lambda machine: machine.conditions)
            assert away.power == "unknown"
            assert "0 s" in away.conditions[0].message
    finally:
        await other.stop()


async def test_a_bmc_that_states_no_health_is_unknown_and_in_no_trouble(bmc: StreamingBmc) -> None:
    bmc.system_extra = {}
    async with site() as one:
        await one.enrol(bmc)
        machine = await machine_where(one, lambda machine: machine.health == "unknown")
        assert (machine.power, machine.conditions) == ("on", ())


# -- whom ------------------------------------------------------------------------------------


async def test_nothing_is_read_while_an_operation_runs(bmc: StreamingBmc) -> None:
    async with site() as one:
        await one.enrol(bmc)
        await read_again(bmc)
        bmc.script("GET", SYSTEM, stall(9, apply=False), times=1)
        await until(lambda: not bmc._script)
        await one.happens(started("power", "manageable"))
        reads = bmc.reads
        for _ in range(3):
            await anyio.sleep(PACE.interval)
        assert bmc.reads == reads
        await one.happens(ENDED)
        await read_again(bmc)
        assert (await one.machine()).power == "on", "a read that was stopped is no miss"


@pytest.mark.parametrize(
    "event",
    [
        ev.MachineCordoned(by=AccountId("ann"), reason="new fans", maintenance=True),
        ev.MachineRetired(),
        ev.MachineDeleted(),
        ev.MachineAbandoned(reason="fire", unwiped=True),
    ],
)
async def test_a_machine_that_is_to_be_left_alone_is(bmc: StreamingBmc, event: Any) -> None:
    async with site() as one:
        await one.enrol(bmc)
        await read_again(bmc)
        await one.happens(event)
        await until(lambda: one.watcher.watched == 0)
        reads = bmc.reads
        await anyio.sleep(3 * PACE.interval)
        assert bmc.reads <= reads + 1


async def test_after_maintenance_a_machine_is_watched_again(bmc: StreamingBmc) -> None:
    async with site() as one:
        await one.enrol(bmc)
        await one.happens(ev.MachineCordoned(by=AccountId("ann"), reason="", maintenance=True))
        await until(lambda: one.watcher.watched == 0)
        await one.happens(ev.MachineUncordoned())
        await read_again(bmc)
        await one.happens(ev.MachineCordoned(by=AccountId("ann"), reason="a cordon alone"))
        await read_again(bmc)


async def test_machines_of_before_are_found_and_let_go_on_hand_over(
    streaming: StreamingBmc,
) -> None:
    async with site() as one:
        one.mine = False
        await one.enrol(streaming)
        one.watcher.shares_changed()
        assert one.watcher.watched == 0
        one.mine = True
        one.watcher.shares_changed()
        await until(lambda: streaming.streams)
        assert one.watcher.holds(M1)
        one.mine = False
        one.watcher.shares_changed()
        await until(lambda: one.watcher.watched == 0 and not streaming.streams)
        assert not one.watcher.holds(M1)


# -- streams ---------------------------------------------------------------------------------


async def test_an_event_has_the_machine_looked_at_within_one_session(
    streaming: StreamingBmc,
) -> None:
    async with site() as one:
        await one.enrol(streaming)
        await until(lambda: streaming.streams)
        streaming.power = "Off"
        await streaming.tell(MessageId="iLOEvents.2.3.ServerPoweredOff", Severity="OK")
        await machine_where(one, lambda machine: machine.power == "off")
        assert streaming.opened[0]["X-Auth-Token"] in streaming.tokens
        assert len(streaming.tokens) == 1
        assert one.told() == []


async def test_a_stream_goes_by_basic_where_a_bmc_has_no_sessions() -> None:
    bmc = StreamingBmc(sessions=False)
    await bmc.start()
    try:
        async with site() as one:
            await one.enrol(bmc)
            await until(lambda: bmc.streams)
            assert bmc.opened[0]["Authorization"].startswith("Basic ")
    finally:
        await bmc.stop()


async def test_a_streaming_machine_is_hardly_polled(streaming: StreamingBmc) -> None:
    async with site() as one:
        await one.enrol(streaming)
        await until(lambda: streaming.streams)
        await machine_where(one, lambda machine: machine.health == "ok")
        reads = streaming.reads
        await anyio.sleep(4 * PACE.interval)
        assert streaming.reads <= reads + 1


async def test_hardware_events_are_kept_in_normal_form_and_the_flood_is_counted(
    streaming: StreamingBmc,
) -> None:
    async with site() as one:
        await one.enrol(streaming)
        await until(lambda: streaming.streams)
        for n in range(40):
            origin = {"@odata.id": f"/redfish/v1/Chassis/1/Power/PowerSupplies/{n}"}
            await streaming.tell(str(n), **HARDWARE, OriginOfCondition=origin)
        streaming.power = "Off"
        await machine_where(one, lambda machine: machine.power == "off")
        assert one.told() == [("power-supply", HARDWARE["MessageId"], 0)] * 6
        assert streaming.reads < 30, "forty hints are a few looks"


async def test_a_stream_that_ends_is_resumed_after_the_last_event(
    streaming: StreamingBmc,
) -> None:
    async with site() as one:
        await one.enrol(streaming)
        await until(lambda: streaming.streams)
        await streaming.tell("41", **HARDWARE)
        await until(one.told)
        streaming.power = "Off"
        streaming.end_streams()
        await until(lambda: len(streaming.opened) == 2)
        assert streaming.opened[1]["Last-Event-ID"] == "41"
        await machine_where(one, lambda machine: machine.power == "off")


async def test_a_session_that_expired_is_renewed_for_the_stream(streaming: StreamingBmc) -> None:
    async with site() as one:
        await one.enrol(streaming)
        await until(lambda: streaming.streams)
        first = streaming.opened[0]["X-Auth-Token"]
        streaming.tokens.clear()
        streaming.end_streams()
        await until(lambda: streaming.streams and len(streaming.opened) > 1)
        assert streaming.opened[-1]["X-Auth-Token"] != first


@pytest.mark.parametrize("code", [404, 503])
async def test_a_stream_that_is_refused_leads_to_polls(streaming: StreamingBmc, code: int) -> None:
    streaming.script("GET", SSE, status(code), times=99)
    async with site() as one:
        await one.enrol(streaming)
        await until(lambda: ("GET", SSE) in streaming.log)
        await until(lambda: one.watcher.streams == 0)
        await read_again(streaming, 4)
        assert streaming.count("GET", SSE) <= 3


async def test_a_web_page_is_no_stream(streaming: StreamingBmc) -> None:
    streaming.script("GET", SSE, answer("<html>", "text/html"), times=99)
    async with site() as one:
        await one.enrol(streaming)
        await until(lambda: ("GET", SSE) in streaming.log and one.watcher.streams == 0)
        await read_again(streaming, 3)
        assert streaming.count("GET", SSE) == 1


async def test_metric_reports_are_left_out_where_the_bmc_filters_and_the_filter_may_be_refused(
    streaming: StreamingBmc,
) -> None:
    streaming.offers["SSEFilterPropertiesSupported"] = {"EventFormatType": True}
    streaming.script("GET", SSE, status(404), times=1)
    async with site() as one:
        await one.enrol(streaming)
        await until(lambda: streaming.streams)
        assert streaming.queries == ["$filter=EventFormatType%20eq%20Event", ""]


@pytest.mark.parametrize(
    "offers",
    [
        {"ServiceEnabled": False, "ServerSentEventUri": SSE},
        {"ServerSentEventUri": "https://elsewhere.example/sse"},
        {"ServerSentEventUri": 7},
    ],
)
async def test_a_stream_that_is_disabled_or_elsewhere_is_not_opened(
    bmc: StreamingBmc, offers: dict[str, Any]
) -> None:
    bmc.offers = offers
    async with site() as one:
        await one.enrol(bmc)
        await until(lambda: ("GET", EVENTS) in bmc.log)
        await read_again(bmc, 3)
        assert bmc.opened == []
        assert bmc.count("GET", EVENTS) == 1


async def test_a_silent_stream_is_opened_anew_after_a_poll(streaming: StreamingBmc) -> None:
    async with site(replace(PACE, silence=0.1, proven=0.05)) as one:
        await one.enrol(streaming)
        await until(lambda: len(streaming.opened) >= 4)
        assert one.watcher.streams == 1
        assert streaming.reads >= 3


async def test_machines_beyond_the_bound_of_streams_are_polled(streaming: StreamingBmc) -> None:
    other = StreamingBmc()
    await other.start()
    try:
        async with site(streams=1) as one:
            await one.enrol(streaming)
            await until(lambda: streaming.streams)
            await one.enrol(other, key="m2")
            await read_again(other, 4)
            assert other.opened == []
    finally:
        await other.stop()


async def test_a_bmc_that_tells_of_every_read_is_not_read_for_ever(
    streaming: StreamingBmc,
) -> None:
    async with site(replace(PACE, interval=30)) as one:
        await one.enrol(streaming)
        await until(lambda: one.watcher.watched)
        await one.happens(ev.LoginsAllowed())  # which brings the first look at once
        await until(lambda: streaming.streams)
        told = 0
        with anyio.move_on_after(0.6):
            while True:
                reads = streaming.reads
                await streaming.tell(MessageId="Vendor.1.0.ResourceRead", Severity="OK")
                told += 1
                await until(lambda reads=reads: streaming.reads > reads)  # type: ignore[misc]
        assert told <= 7, "looks that find nothing come at twice the distance each time"


async def test_the_end_of_an_operation_leaves_the_stream_as_it_is(
    streaming: StreamingBmc,
) -> None:
    async with site() as one:
        await one.enrol(streaming)
        await until(lambda: streaming.streams)
        await one.happens(started("power", "manageable"))
        reads = streaming.reads
        await streaming.tell(**HARDWARE)
        await until(one.told)
        assert streaming.reads == reads, "a hint has to wait for the operation's end"
        await one.happens(ENDED)
        await read_again(streaming, 1)
        assert len(streaming.opened) == 1


async def test_another_way_to_the_bmc_is_taken_at_once(streaming: StreamingBmc) -> None:
    other = StreamingBmc()
    await other.start()
    try:
        async with site() as one:
            await one.enrol(streaming)
            await until(lambda: streaming.streams)
            there = Bmc(address=other.address, credential=CredentialId("lab"))
            one._clients.clear()
            await one.happens(ev.BmcSet(bmc=there))
            await until(lambda: other.streams and not streaming.streams)
    finally:
        await other.stop()


async def test_everything_ends_at_once_with_streams_open_and_a_read_in_flight(
    streaming: StreamingBmc,
) -> None:
    hanging = StreamingBmc()
    hanging.script("GET", SYSTEM, stall(9, apply=False), times=9)
    await hanging.start()
    try:
        async with site(replace(PACE, read=9)) as one:
            await one.enrol(streaming)
            await one.enrol(hanging, key="m2")
            await until(lambda: streaming.streams and hanging.reads)
            ended_at = anyio.current_time()
        assert anyio.current_time() - ended_at < 1
        await until(lambda: not streaming.streams)
    finally:
        await hanging.stop()


class Counting(EventParser):
    """Counts what it is fed with."""

    fed = 0

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        self.fed += len(chunk)
        return super().feed(chunk)


async def test_a_stream_without_end_takes_a_bounded_share_of_the_time(
    streaming: StreamingBmc, connect: Connect
) -> None:
    async def talk() -> None:
        await until(lambda: streaming.streams)
        while True:
            await streaming.write(b"data: " + b"x" * 50_000 + b"\n")

    client, parser = connect(address=streaming.address), Counting()
    async with open_session() as http, anyio.create_task_group() as tasks:
        tasks.start_soon(talk)
        with anyio.move_on_after(0.6):
            await listen(http, client, SSE, parser, nothing, silence=9)
        tasks.cancel_scope.cancel()
    assert 50_000 < parser.fed < 2 * BYTES_PER_S


async def test_a_stream_is_opened_by_authority_by_pin_or_unchecked_as_its_bmc_is(
    tmp_path: Path,
) -> None:
    authority = make_ca("lab")
    pair = issue(authority, "bmc", ips=["127.0.0.1"], server=True)
    files = TlsFiles(cert=tmp_path / "cert", key=tmp_path / "key", ca=tmp_path / "ca")
    write_pair(pair, files.cert, files.key)
    files.ca.write_bytes(authority.cert)
    bmc = StreamingBmc(tls=server_context(files))
    await bmc.start()
    pin = await certificate_fingerprint(bmc.address)
    try:
        ways: list[tuple[dict[str, Any], str | None]] = [
            ({"verify": False}, None),
            ({"fingerprint": pin}, None),
            ({}, str(files.ca)),
        ]
        for fields, ca_file in ways:
            async with site() as one:
                one.ca_file = ca_file
                await one.enrol(bmc, **fields)
                await until(lambda: bmc.streams)
        for pin in ("", "0" * 64):
            there = Bmc(address=bmc.address, credential=CredentialId("lab"), fingerprint=pin)
            login = Login(bmc.user, bmc.password)
            limiter = anyio.CapacityLimiter(2)
            await refused(BmcClient(there, login, limiter=limiter, timings=QUICK))
    finally:
        await bmc.stop()


async def refused(client: BmcClient) -> None:
    """Check that no stream is opened where the certificate is another than wanted."""

    async def headers() -> dict[str, str]:
        return {"X-Auth-Token": "one that must not be sent"}

    client.login_headers = headers  # type: ignore[method-assign]
    async with open_session() as http:
        with pytest.raises(StreamBroken, match=r"Certificate|Fingerprint"):
            await listen(http, client, SSE, EventParser(), nothing, silence=1)


async def nothing(event: ServerSentEvent) -> None:
    raise AssertionError("no event was to come")


async def test_first_looks_are_spread_over_the_interval(bmc: StreamingBmc) -> None:
    async with site(replace(PACE, interval=1000)) as one:
        for n in range(40):
            await one.enrol(bmc, key=f"m{n}")
        await until(lambda: one.watcher.watched == 40)
        now = anyio.current_time()
        due = sorted(watch.due - now for watch in one.watcher._watches.values())
        assert due[0] < 200 and 300 < due[20] < 700 and 800 < due[-1] <= 1000
        assert bmc.reads == 0


def test_the_time_between_polls_is_jittered_by_a_quarter() -> None:
    rng = random.Random(7)
    times = [jittered(120, rng) for _ in range(2000)]
    assert 89 < min(times) < 95
    assert 145 < max(times) < 151
