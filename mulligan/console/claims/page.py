"""Claims on a time line, by provider: what was, what is, and what is reserved."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import anyio
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from mulligan.console.actions.offered import actions_for_claim
from mulligan.console.called import Called
from mulligan.console.claims.draw import HUES, GanttClaim, header, scale_about
from mulligan.console.claims.feed import GanttFeed, Held, RegionClaims
from mulligan.console.claims.grid import MARGIN, GanttGrid
from mulligan.console.links import ChooseAction, GoToHistory, GoToWhy
from mulligan.console.source import Moment, Source
from mulligan.console.theme import BAD, BRIGHT, DIM, FAINT, LINK, TEXT, WARN
from mulligan.console.trouble import PASSES, harmless
from mulligan.console.view import View
from mulligan.quantities import format_span, format_time

REST_S = 0.1
"""Seconds that the view rests before what is in sight is asked for."""
NEWS_S = 1.0
"""Seconds between two askings because claims changed."""
TICK_S = 15.0
"""Seconds between two movements of now."""
AGAIN_S = 2.0
CELL = timedelta(hours=1)


class GanttView(View):
    """Page ``claims``."""

    FOLLOWS = True

    DEFAULT_CSS = """
    GanttView #gantt-scale { height: 2; background: $surface; }
    GanttView #gantt-claim { height: 3; background: $panel; padding: 0 1; text-wrap: nowrap;
        text-overflow: ellipsis; }
    """
    BINDINGS = [
        Binding("left", "scroll_time(-1)", "Earlier", show=False),
        Binding("right", "scroll_time(1)", "Later", show=False),
        Binding("plus", "zoom(-1)", "Closer", key_display="+"),
        Binding("equals_sign", "zoom(-1)", show=False),
        Binding("minus", "zoom(1)", "Farther", key_display="-"),
        Binding("n", "now", "Now"),
        Binding("w", "why", "Why"),
        Binding("y,enter", "why", show=False),
        Binding("h", "history", "History"),
        Binding("a", "actions", "Actions"),
    ]

    def __init__(
        self, source: Source, feed: GanttFeed | None = None, called: Called | None = None
    ) -> None:
        super().__init__(source)
        self.feed: GanttFeed = feed or RegionClaims(source)
        self.called = source.called if called is None else called
        self.held = Held(self.feed)
        self._cell = CELL
        self._placed_at: Moment | None = None
        self._read = False

    def compose(self) -> ComposeResult:
        """Lay out the scale, the rows, and what is known of the chosen claim."""
        yield Static(id="gantt-scale")
        yield GanttGrid(self.held, id="gantt-grid")
        yield Static(id="gantt-claim")

    @property
    def grid(self) -> GanttGrid:
        """The rows on the screen."""
        return self.query_one(GanttGrid)

    @property
    def now(self) -> datetime:
        """Return the moment that is now: the one that is shown, in the past."""
        moment = self.source.moment
        return moment.at if moment is not None else datetime.now(UTC)

    def on_mount(self) -> None:
        """Let now move on."""
        self.set_interval(TICK_S, self._tick)
        self.grid.focus()

    async def renew(self) -> None:
        """Read who stands where, and the claims in sight, anew."""
        self.workers.cancel_group(self, "follow")
        self.held.grow_old()
        self._place()
        async for rows in self.feed.rows():
            self._read = True
            self.grid.show_rows(rows)
            self._look()
        if self.source.live:
            self.ask(self._follow, group="follow")

    async def _follow(self) -> None:
        """Ask again for what is in sight when claims change, not more often than each second."""
        while True:
            with suppress(*PASSES):  # the banner says so
                async for _ in self.feed.changes():
                    self._changed()
                    await anyio.sleep(NEWS_S)
            await anyio.sleep(AGAIN_S)
            self._changed()  # nobody told of what happened meanwhile

    def _changed(self) -> None:
        """Have everything asked for again: what is in sight now, if the page is shown."""
        self.held.grow_old()
        if self.display:
            self._look()

    def on_show(self) -> None:
        """Ask for what changed while another page was shown."""
        self._look()

    def _place(self) -> None:
        """Put now a third from the left where another moment is shown; else time stays put."""
        if not self.grid.size.width:
            return  # it is not laid out yet, and looks again once it is
        cells = max(20, self.grid.size.width - MARGIN)
        if self.grid.scale is None or self._placed_at != self.source.moment:
            self.grid.scale = scale_about(self.now, self._cell, cells)
            self._placed_at = self.source.moment
        self.grid.scale = self.grid.scale._replace(cells=cells)
        self._draw()

    def _tick(self) -> None:
        if self.source.live and self.grid.scale is not None:
            self._draw()

    def _draw(self) -> None:
        scale = self.grid.scale
        if scale is None:
            return
        self.grid.now = self.now
        times, ruler = header(scale, self.now)
        corner = f" {scale.left:%Y-%m-%d}"
        text = Text.assemble(
            (f"{corner:<{MARGIN}}", FAINT), (times, DIM), ("\n", ""),
            (f"{f' a cell is {format_span(scale.cell.total_seconds())}':<{MARGIN}}", FAINT),
            (ruler, FAINT), no_wrap=True,
        )  # fmt: skip
        here = scale.at(self.now)
        if 0 <= here < scale.cells:
            start = len(corner) if len(corner) > MARGIN else MARGIN
            at = start + len(times) + 1 + MARGIN + here
            text.stylize(f"bold {WARN}", at, at + 1)
        self.query_one("#gantt-scale", Static).update(text)
        self.grid.refresh()

    @on(GanttGrid.Looked)
    def _look(self) -> None:
        """Show what is chosen; ask for what is in sight and not known."""
        if self.grid.scale is None or self.grid.scale.cells != max(
            20, self.grid.size.width - MARGIN
        ):
            self._place()
        self._tell()
        self.ask(self._load, group="claims")

    async def _load(self) -> None:
        scale = self.grid.scale
        if scale is None:
            return
        await anyio.sleep(REST_S)
        if not self.held.covers(scale.left, scale.right):
            around = scale.right - scale.left
            self.held.begin(scale.left - around, scale.right + around)
        wanted = self.held.missing(self.grid.in_sight())
        if wanted:
            await self.held.learn(wanted)
            self.grid.choose_now()
            self.grid.refresh()
        chosen = self.grid.chosen
        if chosen is not None:
            await self.called.learn([chosen.project, chosen.account])
        self._tell()

    def _tell(self) -> None:
        row, claim = self.grid.chosen_row, self.grid.chosen
        panel = self.query_one("#gantt-claim", Static)
        if claim is None:
            nothing = "no providers to claim" if self._read else "reading…"
            name = harmless(row.name) if row is not None else nothing
            free = "no claim in sight" if row is not None and not row.heading else ""
            panel.update(Text.assemble((name, BRIGHT), (f"  {free}", DIM), "\n\n", _legend()))
            return
        panel.update(claim_shown(claim, self.called, self.now).append_text(_legend()))

    def action_scroll_time(self, side: int) -> None:
        """Show an earlier or later time."""
        scale = self.grid.scale
        if scale is not None:
            self.grid.scale = scale.moved(side * max(1, scale.cells // 8))
            self._draw()
            self._look()

    def action_zoom(self, steps: int) -> None:
        """Let a cell stand for more or less time, about now where that is in sight."""
        scale = self.grid.scale
        if scale is None:
            return
        here = scale.at(self.now)
        about = here if 0 <= here < scale.cells else scale.cells // 2
        self.grid.scale = scale.zoomed(steps, about)
        self._cell = self.grid.scale.cell
        self._draw()
        self._look()

    def action_now(self) -> None:
        """Show now again."""
        self.grid.scale = None
        self._place()
        self._look()

    def action_why(self) -> None:
        """Show how the chosen claim's providers were found."""
        if self.grid.chosen is not None:
            self.post_message(GoToWhy(f"claim/{self.grid.chosen.uuid}"))

    def action_history(self) -> None:
        """Show the history of the chosen claim, or of the row's provider."""
        row, claim = self.grid.chosen_row, self.grid.chosen
        if claim is not None:
            self.post_message(GoToHistory(f"claim/{claim.uuid}"))
        elif row is not None:
            self.post_message(GoToHistory(f"provider/{row.uuid}"))

    def action_actions(self) -> None:
        """Offer to give the chosen claim back, or more time."""
        one = self.grid.chosen
        if one is not None:
            found = actions_for_claim(one.uuid, one.name, one.state, one.claim_end, one.providers)
            self.post_message(ChooseAction(f"claim {one.name}", found))


def claim_shown(claim: GanttClaim, called: Called, now: datetime) -> Text:
    """Return what is known of a claim, on three lines."""
    project = called.get(claim.project, claim.project) or "no project"
    account = called.get(claim.account, claim.account)
    end = f"to {format_time(claim.end)}" if claim.end else "open end"
    if claim.state == "active" and claim.end:
        end += f"  ({format_span(max(0.0, (claim.end - now).total_seconds()))} left)"
    begun = "for" if claim.start <= now else "in"
    since = format_span(abs((now - claim.start).total_seconds()))
    text = Text.assemble(
        (harmless(claim.name), f"bold {BRIGHT}"),
        (f"  {claim.state}", LINK),
        (f" {begun} {since}" if claim.state in ("active", "reserved") else "", DIM),
        (f"   project {harmless(project)}, by {harmless(account)}", TEXT),
        ("   stranded: its provider failed" if claim.stranded else "", BAD),
        no_wrap=True,
    )
    many = f"{claim.providers} providers" if claim.providers != 1 else "1 provider"
    text.append(f"\n{format_time(claim.start)} {end}   {claim.amounts} here, {many} in all\n", TEXT)
    return text


def _legend() -> Text:
    return Text.assemble(
        ("   ", f"on {HUES[0]}"), (" active  ", FAINT), ("▒▒▒", HUES[0]), (" reserved  ", FAINT),
        ("   ", "on #222d3b"), (" over  ", FAINT), ("~~~", "#3fc1c9"), (" turnaround  ", FAINT),
        ("│", WARN), (" now   a colour a project", FAINT), no_wrap=True,
    )  # fmt: skip
