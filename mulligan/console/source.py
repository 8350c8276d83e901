"""What the console shows, as it asks for it: bounded, with deadlines, now or at a moment."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio
import msgspec

from mulligan.client import paging
from mulligan.console.brief import MachineBrief, Place, machine_brief, place
from mulligan.console.called import Called
from mulligan.console.together import together
from mulligan.diagnosis.found import Status
from mulligan.diagnosis.gathered import gather
from mulligan.errors import (
    DeadlineExceeded,
    MulliganError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from mulligan.proto.v1 import (
    Cause,
    GetLogStatusRequest,
    GetMachineRequest,
    GetProviderRequest,
    ListMachineHistoryRequest,
    ListMachinesRequest,
    ListProjectionsRequest,
    ListProvidersRequest,
    LogFilter,
    LogRecord,
    Machine,
    MachineView,
    Page,
    ProviderView,
    ReadLogRequest,
    WatchLogRequest,
)

if TYPE_CHECKING:
    from mulligan.client.client import Client

Answer = TypeVar("Answer")

DEADLINE_S = 5.0
"""Seconds that a question about the present may take."""
PAST_DEADLINE_S = 90.0
"""Seconds that the first look at a moment may take; it is made only then."""
PULSE_DEADLINE_S = 2.5
PAUSE_S = 0.5
"""Seconds between two questions for what is still being made."""
PAGE_SIZE = 500
"""Objects in one answer: reading one holds up the screen, for some 10 µs an object."""
MACHINES_AT_MOST = 50_000
"""Machines that are kept; a region has 10,000."""
PLACE_TYPES = ("compute", "storage", "network", "component")
"""Types of providers that may be racks, rows and sites of machines."""


class Moment(msgspec.Struct, frozen=True):
    """An entry of the log, and when it was."""

    seq: int
    at: datetime


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """How the region is, as of the latest look.

    ``trouble`` is empty while it answers, and what is wrong, in a few words, is ``what``.
    """

    region: str = ""
    head: int = 0
    lag: int = 0
    halted: tuple[str, ...] = ()
    trouble: str = ""
    what: str = ""


class Source:
    """All that the console knows of a region, through the smart client.

    ``client`` answers as of ``moment`` where one is set, and of now where none is; whatever only
    reads can be asked of either. What acts is refused while a moment is set.
    """

    def __init__(self, client: "Client") -> None:
        self._present = client
        self.client = client
        self.called = Called(self.names)
        self.moment: Moment | None = None

    @property
    def live(self) -> bool:
        """Whether the present is shown."""
        return self.moment is None

    @property
    def present(self) -> "Client":
        """The client of the present, whatever moment is shown."""
        return self._present

    @property
    def region(self) -> str:
        """The region's name; empty until it has answered."""
        return self._present.region

    @property
    def deadline(self) -> float:
        """Seconds that a question may take."""
        return DEADLINE_S if self.live else PAST_DEADLINE_S

    def go_live(self) -> None:
        """Show the present from now on."""
        self.client, self.moment = self._present, None

    def go_to(self, moment: Moment) -> None:
        """Show the region as of an entry from now on."""
        self.client = self._present.at(str(moment.seq))
        self.moment = moment

    async def find(self, wanted: str, told: Callable[[str], None]) -> Moment:
        """Return the entry that ``wanted`` (its number, or a time in RFC 3339) stands for.

        The services make what they need of a moment at the first look; ``told`` hears how far
        that is. Raise what the services answer when there is no such moment.
        """
        view = self._present.at(wanted)
        request = ListMachinesRequest(page=Page(size=1))
        await patiently(lambda: view.control.list_machines(request, timeout=DEADLINE_S), told)
        if view.shown is None:
            raise MulliganError(f"the region did not say which entry {wanted} is; it is too old")
        return Moment(view.shown.seq, view.shown.at)

    async def pulse(self) -> Pulse:
        """Ask how the region is; never raises for what a region may answer."""
        client = self._present
        try:
            status = await client.log.get_log_status(
                GetLogStatusRequest(), timeout=PULSE_DEADLINE_S
            )
            head = status.head.seq if status.head else 0
            if status.failure:
                halted = Pulse(region=client.region, head=head, trouble=status.failure)
                return msgspec.structs.replace(halted, what="the log halted")
        except PermissionDenied:
            return Pulse(region=client.region)
        except MulliganError as error:
            what = "not logged in" if isinstance(error, Unauthenticated) else "no answer"
            return Pulse(region=client.region, trouble=error.message, what=what)
        return await self._lag(Pulse(region=client.region, head=head))

    async def _lag(self, found: Pulse) -> Pulse:
        try:
            answer = await self._present.projector.list_projections(
                ListProjectionsRequest(), timeout=PULSE_DEADLINE_S
            )
        except MulliganError:
            return found
        behind = max((one.lag for one in answer.projections), default=0)
        halted = tuple(one.name for one in answer.projections if one.status == "halted")
        return msgspec.structs.replace(found, lag=behind, halted=halted)

    async def status(self) -> Status:
        """Ask every part how it is at present; raise Unavailable where none answers."""
        return await gather(self._present)

    async def head(self) -> int:
        """Return the number of the newest entry; 0 of an empty log."""
        asked = self._present.log.get_log_status(GetLogStatusRequest(), timeout=DEADLINE_S)
        head = (await asked).head
        return head.seq if head else 0

    async def machines(self) -> AsyncIterator[list[MachineBrief]]:
        """Yield all machines, a page at a time, at most ``MACHINES_AT_MOST``."""
        listed = pages(
            lambda page: self.client.control.list_machines(
                ListMachinesRequest(page=page, view=MachineView.BASIC), timeout=self.deadline
            )
        )
        given = 0
        async with aclosing(listed) as answers:
            async for answer in answers:
                yield [machine_brief(one) for one in answer.machines]
                given += len(answer.machines)
                if given >= MACHINES_AT_MOST:
                    return

    async def uuids(self) -> list[str]:
        """Return which machines there are at present, at most ``MACHINES_AT_MOST``."""
        found: list[str] = []
        listed = pages(
            lambda page: self._present.control.list_machines(
                ListMachinesRequest(page=page, view=MachineView.BASIC), timeout=DEADLINE_S
            )
        )
        async with aclosing(listed) as answers:
            async for answer in answers:
                found += [one.uuid for one in answer.machines]
                if len(found) >= MACHINES_AT_MOST:
                    break
        return found

    async def machine(self, uuid: str) -> Machine:
        """Return one machine with everything that is known of it; raise NotFound."""
        request = GetMachineRequest(machine=uuid)
        answer = await self.client.control.get_machine(request, timeout=self.deadline)
        if answer.machine is None:
            raise NotFound("machine", uuid)
        return answer.machine

    async def names(self, uuids: list[str]) -> Mapping[str, str]:
        """Return what objects and accounts are called at present, by UUID."""
        found = await self._present.names.describe(uuids)
        return {uuid: name.name for uuid, name in found.items()}

    async def history(self, uuid: str, limit: int = 12) -> list[Cause]:
        """Return the latest of what happened to a machine, newest first."""
        request = ListMachineHistoryRequest(machine=uuid, page=Page(size=limit))
        answer = await self.client.control.list_machine_history(request, timeout=self.deadline)
        return list(answer.causes)[:limit]

    async def places(self) -> list[Place]:
        """Return every provider that machines stand under.

        An earlier release returns all that they may stand under.
        """
        found: list[Place] = []

        async def of(kind: str) -> None:
            async for some in self._providers(kind, above="machine"):
                found.extend(some)

        await together(*(partial(of, kind) for kind in PLACE_TYPES))
        return found

    def machine_places(self) -> AsyncIterator[list[Place]]:
        """Yield the machines' own providers, with what each stands under, a page at a time."""
        return self._providers("machine")

    async def _providers(self, kind: str, above: str = "") -> AsyncIterator[list[Place]]:
        """Yield the providers of a type by pages, briefly; ``above`` what others stand under."""
        listed = pages(
            lambda page: self.client.resource.list_providers(
                ListProvidersRequest(type=kind, above=above, page=page, view=ProviderView.BASIC),
                timeout=self.deadline,
            )
        )
        async with aclosing(listed) as answers:
            async for answer in answers:
                yield [place(one) for one in answer.providers]

    async def parent(self, uuid: str) -> str:
        """Return what a machine stands under; nothing if it has no provider (yet)."""
        request = GetProviderRequest(provider=uuid)
        try:
            answer = await self.client.resource.get_provider(request, timeout=self.deadline)
        except NotFound:
            return ""
        return answer.provider.parent if answer.provider else ""

    async def rack(self, uuid: str) -> str:
        """Return the name of what a machine stands under; nothing where that is nothing."""
        up = await self.parent(uuid)
        if not up:
            return ""
        request = GetProviderRequest(provider=up)
        answer = await self.client.resource.get_provider(request, timeout=self.deadline)
        return answer.provider.name if answer.provider else ""

    async def watch(
        self, *, after: int | None = None, only: LogFilter | None = None
    ) -> AsyncIterator[LogRecord]:
        """Yield records of the present as they are committed, for ever; resumes by itself.

        ``after`` is the entry to begin behind; None: the head. It raises only what does not pass,
        such as a lack of permission, and Unavailable once the client's patience is over.
        """
        request = WatchLogRequest(after=after or 0, from_head=after is None, filter=only)
        async for record in self._present.log.watch_log(request):
            yield record

    async def entry(self, seq: int) -> Moment:
        """Return when an entry was; raise NotFound where the log has none of that number."""
        request = ReadLogRequest(first=seq, last=seq)
        try:
            with anyio.fail_after(DEADLINE_S):
                stream = self._present.log.read_log(request, timeout=DEADLINE_S)
                async with aclosing(stream) as records:  # type: ignore[type-var]
                    async for record in records:
                        if record.position is not None and record.at is not None:
                            return Moment(record.position.seq, record.at)
        except TimeoutError:
            raise DeadlineExceeded(f"reading entry {seq} took more than {DEADLINE_S:g} s") from None
        raise NotFound("entry", str(seq))


async def patiently(call: Callable[[], Awaitable[object]], told: Callable[[str], None]) -> None:
    """Repeat a question for as long as its answer is being made; raise when that takes too long."""
    until = time.monotonic() + PAST_DEADLINE_S
    while True:
        try:
            await call()
        except (Unavailable, DeadlineExceeded) as error:
            if time.monotonic() > until:
                raise
            told(error.message)
            await anyio.sleep(PAUSE_S)
        else:
            return


def pages(call: Callable[[Page], Awaitable[Answer]]) -> AsyncGenerator[Answer, None]:
    """Return the pages of a list, one asked for ahead; ``call`` asks for one."""
    return paging.pages(call, size=PAGE_SIZE)
