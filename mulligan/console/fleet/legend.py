"""What the colours of the fleet map mean, how many machines have each, and a click to see those."""

from collections.abc import Mapping, Sequence

from rich.text import Text
from textual.events import Click
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from mulligan.console.fleet.cells import BUSY_MARK, CROSS, DOT, FULL
from mulligan.console.fleet.filter import BUSY
from mulligan.console.theme import BRIGHT, DIM, FAINT, STATES, colour_of


class Legend(Widget):
    """States by colour and number, in the order of a machine's life."""

    DEFAULT_CSS = "Legend { height: auto; padding: 0 1; background: $background; }"

    counts: reactive[Mapping[str, int]] = reactive({}, always_update=True, layout=True)
    read: reactive[bool] = reactive(False, layout=True)
    """Whether all machines were read."""
    matching: reactive[int | None] = reactive(None, layout=True)
    """How many machines the filter lets through; None without one."""

    class Chosen(Message):
        """The operator wants to see the machines of one state."""

        def __init__(self, state: str) -> None:
            super().__init__()
            self.state = state

    def render(self) -> Text:
        """Return the legend, on as many lines as it takes."""
        return self._shown(self.content_size.width)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return how many lines the legend takes in so many columns."""
        return self._shown(width).plain.count("\n") + 1

    def _shown(self, width: int) -> Text:
        return legend(self.counts, self.matching, width, read=self.read)

    def on_click(self, event: Click) -> None:
        """Choose the state that was clicked on."""
        state = event.style.meta.get("state")
        if state:
            self.post_message(self.Chosen(state))


def legend(
    counts: Mapping[str, int], matching: int | None, width: int, *, read: bool = True
) -> Text:
    """Return the numbers by state in so many columns; states that nobody is in are left out.

    ``read`` tells whether it is known by now that there are no others.
    """
    total = sum(counts.values())
    if not total:
        words = "no machines; `mulligan machine enrol` brings some" if read else "reading…"
        return Text(words, style=DIM)
    parts = [_total(total, matching)]
    for state in sorted(counts, key=lambda state: (state not in STATES, _rank(state), state)):
        if counts[state]:
            colour = colour_of(state)
            number = f"{counts[state]:,}"
            part = Text.assemble((_mark(state), colour), (f" {state} ", DIM))
            part.append(number, style=f"bold {colour}")
            part.apply_meta({"state": state})
            parts.append(part)
    return _filled([*parts, Text("□ cordoned", style=FAINT)], width)


def _total(total: int, matching: int | None) -> Text:
    if matching is None:
        words = " machines" if total != 1 else " machine"
        return Text.assemble((f"{total:,}", f"bold {BRIGHT}"), (words, DIM))
    return Text.assemble((f"{matching:,}", f"bold {BRIGHT}"), (f" of {total:,} match", DIM))


def _filled(parts: Sequence[Text], width: int) -> Text:
    """Return parts on lines of at most ``width`` columns, none of them broken."""
    text, used = Text(no_wrap=True), 0
    for part in parts:
        fits = used + 2 + part.cell_len <= width
        if used:
            text.append("  " if fits else "\n")
        text.append_text(part)
        used = used + 2 + part.cell_len if used and fits else part.cell_len
    return text


def _rank(state: str) -> int:
    """Return a state's place in the legend: what failed goes first, then a machine's life."""
    return -1 if state == "failed" else list(STATES).index(state) if state in STATES else 0


def _mark(state: str) -> str:
    if state in BUSY:
        return BUSY_MARK
    return {"failed": CROSS, "retired": DOT}.get(state, FULL)
