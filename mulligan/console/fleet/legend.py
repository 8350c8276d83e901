"""What the colours of the fleet map mean, how many machines have each, and a click to see those."""

from collections.abc import Mapping

from rich.text import Text
from textual.events import Click
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
    matching: reactive[int | None] = reactive(None)
    """How many machines the filter lets through; None without one."""

    class Chosen(Message):
        """The operator wants to see the machines of one state."""

        def __init__(self, state: str) -> None:
            super().__init__()
            self.state = state

    def render(self) -> Text:
        """Return the legend, on as many lines as it takes."""
        return legend(self.counts, self.matching)

    def on_click(self, event: Click) -> None:
        """Choose the state that was clicked on."""
        state = event.style.meta.get("state")
        if state:
            self.post_message(self.Chosen(state))


def legend(counts: Mapping[str, int], matching: int | None) -> Text:
    """Return the numbers by state; states that nobody is in are left out."""
    total = sum(counts.values())
    line = Text()
    if matching is None:
        line.append(f"{total:,}", style=f"bold {BRIGHT}")
        line.append(" machines", style=DIM)
    else:
        line.append(f"{matching:,}", style=f"bold {BRIGHT}")
        line.append(f" of {total:,} match", style=DIM)
    known = sorted({*STATES, *counts}, key=lambda state: (state not in STATES, _rank(state), state))
    for state in known:
        if counts.get(state):
            line.append("  ")
            entry = Text.assemble(
                (_mark(state), colour_of(state)),
                (f" {state} ", DIM),
                (f"{counts[state]:,}", f"bold {colour_of(state)}"),
            )
            entry.apply_meta({"state": state})
            line.append_text(entry)
    line.append("  □ cordoned", style=FAINT)
    return line


def _rank(state: str) -> int:
    """Return a state's place in the legend: what failed goes first, then a machine's life."""
    return -1 if state == "failed" else list(STATES).index(state) if state in STATES else 0


def _mark(state: str) -> str:
    if state in BUSY:
        return BUSY_MARK
    return {"failed": CROSS, "retired": DOT}.get(state, FULL)
