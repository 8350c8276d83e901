"""The rows of the time line on the screen: only those in sight are drawn, and asked for."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mulligan.console.claims.draw import HEADING, LABEL, GanttClaim, Scale, row_cells
from mulligan.console.claims.feed import GanttRow, Held
from mulligan.console.theme import GROUND, TEXT
from mulligan.console.trouble import harmless

MARGIN = 26
"""Cells of the names at the left."""
_PLAIN = Style()
_BASE = Style(color=TEXT, bgcolor=GROUND)
"""As the CSS has it; asking that for each line costs more than drawing it."""
_CURSOR = Style(bgcolor="#24405e", bold=True)


class GanttGrid(ScrollView, can_focus=True):
    """A row a provider, with a cursor on one row and one of its claims."""

    DEFAULT_CSS = """
    GanttGrid { height: 1fr; background: $background; overflow-x: hidden; overflow-y: scroll;
        scrollbar-size-vertical: 1; }
    """
    BINDINGS = [
        Binding("up,k", "move(-1)", "Move", show=False),
        Binding("down,j", "move(1)", "Move", show=False),
        Binding("pageup", "page(-1)", "Move", show=False),
        Binding("pagedown", "page(1)", "Move", show=False),
        Binding("home", "edge(-1)", "Move", show=False),
        Binding("end", "edge(1)", "Move", show=False),
        Binding("full_stop", "claim(1)", "Next claim", key_display="."),
        Binding("tab", "claim(1)", "Next claim", show=False),
        Binding("comma", "claim(-1)", "Claim before", show=False, key_display=","),
        Binding("shift+tab", "claim(-1)", "Claim before", show=False),
    ]

    class Looked(Message):
        """Other rows are in sight, or another row or claim is chosen."""

    def __init__(self, held: Held, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.held = held
        self.rows: Sequence[GanttRow] = ()
        self.scale: Scale | None = None
        self.now = datetime.now(UTC)
        self.cursor = 0
        self.claim = ""

    def show_rows(self, rows: Sequence[GanttRow]) -> None:
        """Show other rows; the cursor stays on its provider."""
        at = self.rows[self.cursor].uuid if self.cursor < len(self.rows) else ""
        self.rows = rows
        self.cursor = next((n for n, row in enumerate(rows) if row.uuid == at), 0)
        self.virtual_size = Size(self.size.width, len(rows))
        self.refresh()

    @property
    def chosen_row(self) -> GanttRow | None:
        """Return the row that the cursor is on."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    @property
    def chosen(self) -> GanttClaim | None:
        """Return the claim that is chosen."""
        row = self.chosen_row
        claims = self.held.of(row.uuid) if row is not None else ()
        return next((one for one in claims if one.uuid == self.claim), None)

    def in_sight(self) -> list[str]:
        """Return the providers whose rows are in sight."""
        top = self.scroll_offset.y
        return [row.uuid for row in self.rows[top : top + max(1, self.size.height)]]

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        number, width = y + self.scroll_offset.y, self.size.width
        if number >= len(self.rows) or self.scale is None:
            return Strip.blank(width, _BASE)
        row = self.rows[number]
        base = _BASE + (_CURSOR if number == self.cursor else _PLAIN)
        name = f"{' ' * (row.depth + 1)}{harmless(row.name)}"
        label = name if len(name) < MARGIN else f"{name[: MARGIN - 2]}…"
        style = base + (HEADING if row.heading else LABEL)
        chosen = self.claim if number == self.cursor else ""
        cells = row_cells(self.held.of(row.uuid), self.scale, self.now, chosen)
        segments = [Segment(f"{label:<{MARGIN}}", style)]
        segments += [Segment(one.text, base + (one.style or _PLAIN)) for one in cells]
        return Strip(segments).adjust_cell_length(width, base)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Have what comes into sight asked for."""
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.Looked())

    def on_resize(self) -> None:
        """Keep the width of the rows."""
        self.virtual_size = Size(self.size.width, len(self.rows))
        self.post_message(self.Looked())

    def action_move(self, rows: int) -> None:
        """Move the cursor by rows; the claim chosen there is the one that is there now."""
        before = self.cursor
        self.cursor = max(0, min(self.cursor + rows, len(self.rows) - 1))
        self.claim = ""
        self.choose_now()
        for line in {before, self.cursor}:
            self.refresh_line(line)
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False)
        self.post_message(self.Looked())

    def choose_now(self) -> None:
        """Choose the claim of the row that holds now, or the next one."""
        row = self.chosen_row
        if row is None or self.claim:
            return
        claims = sorted(self.held.of(row.uuid), key=lambda one: one.start)
        coming = [one for one in claims if one.end is None or one.end > self.now]
        if coming or claims:
            self.claim = (coming or claims[-1:])[0].uuid

    def action_page(self, pages: int) -> None:
        """Move the cursor by pages."""
        self.action_move(pages * max(1, self.size.height - 1))

    def action_edge(self, side: int) -> None:
        """Move the cursor to the first or last row."""
        self.action_move(side * len(self.rows))

    def action_claim(self, step: int) -> None:
        """Choose the claim before or after in this row."""
        row = self.chosen_row
        if row is None:
            return
        claims = sorted(self.held.of(row.uuid), key=lambda one: one.start)
        if not claims:
            return
        at = next((n for n, one in enumerate(claims) if one.uuid == self.claim), None)
        number = (0 if step > 0 else -1) if at is None else at + step
        self.claim = claims[max(0, min(number, len(claims) - 1))].uuid
        self.refresh_line(self.cursor)
        self.post_message(self.Looked())

    def _claim_at(self, number: int, begin: datetime) -> str:
        """Return the claim of a row in the cell that begins then; nothing for none."""
        end = begin + self.scale.cell if self.scale is not None else begin
        for one in self.held.of(self.rows[number].uuid):
            if one.start < end and (one.end is None or one.end > begin):
                return one.uuid
        return ""

    def on_click(self, event: events.Click) -> None:
        """Choose the row, and the claim at that time."""
        number = event.y + self.scroll_offset.y
        if self.scale is None or not 0 <= number < len(self.rows):
            return
        self.action_move(number - self.cursor)
        if event.x >= MARGIN:
            self.claim = self._claim_at(
                number, self.scale.left + self.scale.cell * (event.x - MARGIN)
            )
        self.refresh_line(self.cursor)
        self.post_message(self.Looked())
