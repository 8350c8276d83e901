"""The time slider: the whole console as of an entry or a time."""

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

import anyio
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Click
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input

from mulligan.console.moment.steps import UNITS, share, stepped, wanted
from mulligan.console.source import Moment, Source
from mulligan.console.theme import BRIGHT, DIM, FAINT, GROUND, LINK, TEXT, WARN
from mulligan.console.trouble import harmless

if TYPE_CHECKING:
    from mulligan.console.app import ConsoleApp

SETTLE_S = 0.15
"""Seconds without another key after which the console goes where the slider stands."""


class Rail(Widget, can_focus=True):
    """The log as a line, with the moment on it."""

    DEFAULT_CSS = "Rail { height: 2; padding: 0 1; }"

    seq: reactive[int] = reactive(0)
    head: reactive[int] = reactive(0)
    told: reactive[str] = reactive("")
    unit: reactive[int] = reactive(0)

    def render(self) -> Text:
        """Return the line, and below it what the keys do."""
        return rail(self.seq, self.head, self.unit, self.told, self.content_size.width)


class TimeSlider(Vertical):
    """Two lines above the keys: where in the log the console is, and how to go elsewhere."""

    DEFAULT_CSS = """
    TimeSlider { height: auto; display: none; background: $panel; }
    TimeSlider.-open { display: block; }
    TimeSlider Input { height: 1; border: none; padding: 0 1; display: none; }
    TimeSlider Input.-open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "Back", priority=True),
        Binding("right", "step(1)", "Ahead", priority=True),
        Binding("shift+left", "step(-10)", "Ten back", show=False),
        Binding("shift+right", "step(10)", "Ten ahead", show=False),
        Binding("up", "unit(1)", "Larger steps"),
        Binding("down", "unit(-1)", "Smaller steps"),
        Binding("g", "type", "Jump to"),
        Binding("escape", "close", "Close"),
    ]

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self._here: Moment | None = None
        self._target = ""

    def compose(self) -> ComposeResult:
        """Lay out the rail, and the line to type a moment in."""
        yield Input(placeholder="812   -20   -2h   2027-01-31T08:00", compact=True)
        yield Rail()

    def on_mount(self) -> None:
        """Follow the app's pulse and moment."""
        self.watch(self.app, "pulse", self._placed, init=False)
        self.watch(self.app, "moment", self._placed, init=False)

    @property
    def console(self) -> "ConsoleApp":
        """The app."""
        return cast("ConsoleApp", self.app)

    @property
    def busy(self) -> bool:
        """Whether a moment is looked for."""
        return bool(self._target)

    def _placed(self) -> None:
        line, moment = self.query_one(Rail), self.console.moment
        line.head = max(line.head, self.console.pulse.head)
        if moment is None:
            self._here, self._target = None, ""
        if not self._target:
            line.seq = moment.seq if moment else line.head

    def open(self) -> None:
        """Show the slider, where the console is."""
        self.add_class("-open")
        self._placed()
        self.query_one(Rail).focus()

    def action_close(self) -> None:
        """Hide the slider; the console stays where it is."""
        line = self.query_one(Input)
        if line.has_class("-open"):
            line.remove_class("-open")
            self.query_one(Rail).focus()
            return
        self.remove_class("-open")
        self.console.focus_page()

    def action_unit(self, by: int) -> None:
        """Make the steps larger or smaller."""
        rail = self.query_one(Rail)
        rail.unit = min(max(0, rail.unit + by), len(UNITS) - 1)

    def action_step(self, by: int) -> None:
        """Go some steps back or ahead; typed text keeps its own arrows."""
        if self.query_one(Input).has_focus:
            line = self.query_one(Input)
            line.cursor_position += 1 if by > 0 else -1
            return
        rail = self.query_one(Rail)
        if not rail.head:
            return  # nobody knows yet where the log ends
        here = self._here or self.console.moment
        here = here or Moment(self.console.pulse.head, datetime.now(UTC))
        unit = UNITS[rail.unit]
        self._target = stepped(here, unit, by, rail.head)
        if unit.span is None:
            rail.seq = int(self._target)
            self._here = Moment(rail.seq, here.at)
        else:
            self._here = Moment(here.seq, datetime.fromisoformat(self._target))
        rail.told = f"going to {shown(self._target)}"
        self.console.beside(partial(self._settle, self._target), group="moment")

    def action_type(self) -> None:
        """Type a moment."""
        line = self.query_one(Input)
        line.add_class("-open")
        line.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the moment that was typed."""
        event.stop()
        self.console.beside(partial(self._typed, event.value), group="moment")

    async def _typed(self, text: str) -> None:
        """Go to what was typed; the log's end is asked for where it is not known yet."""
        head = self.query_one(Rail).head or await self.source.head()
        target = wanted(text, datetime.now(UTC), head)
        line = self.query_one(Input)
        line.value = ""
        line.remove_class("-open")
        self.query_one(Rail).focus()
        self.go(target)

    def on_click(self, event: Click) -> None:
        """Go to the place of the log that was clicked on."""
        rail = self.query_one(Rail)
        if event.widget is rail and event.y == 0 and rail.head:
            part = (event.x - 1) / max(1, rail.content_size.width - 1)
            self.go(str(max(1, round(1 + min(1.0, max(0.0, part)) * (rail.head - 1)))))

    def go(self, target: str) -> None:
        """Go to an entry or a time, as the services take it."""
        self._target = target
        self.query_one(Rail).told = f"going to {shown(target)}"
        self.console.beside(partial(self._find, target), group="moment")

    async def _settle(self, target: str) -> None:
        await anyio.sleep(SETTLE_S)
        await self._find(target)

    async def _find(self, target: str) -> None:
        """Find the entry, telling how far its read models are made, and show it."""
        rail = self.query_one(Rail)

        def told(text: str) -> None:
            rail.told = harmless(text)

        try:
            moment = await self.source.find(target, told)
        finally:
            if self._target == target:  # else somebody went on meanwhile
                self._target, self._here, rail.told = "", None, ""
                self._placed()
        self.console.visit(moment)


def rail(seq: int, head: int, unit: int, told: str, width: int) -> Text:
    """Return the slider for a screen that wide."""
    place = round(share(seq, head) * max(0, width - 1))
    line = Text(no_wrap=True)
    line.append("━" * place, style=LINK)
    line.append("●", style=f"bold {BRIGHT}")
    line.append("━" * max(0, width - 1 - place), style="#2b3a4d")
    line.append("\n")
    line.append(f"#{seq:,}", style=f"bold {TEXT}").append(f" of #{head:,}   ", style=FAINT)
    if told:
        return line.append(told, style=WARN)
    line.append("steps: ", style=FAINT)
    for number, one in enumerate(UNITS):
        here = number == unit
        line.append(f" {one.name} ", style=f"bold {GROUND} on {LINK}" if here else DIM)
    return line


def shown(target: str) -> str:
    """Return an entry or time as people read it."""
    if target.isdecimal():
        return f"#{int(target):,}"
    return f"{datetime.fromisoformat(target):%Y-%m-%d %H:%M:%S} UTC"
