"""Watching machines between operations: their power, their health, and what their BMCs tell.

A BMC that offers an event stream is listened to; what it tells is a hint to look, and the look is
what counts. Every other BMC is polled. Nothing is read while an operation runs on the machine.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Sequence

import anyio

from mulligan.commands.runner import Commands, Request
from mulligan.commands.workqueue import WorkQueue
from mulligan.errors import MulliganError, NotFound
from mulligan.events.envelope import Actor
from mulligan.events.machine import Condition, Health
from mulligan.handlers.decision import Command
from mulligan.handlers.machine import Machine
from mulligan.handlers.observations import ObserveHealth, ObservePower, SeeHardwareEvent
from mulligan.log.protocol import Fence, Fenced, Stored
from mulligan.model import CommitId, MachineId, stream_id, stream_key
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.hardware_events import Allowance, HardwareEvent, told
from mulligan.redfish.health import Status, find_conditions, silence, status_of
from mulligan.redfish.sse import ServerSentEvent
from mulligan.redfish.streams import ClientOf, Streams
from mulligan.redfish.watch import Watch, WatchTimings, followed, jittered, news, route_of

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Machines that are read at once; each holds a thread of those that operations use too."""

STREAMS = 4000
"""Event streams open at once; machines beyond are polled."""

_RETRY_S = 0.5
_CONCERNS = frozenset(
    f"machine.{name}"
    for name in (
        "operation_started", "operation_completed", "operation_failed", "cordoned", "uncordoned",
        "logins_allowed", "bmc_set", "withdrawn", "retired", "reinstated", "deleted", "abandoned",
    )
)  # fmt: skip

FindWatched = Callable[[str], Awaitable[Sequence[MachineId]]]
"""Return the next machines by key after one; none at the end."""


class Watcher:
    """Watches this instance's share of the resting machines.

    ``mine`` tells which machines are this instance's, ``fence`` guards its appends.
    """

    def __init__(
        self,
        commands: Commands,
        *,
        instance: str,
        mine: Callable[[str], bool],
        fence: Callable[[], Fence],
        find_watched: FindWatched,
        client_of: ClientOf,
        timings: WatchTimings | None = None,
        streams: int = STREAMS,
        rng: random.Random | None = None,
    ) -> None:
        self._commands = commands
        self._actor = Actor(account="service:executor", credential=instance)
        self._mine = mine
        self._fence = fence
        self._find_watched = find_watched
        self._client_of = client_of
        self._timings = timings or WatchTimings()
        self._rng = rng or random.Random()
        self._streams = Streams(
            self, client_of=client_of, timings=self._timings, most=streams, rng=self._rng
        )
        self._queue = WorkQueue("watching", self._look, AT_ONCE)
        self._watches: dict[str, Watch] = {}
        self._shares_changed = anyio.Event()

    async def run(self) -> None:
        """Watch for ever; every stream is closed at the end."""
        stop = self._commands.log.listen(self._on_entry)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._streams.run)
                tasks.start_soon(self._queue.run)
                tasks.start_soon(self._take_over)
        finally:
            stop()

    def shares_changed(self) -> None:
        """Let go of what is no longer ours, and find what is ours now."""
        self._shares_changed.set()

    def holds(self, machine: str) -> bool:
        """Tell whether a stream goes by the session of this machine's client."""
        watch = self._watches.get(machine)
        return watch is not None and watch.streaming is not None

    @property
    def watched(self) -> int:
        """How many machines are watched."""
        return len(self._watches)

    @property
    def streams(self) -> int:
        """How many event streams are open."""
        return self._streams.count

    # -- whom to watch -----------------------------------------------------------------------

    async def _take_over(self) -> None:
        while True:
            self._shares_changed = anyio.Event()
            for key in [key for key in self._watches if not self._mine(key)]:
                self._forget(key)
            try:
                await self._find()
            except MulliganError as error:
                log.info("will look for machines again", extra={"reason": error.message})
                await anyio.sleep(_RETRY_S)
                continue
            await self._shares_changed.wait()

    async def _find(self) -> None:
        page = await self._find_watched("")
        while page:
            ours = [key for key in page if key not in self._watches and self._mine(key)]
            await self._commands.states([stream_id("machine", key) for key in ours])
            for key in ours:
                self._queue.add(key)
            page = await self._find_watched(page[-1])

    def _on_entry(self, stored: Stored) -> None:
        for commit in stored.entry.commits:
            for record in commit.events:
                if record.type in _CONCERNS:
                    key = stream_key(record.stream)
                    if record.type == "machine.operation_started":
                        self._stop_reading(key)
                    self._queue.add(key)

    def _stop_reading(self, key: str) -> None:
        watch = self._watches.get(key)
        if watch is not None and watch.reading is not None:
            watch.reading.cancel()

    def _forget(self, key: str) -> None:
        self._stop_reading(key)
        watch = self._watches.pop(key, None)
        if watch is not None and watch.streaming is not None:
            watch.streaming.cancel()

    # -- looking -----------------------------------------------------------------------------

    async def _look(self, key: str) -> float | None:
        machine = await self.machine(key) if self._mine(key) else None
        if machine is None or not followed(machine):
            self._forget(key)
            return None
        watch = self._watches.get(key)
        if machine.operation is not None:
            if watch is not None:
                watch.paused = True
            return None  # its end brings us back
        watch = self._begun(machine, watch)
        if watch.due <= anyio.current_time():
            if not await self._read(machine, watch):
                return None
            await self._tell_withheld(watch)
        return max(0.0, watch.due - anyio.current_time())

    def _begun(self, machine: Machine, watch: Watch | None) -> Watch:
        """Return the watch of a machine that rests, with the time to look at it."""
        now = anyio.current_time()
        later = now + self._rng.uniform(0, self._timings.interval)
        if watch is None:
            watch = self._watches[machine.id] = Watch(machine, self._timings, later)
        elif watch.route != route_of(machine):
            self._forget(machine.id)
            watch = self._watches[machine.id] = Watch(machine, self._timings, now)
        elif watch.paused:
            watch.due = later
        watch.paused = False
        return watch

    async def _read(self, machine: Machine, watch: Watch) -> bool:
        """Read a machine and record what is new; False when that was stopped."""
        watch.read_at = anyio.current_time()
        watch.reading = anyio.CancelScope()
        try:
            with watch.reading as scope:
                found = await self._status(machine, watch)
        finally:
            watch.reading = None
        if scope.cancelled_caught or self._watches.get(machine.id) is not watch:
            return False
        if isinstance(found, Condition):
            await self._not_read(machine, watch, found)
        else:
            await self._record(machine, watch, found)
        return True

    async def _status(self, machine: Machine, watch: Watch) -> Status | Condition:
        """Return a machine's status, or the condition of a BMC that did not tell it."""
        timings = self._timings
        try:
            with anyio.fail_after(timings.read):
                client = await self._client_of(machine)
                watch.system_path = await client.system_path()
                system = (await client.get(watch.system_path, pauses=())).body
        except TimeoutError:
            return silence("timeout", f"no answer within {timings.read:.0f} s")
        except BmcFault as fault:
            return silence(fault.fault, fault.message)
        except NotFound as error:
            return silence("bad-credentials", f"the BMC's login is gone: {error.message}")
        status = status_of(system)
        if status.health in ("warning", "critical"):
            status = await self._closer(client, watch, status, system)
        else:
            watch.sign = None
        await self._streams.offer(client, watch)
        client.release_connections()
        return status

    async def _closer(
        self, client: BmcClient, watch: Watch, status: Status, system: dict[str, object]
    ) -> Status:
        """Return the status with all that is wrong, which is looked for when it changes."""
        now = anyio.current_time()
        sign = (status.health, status.conditions)
        if sign != watch.sign or now - watch.closer_at >= self._timings.closer_again:
            watch.conditions = await find_conditions(client, system, within=self._timings.closer)
            watch.sign, watch.closer_at = sign, now
        return Status(status.power, status.health, watch.conditions)

    # -- recording ---------------------------------------------------------------------------

    async def _record(self, machine: Machine, watch: Watch, status: Status) -> None:
        settled = watch.settled(status.power, machine.power)
        changed = settled and status.power != machine.power
        if changed:
            await self._execute(ObservePower(machine=machine.id, power=status.power))
        changed |= await self._record_health(machine, status.health, status.conditions)
        now = anyio.current_time()
        watch.answered(now, changed=changed, rng=self._rng)
        if not settled:
            watch.due = now + self._timings.settle

    async def _not_read(self, machine: Machine, watch: Watch, why: Condition) -> None:
        if watch.missed(anyio.current_time(), self._rng):
            await self._execute(ObservePower(machine=machine.id, power="unknown"))
            await self._record_health(machine, "unknown", (why,))
            watch.away = True

    async def _record_health(
        self, machine: Machine, health: Health, conditions: tuple[Condition, ...]
    ) -> bool:
        if not news(machine, health, conditions):
            return False
        await self._execute(ObserveHealth(machine=machine.id, health=health, conditions=conditions))
        return True

    async def _keep(self, watch: Watch, event: HardwareEvent) -> None:
        if watch.allowance is None:
            watch.allowance = Allowance()
        more = watch.allowance.admit(event, anyio.current_time())
        if more is not None:
            await self._tell(watch, watch.allowance, event, more)

    async def _tell_withheld(self, watch: Watch) -> None:
        if watch.allowance is not None:
            withheld = watch.allowance.overdue(anyio.current_time())
            if withheld is not None:
                await self._tell(watch, watch.allowance, *withheld)

    async def _tell(
        self, watch: Watch, allowance: Allowance, event: HardwareEvent, more: int
    ) -> None:
        command = SeeHardwareEvent(
            machine=watch.key, kind=event.kind, condition=event.condition, more=more
        )
        try:
            await self._execute(command)
        except (MulliganError, Fenced) as error:
            allowance.withhold(event, more + 1)
            log.info("a hardware event waits", extra={"key": watch.key, "reason": str(error)})

    async def _execute(self, command: Command) -> None:
        request = Request(id=CommitId(self._commands.new_id()), actor=self._actor)
        await self._commands.execute(command, request, fence=self._fence())

    # -- what streams tell -------------------------------------------------------------------

    async def machine(self, key: str) -> Machine | None:
        """Return a machine as it is now; raise Unavailable."""
        machine: Machine | None = (await self._commands.state(stream_id("machine", key))).state
        return machine

    async def heard(self, watch: Watch, event: ServerSentEvent) -> None:
        """Look at the machine soon, and keep what is wrong with its hardware."""
        what = told(event.data, watch.system_path)
        if what.look:
            self.missed(watch)
        for one in what.events:
            await self._keep(watch, one)

    def missed(self, watch: Watch) -> None:
        """Look at the machine soon."""
        delay = watch.hint(anyio.current_time())
        if delay is not None:
            self._queue.add(watch.key, delay)

    def over(self, watch: Watch) -> None:
        """Poll the machine from now on."""
        if self._watches.get(watch.key) is watch:
            now = anyio.current_time()
            watch.due = min(watch.due, now + jittered(self._timings.interval, self._rng))
            self._queue.add(watch.key, watch.due - now)
