"""The history of one object: its events in their order, and what each changed."""

import anyio
import msgspec
from rich.console import Group
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Input, Static

from mulligan.console.actions.offered import actions_for
from mulligan.console.brief import machine_brief
from mulligan.console.called import Called
from mulligan.console.history.feed import Change, HistoryFeed, RegionHistory, back_from
from mulligan.console.links import ChooseAction, GoToEntry, GoToMoment, GoToWhy
from mulligan.console.log.entry import commit_shown, event_shown
from mulligan.console.log.lines import LogLines, tone_of
from mulligan.console.log.rows import LoggedCommit, LogRow
from mulligan.console.source import Source
from mulligan.console.theme import BAD, BRIGHT, DIM, FAINT, GOOD, LINK, TEXT
from mulligan.console.trouble import harmless
from mulligan.console.view import View
from mulligan.errors import InvalidArgument

LATER_S = 0.12
"""Seconds that the cursor rests before what an event changed is asked for."""
AT_MOST = 5_000
"""Commits of a stream that are held; what is older than these is in the log."""


ROOMY = 50
"""Columns from which on events tell their seconds."""
_SEQ, _WHEN = Style(color=FAINT), Style(color=DIM)


class EventLines(LogLines):
    """The events of one stream."""

    def segments(self, row: LogRow, base: Style) -> list[Segment]:
        """Return a line: entry, day and time, event, and by whom."""
        commit, event = row
        actor = self.called.get(commit.account, commit.account).removeprefix("service:")
        short = event.type.partition(".")[2] or event.type
        wide = self.size.width >= ROOMY
        parts = (
            (f"{commit.seq:>{8 if wide else 6}} ", _SEQ),
            (f"{commit.at:{'%m-%d %H:%M:%S' if wide else '%m-%d %H:%M'}} ", _WHEN),
            (f"{short:<22.22} ", tone_of(event)),
            (harmless(actor), _WHEN),
        )
        return [Segment(text, base + style) for text, style in parts]


class HistoryView(View):
    """Page ``history``."""

    DEFAULT_CSS = """
    HistoryView #history-bar { height: 1; background: $panel; }
    HistoryView #history-stream { height: 1; border: none; padding: 0 1; width: 1fr;
        background: $panel; }
    HistoryView #history-stream:focus { background: $boost; }
    HistoryView #history-state { width: auto; padding: 0 1; }
    HistoryView EventLines { width: 50%; max-width: 62; height: 1fr;
        border-right: solid $border; }
    HistoryView #history-detail { width: 1fr; padding: 0 1; background: $background; }
    """
    BINDINGS = [
        Binding("slash", "pick", "Pick a stream", key_display="/"),
        Binding("w", "why", "Why"),
        Binding("y", "why", show=False),
        Binding("m", "moment", "That moment"),
        Binding("g", "entry", "Log entry"),
        Binding("a", "actions", "Actions"),
        Binding("escape", "lines", show=False),
    ]

    def __init__(self, source: Source, feed: HistoryFeed | None = None) -> None:
        super().__init__(source)
        self.feed: HistoryFeed = feed or RegionHistory(source)
        self.stream = ""
        self._commits: list[LoggedCommit] = []
        self._reached = 0
        self._first = 1

    def compose(self) -> ComposeResult:
        """Lay out the stream's line, its events, and what the chosen one changed."""
        with Horizontal(id="history-bar"):
            yield Input(
                placeholder="a stream, such as machine/node-1, claim/web or provider/rack-1",
                id="history-stream",
                compact=True,
            )
            yield Static(id="history-state")
        with Horizontal():
            yield EventLines(self.feed.log.called, id="history-lines")
            with VerticalScroll(id="history-detail"):
                yield Static(id="history-changes")

    @property
    def lines(self) -> EventLines:
        """The events on the screen."""
        return self.query_one(EventLines)

    def on_mount(self) -> None:
        """Say how to begin, and put the keys to the events."""
        self.lines.focus()
        self._say("/ picks a stream; so does h on a line of the log, or on a machine")

    def show_stream(self, stream: str) -> None:
        """Show a stream's history, its newest event chosen."""
        self.stream = stream
        self.ask(self.renew, group="renew")

    async def renew(self) -> None:
        """Read the stream's newest events anew."""
        if not self.stream:
            return
        self.stream = await self.feed.log.key_of(self.stream)
        await self.feed.log.called.learn([self.stream.partition("/")[2]])
        self.query_one("#history-stream", Input).value = self.feed.log.called.stream(self.stream)
        self._say("reading…")
        life = await self.feed.lifetime(self.stream)
        self._first = life.first
        self._commits, self._reached = await back_from(
            self.feed.log, self.stream, life.last + 1, life.first
        )
        self._show(len(self._commits))
        self.lines.focus()
        if not self._commits:
            self._say(f"nothing ever happened to {self.stream}")
            self.query_one("#history-changes", Static).update("")

    def _show(self, cursor: int) -> None:
        rows = [
            LogRow(commit, event)
            for commit in self._commits
            for event in commit.events
            if event.stream == self.stream
        ]
        self.lines.show(rows, len(rows) - 1 if cursor >= len(rows) else cursor)
        more = "  older: scroll up" if self._reached > self._first else ""
        self._say(f"{len(rows):,} event{'' if len(rows) == 1 else 's'}{more}")
        self._look()
        self.ask(self._learn, group="names")

    async def _learn(self) -> None:
        if await self.feed.log.called.learn({one.account for one in self._commits}):
            self.lines.refresh()

    @on(LogLines.Moved)
    def _look(self) -> None:
        """Ask what the chosen event changed, once the cursor rests."""
        row = self.lines.chosen
        if row is not None:
            self.ask(lambda: self._load_changes(row), group="changes")

    async def _load_changes(self, row: LogRow) -> None:
        self._tell(row, None)
        await anyio.sleep(LATER_S)
        self._tell(row, await self.feed.changes(self.stream, row.commit.seq))

    def _tell(self, row: LogRow, changes: tuple[Change, ...] | None) -> None:
        shown = detail(row, changes, self.stream, self.feed.log.called)
        self.query_one("#history-changes", Static).update(Group(*shown))

    @on(LogLines.TopReached)
    def _older(self) -> None:
        if self._reached > self._first and len(self._commits) < AT_MOST:
            self.ask(self._load_older, group="older")

    async def _load_older(self) -> None:
        older, self._reached = await back_from(
            self.feed.log, self.stream, self._reached, self._first
        )
        self._commits[:0] = older
        self._show(sum(event.stream == self.stream for one in older for event in one.events))

    def _say(self, words: str) -> None:
        self.query_one("#history-state", Static).update(Text(words, style=DIM))

    @on(Input.Submitted, "#history-stream")
    def _picked(self, message: Input.Submitted) -> None:
        if "/" not in message.value:
            problem = f"{message.value!r} is not KIND/NAME, such as machine/node-1"
            self.console.tell(InvalidArgument("stream", problem))
            return
        self.show_stream(message.value.strip())

    @on(LogLines.Opened)
    def _opened(self, message: LogLines.Opened) -> None:
        self.post_message(GoToEntry(message.row.commit.seq))

    def action_pick(self) -> None:
        """Type a stream."""
        self.query_one("#history-stream", Input).focus()

    def action_lines(self) -> None:
        """Give the keys back to the events."""
        self.lines.focus()

    def action_entry(self) -> None:
        """Show the chosen event's entry in the log."""
        self.lines.action_open()

    def action_why(self) -> None:
        """Show why the machine or claim is as it is."""
        if self.stream.partition("/")[0] in ("machine", "claim"):
            self.post_message(GoToWhy(self.stream))

    def action_moment(self) -> None:
        """Show the whole console as of the chosen event."""
        row = self.lines.chosen
        if row is not None:
            self.post_message(GoToMoment(row.commit.seq))

    def action_actions(self) -> None:
        """Offer what may be done with the machine."""
        kind, _, key = self.stream.partition("/")
        if kind == "machine":
            self.ask(lambda: self._offer(key), group="offer")

    async def _offer(self, uuid: str) -> None:
        brief = machine_brief(await self.source.machine(uuid))
        self.post_message(ChooseAction(brief.name, actions_for(brief)))


def detail(
    row: LogRow, changes: tuple[Change, ...] | None, stream: str, called: Called
) -> list[Text]:
    """Return what an event changed, then the event, then its commit; None: not known yet."""
    commit, event = row
    beside = sum(one.stream == stream for one in commit.events)
    shown = [Text.assemble((event.type, tone_of(event)), (f"  entry #{commit.seq:,}", DIM))]
    shown.append(Text(""))
    shown.append(Text(_heading(changes, commit.seq, beside), style=f"bold {LINK}"))
    shown += [change_shown(one, called) for one in changes or ()]
    shown.append(Text(""))
    shown.append(Text("the event", style=f"bold {LINK}"))
    shown += event_shown(event, called, f"v{event.version}", 2)[1:]
    shown.append(Text(""))
    shown.append(Text("the command", style=f"bold {LINK}"))
    alone = msgspec.structs.replace(commit, events=())
    return [*shown, *commit_shown(alone, called)]


def _heading(changes: tuple[Change, ...] | None, seq: int, beside: int) -> str:
    if changes is None:
        return "what it changed: …"
    if not changes and seq <= 1:
        return "the first entry of the log: what the event holds is new"
    if not changes:
        return "it changed nothing of the state"
    together = f", by {beside} events in one entry" if beside > 1 else ""
    return f"what it changed{together}"


def change_shown(change: Change, called: Called) -> Text:
    """Return a value's change: what it was, and what it became."""
    line = Text.assemble(("  ", ""), (change.path, BRIGHT), ("  ", ""))
    if change.before:
        line.append(_value(change.before, called), style=BAD)
        line.append(" → ", style=FAINT)
    if change.after:
        return line.append(_value(change.after, called), style=GOOD)
    return line.append("gone", style=TEXT)


def _value(text: str, called: Called) -> str:
    bare = text[1:-1] if text.startswith('"') and text.endswith('"') else text
    return harmless(called.get(bare, bare))
