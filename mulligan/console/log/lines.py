"""The lines of the log on the screen: only those in sight are drawn."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mulligan.console.called import Called
from mulligan.console.log.rows import LoggedEvent, LogRow, summary_of
from mulligan.console.theme import BAD, DIM, FAINT, GOOD, GROUND, LINK, TEXT, WARN
from mulligan.console.trouble import harmless

TONES = {
    "machine": Style(color=LINK), "claim": Style(color=GOOD), "provider": Style(color=WARN),
    "group": Style(color=WARN), "account": Style(color="#b48ef2"),
    "project": Style(color="#b48ef2"), "key": Style(color="#b48ef2"),
    "image": Style(color="#3fc1c9"), "denial": Style(color=BAD), "brake": Style(color=BAD),
}  # fmt: skip
"""The colour of each kind of stream; the others are as plain text."""
_BAD = ("failed", "denied", "fault", "applied", "halted", "lost")
_SEQ, _TIME, _ACTOR = Style(color=FAINT), Style(color=DIM), Style(color="#f2a65a")
_PLAIN, _DATA = Style(color=TEXT), Style(color=DIM)
_TROUBLE = Style(color=BAD, bold=True)
_BASE = Style(color=TEXT, bgcolor=GROUND)
"""As the CSS has it; asking that for each line costs more than drawing it."""
_CURSOR = Style(bgcolor="#24405e", bold=True)


class Columns(NamedTuple):
    """How wide each column is, and whether days and milliseconds are told."""

    time: int
    event: int
    stream: int
    actor: int
    days: bool = False
    short: bool = False

    def heads(self) -> str:
        """Return the names of the columns, each above its own."""
        return (
            f"{'ENTRY':>8} {'TIME':<{self.time}}{'EVENT':<{self.event}}"
            f"{'STREAM':<{self.stream}}{'BY':<{self.actor}}WHAT"
        )

    def at(self, moment: datetime) -> str:
        """Return a time as the column has it, in UTC."""
        at = moment.astimezone(UTC)
        text = f"{at:%H:%M:%S}" if self.short else f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"
        return f"{at:%m-%d} {text}" if self.days else text


_WIDE = Columns(20, 31, 27, 13, days=True)
_USUAL = Columns(14, 28, 24, 12)
_NARROW = Columns(10, 20, 18, 10, short=True)


def columns(width: int) -> Columns:
    """Return the columns for a screen that wide, so that something is left for what happened."""
    return _WIDE if width >= 150 else _USUAL if width >= 105 else _NARROW


def tone_of(event: LoggedEvent) -> Style:
    """Return the colour of an event: of what goes wrong, or of its kind of stream."""
    if event.type.rpartition(".")[2].rpartition("_")[2] in _BAD:
        return _TROUBLE
    return TONES.get(event.stream.partition("/")[0], _PLAIN)


class LogLines(ScrollView, can_focus=True):
    """Rows of the log with a cursor; posts ``Opened``, and ``TopReached`` when more is wanted."""

    DEFAULT_CSS = """
    LogLines { height: 1fr; background: $background; scrollbar-size-vertical: 1;
        overflow-x: hidden; overflow-y: scroll; }
    """
    BINDINGS = [
        Binding("up,k", "move(-1)", "Move", show=False),
        Binding("down,j", "move(1)", "Move", show=False),
        Binding("pageup", "page(-1)", "Move", show=False),
        Binding("pagedown", "page(1)", "Move", show=False),
        Binding("home", "edge(-1)", "To the oldest, and older", show=False),
        Binding("end", "edge(1)", "To the newest", show=False),
        Binding("enter", "open", "Open"),
    ]
    cursor: reactive[int] = reactive(-1)

    class Opened(Message):
        """The operator wants to see a line's whole commit."""

        def __init__(self, row: LogRow) -> None:
            super().__init__()
            self.row = row

    class TopReached(Message):
        """The operator wants older lines than there are."""

    class Moved(Message):
        """The operator moved the cursor; ``at_end`` tells whether it is on the newest line."""

        def __init__(self, at_end: bool) -> None:
            super().__init__()
            self.at_end = at_end

    def __init__(self, called: Called, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.called = called
        self.rows: Sequence[LogRow] = ()
        self.drawn = 0

    def show(self, rows: Sequence[LogRow], cursor: int) -> None:
        """Show rows, with the cursor on one of them and in sight."""
        self.rows = rows
        self.virtual_size = Size(self.size.width, len(rows))
        self.set_reactive(LogLines.cursor, max(-1, min(cursor, len(rows) - 1)))
        self._into_sight()
        self.refresh()

    @property
    def chosen(self) -> LogRow | None:
        """Return the row that the cursor is on."""
        return self.rows[self.cursor] if 0 <= self.cursor < len(self.rows) else None

    def in_sight(self) -> Sequence[LogRow]:
        """Return the rows in sight."""
        top = self.scroll_offset.y
        return self.rows[top : top + self.size.height]

    def watch_cursor(self, before: int, after: int) -> None:
        """Draw the line that the cursor left, and the one it is on."""
        self.refresh_line(before)
        self.refresh_line(after)

    def action_move(self, lines: int) -> None:
        """Move the cursor by lines."""
        wanted = self.cursor + lines
        if wanted < 0:
            self.post_message(self.TopReached())
        self.cursor = max(0, min(wanted, len(self.rows) - 1))
        self._into_sight()
        self.post_message(self.Moved(self.cursor == len(self.rows) - 1))

    def action_page(self, pages: int) -> None:
        """Move the cursor by pages."""
        if pages < 0 and self.cursor < self.size.height:
            self.post_message(self.TopReached())
        self.action_move(max(-self.cursor, pages * max(1, self.size.height - 1)))

    def action_edge(self, side: int) -> None:
        """Move the cursor to the oldest or newest line."""
        if side < 0:
            self.post_message(self.TopReached())
        self.action_move(-self.cursor if side < 0 else len(self.rows))

    def action_open(self) -> None:
        """Open the commit of the line that the cursor is on."""
        row = self.chosen
        if row is not None:
            self.post_message(self.Opened(row))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the line; a second click opens it."""
        line = event.y + self.scroll_offset.y
        if not 0 <= line < len(self.rows):
            return
        self.cursor = line
        self.post_message(self.Moved(line == len(self.rows) - 1))
        if event.chain > 1:
            self.action_open()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll as the keys do: the cursor comes along."""
        event.stop()
        self.action_move(-3 if self.cursor >= 3 else -self.cursor or -1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll as the keys do: the cursor comes along."""
        event.stop()
        self.action_move(3)

    def _into_sight(self) -> None:
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if self.cursor < top:
            self.scroll_to(y=max(0, self.cursor), animate=False)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False)

    def on_resize(self) -> None:
        """Keep the width that lines are cut to, and the cursor in sight."""
        self.virtual_size = Size(self.size.width, len(self.rows))
        self._into_sight()

    def render_line(self, y: int) -> Strip:
        """Draw one line."""
        number = y + self.scroll_offset.y
        width = self.size.width
        if number >= len(self.rows):
            return Strip.blank(width, _BASE)
        self.drawn += 1
        base = _BASE
        if number == self.cursor:
            base += _CURSOR
        row = self.rows[number]
        return Strip(list(self.segments(row, base))).adjust_cell_length(width, base)

    def segments(self, row: LogRow, base: Style) -> list[Segment]:
        """Return a line: entry, time, event, stream, by whom, and what the event says."""
        commit, event = row
        widths = columns(self.size.width)
        kind, _, short = event.type.partition(".")
        told = short if widths.short and event.stream.startswith(f"{kind}/") else event.type
        tone = tone_of(event)
        actor = self.called.get(commit.account, commit.account).removeprefix("service:")
        stream = self.called.stream(event.stream)
        parts = (
            (f"{commit.seq:>8} ", _SEQ),
            (f"{widths.at(commit.at):<{widths.time}}", _TIME),
            (f"{_cut(told, widths.event - 1):<{widths.event}}", tone),
            (f"{_cut(harmless(stream), widths.stream - 1):<{widths.stream}}", tone),
            (f"{_cut(harmless(actor), widths.actor - 1):<{widths.actor}}", _ACTOR),
            (summary_of(event, self.called), _DATA),
        )
        return [Segment(text, base + style) for text, style in parts]


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1]}…"
