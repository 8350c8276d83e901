"""A log that exists in memory only, and a stage to show one page on."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import msgspec
from textual.app import App, ComposeResult
from textual.widget import Widget

from mulligan.console.called import Called
from mulligan.console.history.feed import Change, Lifetime
from mulligan.console.journeys import Journeys
from mulligan.console.links import GoToEntry, GoToHistory, GoToMoment, GoToWhy
from mulligan.console.log.filter import EVERYTHING, Filter, passing
from mulligan.console.log.rows import LoggedCommit, LoggedEvent, LogRow
from mulligan.console.source import Source
from mulligan.console.theme import INK
from mulligan.console.trouble import first_cause, shown
from mulligan.errors import NotFound, Unavailable

BEGAN = datetime(2027, 3, 1, 12, tzinfo=UTC)
ANN = "01900000-0000-7000-8000-0000000000aa"
NODE = "01900000-0000-7000-8000-{:012d}"
TYPES = ("machine.power_observed", "machine.step_observed", "claim.made", "provider.cordoned")


def commit(seq: int, *events: LoggedEvent, **more: Any) -> LoggedCommit:
    """Return the commit of an entry."""
    facts: dict[str, Any] = {
        "account": ANN,
        "project": "",
        "command": "machine.observe",
        "causation": "",
        "correlation": "",
        "credential": "",
        "traceparent": f"00-{seq:032x}-0000000000000001-01",
    }
    return LoggedCommit(
        seq=seq,
        commit=f"01900000-0000-7000-9000-{seq:012d}",
        at=BEGAN + timedelta(seconds=seq),
        events=events,
        **(facts | more),
    )


def event(seq: int, type_: str = "", node: int | None = None, **data: Any) -> LoggedEvent:
    """Return an event; its kind follows from its type."""
    type_ = type_ or TYPES[seq % len(TYPES)]
    key = NODE.format(seq % 7 if node is None else node)
    return LoggedEvent(
        f"{type_.partition('.')[0]}/{key}",
        seq,
        type_,
        1,
        msgspec.json.encode(data or {"power": "on" if seq % 2 else "off"}).decode(),
    )


class FakeLog:
    """A log of ``count`` entries that a test appends to; ``away`` breaks it."""

    def __init__(self, count: int = 0) -> None:
        self.commits = [commit(n, event(n)) for n in range(1, count + 1)]
        self.called = Called(self._names)
        self.until = 0
        self.away = ""
        self.reads: list[tuple[int, int]] = []
        self._news = anyio.Event()

    def append(self, *commits: LoggedCommit) -> None:
        """Append entries, and wake who follows."""
        self.commits += commits
        self._news.set()
        self._news = anyio.Event()

    def grow(self, count: int) -> None:
        """Append so many entries."""
        head = len(self.commits)
        self.append(*(commit(n, event(n)) for n in range(head + 1, head + count + 1)))

    def break_off(self, why: str) -> None:
        """Have every question answered by Unavailable, also of who follows; empty: no longer."""
        self.away = why
        self._news.set()
        self._news = anyio.Event()

    async def head(self) -> int:
        """Return the newest entry."""
        return self.until or len(self.commits)

    async def read(self, first: int, last: int, wanted: Filter = EVERYTHING) -> list[LoggedCommit]:
        """Return the commits of a stretch that have an event that passes."""
        if self.away:
            raise Unavailable(self.away)
        self.reads.append((first, last))
        passes = passing(wanted, self.called)
        return [
            one
            for one in self.commits[max(0, first - 1) : last]
            if any(passes(LogRow(one, each)) for each in one.events)
        ]

    async def follow(self, after: int) -> AsyncIterator[LoggedCommit]:
        """Yield what is appended after an entry."""
        given = after
        while True:
            news = self._news
            if self.away:
                raise Unavailable(self.away)
            while given < len(self.commits):
                given += 1
                yield self.commits[given - 1]
            await news.wait()

    async def key_of(self, stream: str) -> str:
        """Return a stream by its key, given ``kind/node-N``."""
        kind, _, key = stream.partition("/")
        if key.startswith("node-"):
            return f"{kind}/{NODE.format(int(key.removeprefix('node-')))}"
        if not key.startswith("0190"):
            raise NotFound(kind, key)
        return stream

    async def _names(self, uuids: list[str]) -> Mapping[str, str]:
        return {
            one: "ann" if one == ANN else f"node-{int(one[-12:])}"
            for one in uuids
            if one == ANN or one.startswith("01900000-0000-7000-8000")
        }


class FakeHistory:
    """Histories of a FakeLog; each entry changed the power, as far as one can tell."""

    def __init__(self, log: FakeLog) -> None:
        self.log = log
        self.asked: list[int] = []

    async def lifetime(self, stream: str) -> Lifetime:
        """Return the span of a stream's events."""
        seqs = [one.seq for one in self.log.commits if any(e.stream == stream for e in one.events)]
        return Lifetime(seqs[0], seqs[-1], len(seqs)) if seqs else Lifetime(1, 1, 0)

    async def changes(self, stream: str, seq: int) -> tuple[Change, ...]:
        """Return that the power changed."""
        self.asked.append(seq)
        return (Change("power", '"off"', '"on"'),)


class Stage(Journeys, App[None]):
    """An app that shows one page, and keeps what it asks for."""

    def __init__(self, page: Widget, source: Source) -> None:
        super().__init__()
        self.page = page
        self.source = source
        self.asked: list[tuple[str, object]] = []
        self.told: list[str] = []

    def compose(self) -> ComposeResult:
        """Show the page."""
        yield self.page

    async def on_mount(self) -> None:
        """Look as the console does, and have the page read."""
        self.register_theme(INK)
        self.theme = INK.name
        renew = getattr(self.page, "renew", None)
        if renew is not None:
            self.page.ask(renew, group="renew")  # type: ignore[attr-defined]

    @property
    def shown(self) -> None:
        """No page is read anew after an action."""

    async def guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do some work, and keep what goes wrong."""
        try:
            await work()
        except Exception as error:
            self.told.append(shown(first_cause(error)))

    def tell(self, error: BaseException) -> None:
        """Keep an error."""
        self.told.append(shown(error))

    def notify(self, message: str, **more: Any) -> None:
        """Keep a toast."""
        self.told.append(message)

    async def on_go_to_entry(self, message: GoToEntry) -> None:
        """Keep where the page wants to go."""
        message.prevent_default()
        self.asked.append(("entry", message.seq))

    async def on_go_to_history(self, message: GoToHistory) -> None:
        """Keep where the page wants to go."""
        message.prevent_default()
        self.asked.append(("history", message.stream))

    async def on_go_to_why(self, message: GoToWhy) -> None:
        """Keep where the page wants to go."""
        message.prevent_default()
        self.asked.append(("why", message.stream))

    def on_go_to_moment(self, message: GoToMoment) -> None:
        """Keep which moment the page wants to show."""
        message.prevent_default()
        self.asked.append(("moment", message.seq))


def screen_text(pilot: Any) -> str:
    """Return what is on the screen, as text."""
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


async def settled(pilot: Any, holds: Callable[[], object], what: str, within: float = 5.0) -> None:
    """Return once something holds on the screen; fail saying what did not come in time."""
    with anyio.move_on_after(within):
        while not holds():
            await pilot.pause(0.01)
        return
    raise AssertionError(f"not in {within:g} s: {what}\n{screen_text(pilot)}")
