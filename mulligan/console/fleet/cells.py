"""How one machine is drawn on the map: the mark says how it is, the colour its state."""

from functools import lru_cache

from rich.style import Style

from mulligan.console.brief import MachineBrief
from mulligan.console.fleet.filter import BUSY
from mulligan.console.theme import BRIGHT, FAINT, GROUND, STATES, TEXT, colour_of

FULL, OPEN, BUSY_MARK, CROSS, DOT = "■", "□", "◆", "✖", "·"
SICK = {"critical": "#5a1a22", "warning": "#4a3a12"}
"""The ground behind a machine whose BMC complains."""


def mark(machine: MachineBrief) -> str:
    """Return the character of a machine, so that the map can be read without its colours."""
    if machine.state == "failed":
        return CROSS
    if machine.state in BUSY:
        return BUSY_MARK
    if machine.state == "retired":
        return DOT
    return OPEN if machine.cordon else FULL


@lru_cache(maxsize=512)
def style(state: str, health: str, *, selected: bool, dim: bool) -> Style:
    """Return how a cell is coloured; ``dim`` is for what the filter leaves out."""
    if selected:
        return Style(color=colour_of(state), bgcolor=BRIGHT, bold=True)
    if dim:
        return Style(color="#263241")
    return Style(color=colour_of(state), bgcolor=SICK.get(health))


@lru_cache
def name_style(*, selected: bool, dim: bool) -> Style:
    """Return how a machine's name is coloured, where there is room for it."""
    if selected:
        return Style(color=GROUND, bgcolor=BRIGHT, bold=True)
    return Style(color="#263241" if dim else "#a9b6c6")


TITLE = Style(color=TEXT, bold=True)
RULE = Style(color="#243042")
RACK = Style(color="#8a9bb0")
COUNT = Style(color=FAINT)
COUNT_BAD = Style(color=STATES["failed"], bold=True)
