"""The top of the console: the region, its head and lag, the moment shown, and the pages."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from rich.text import Text
from textual.events import Click
from textual.reactive import reactive
from textual.widget import Widget

from mulligan.console.pages import Page
from mulligan.console.source import Moment, Pulse
from mulligan.console.theme import BAD, BRIGHT, DIM, FAINT, GOOD, GROUND, LINK, TEXT, WARN
from mulligan.console.trouble import harmless

if TYPE_CHECKING:
    from mulligan.console.app import ConsoleApp
    from mulligan.diagnosis.problem import Problem


class Banner(Widget):
    """One line: which region, how far its log is, and whether this is now or a moment ago."""

    DEFAULT_CSS = "Banner { height: 1; background: $panel; }"

    def on_mount(self) -> None:
        """Follow the app's pulse and moment."""
        self.watch(self.app, "pulse", self._redraw, init=False)
        self.watch(self.app, "moment", self._redraw, init=False)

    def _redraw(self) -> None:
        self.refresh()

    def render(self) -> Text:
        """Return the line."""
        app = cast("ConsoleApp", self.app)
        return banner(app.pulse, app.moment, self.size.width)


def banner(pulse: Pulse, moment: Moment | None, width: int) -> Text:
    """Return the banner's line for a screen that wide."""
    line = Text.assemble((" ▞ MULLIGAN ", f"bold {GROUND} on {LINK}"))
    line.append(f"  {pulse.region or '…'}", style=f"bold {TEXT}")
    region = line.cell_len  # is told whatever is wrong
    line.append(f"  #{pulse.head:,}" if pulse.head else "", style=TEXT)
    if pulse.head:
        line.append("  lag ", style=FAINT)
        line.append(f"{pulse.lag:,}", style=WARN if pulse.lag > 100 else DIM)
    for name in pulse.halted:
        line.append(f"  {name} halted", style=f"bold {BAD}")
    right = _right(pulse, moment)
    right.truncate(max(10, width - region - 2), overflow="ellipsis")
    room = width - right.cell_len
    line.truncate(max(0, room), overflow="ellipsis", pad=True)
    return Text.assemble(line, right, no_wrap=True)


def _right(pulse: Pulse, moment: Moment | None) -> Text:
    if pulse.trouble:
        first = harmless(pulse.trouble).splitlines()[0]
        return Text(f" ✖ {pulse.what or 'trouble'}: {first} ", style=f"bold {BRIGHT} on {BAD}")
    if moment is not None:
        return Text(
            f" ◀ AS OF #{moment.seq:,}  {moment.at:%Y-%m-%d %H:%M:%S} UTC  l: back to now ",
            style=f"bold {GROUND} on {WARN}",
        )
    if not pulse.region:
        return Text(" connecting… ", style=DIM)
    return Text(" ● live ", style=f"bold {GOOD}")


class TabLine(Widget):
    """The pages, with the key of each; a click shows one."""

    DEFAULT_CSS = "TabLine { height: 1; background: $surface; }"

    current: reactive[str] = reactive("")
    problems: reactive[int] = reactive(0)
    critical: reactive[bool] = reactive(False)

    def __init__(self, pages: Sequence[Page]) -> None:
        super().__init__()
        self._pages = pages

    def render(self) -> Text:
        """Return the line."""
        line = Text(no_wrap=True)
        for page in self._pages:
            here = page.name == self.current
            line.append(f" {page.key} ", style=f"bold {LINK}" if here else FAINT)
            line.append(page.title, style=f"bold {BRIGHT} underline" if here else DIM)
            line.append(self._count_at(page), style=f"bold {BAD if self.critical else WARN}")
            line.append("  ")
        keys = Text.assemble(("? ", f"bold {LINK}"), ("keys ", DIM))
        room = self.size.width - line.cell_len - keys.cell_len
        return line.append(" " * room).append_text(keys) if room >= 0 else line

    def count(self, problems: "Sequence[Problem]") -> None:
        """Tell beside the page of problems how many there are."""
        self.problems = len(problems)
        self.critical = any(one.severity == "critical" for one in problems)

    def _count_at(self, page: Page) -> str:
        return f" {self.problems}" if self.problems and page.name == "problems" else ""

    async def on_click(self, event: Click) -> None:
        """Show the page that was clicked on."""
        end = 0
        for page in self._pages:
            end += len(page.title) + len(self._count_at(page)) + 5
            if event.x < end:
                await cast("ConsoleApp", self.app).action_show(page.name)
                return
