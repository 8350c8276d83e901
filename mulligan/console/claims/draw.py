"""Claims on a time line: which cells they take, what the scale says. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

import msgspec
from rich.segment import Segment
from rich.style import Style

from mulligan.console.theme import BAD, FAINT, GROUND, WARN
from mulligan.console.trouble import harmless

ZOOMS = tuple(
    timedelta(minutes=minutes)
    for minutes in (1, 5, 15, 30, 60, 120, 240, 480, 720, 1440, 2880, 5760, 10080)
)
"""What a cell may stand for."""
_STEPS = tuple(
    timedelta(minutes=minutes)
    for minutes in (
        5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7 * 1440, 14 * 1440, 28 * 1440,
        91 * 1440, 182 * 1440, 364 * 1440,
    )
)  # fmt: skip
_MARK_ROOM = 9
_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)

HUES = ("#4d96ff", "#4fc08d", "#f2a65a", "#b48ef2", "#3fc1c9", "#e58fc5", "#9ccc65", "#ffca7a")
"""Colours of projects; which one a project has follows from its id."""
_DARKER = ("#22406b", "#24533f", "#694a2b", "#4f3f6a", "#1f5558", "#633f56", "#45592d", "#6e5836")
_ACTIVE = tuple(Style(color=GROUND, bgcolor=hue, bold=True) for hue in HUES)
_RESERVED = tuple(Style(color=hue, bgcolor=dark) for hue, dark in zip(HUES, _DARKER, strict=True))
_NAMED = Style(color="#ffffff")
_HERE = Style(color=BAD, bold=True)
_OVER = Style(color="#8a9bb0", bgcolor="#222d3b")
_CLEANING = Style(color="#3fc1c9")
_NOW = Style(color=WARN, bold=True)
_GRID = Style(color="#1c2735")
_CHOSEN = Style(color=GROUND, bgcolor="#ffffff", bold=True)
_STRANDED = Style(color=GROUND, bgcolor=BAD)


class GanttClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A claim as one provider holds it, over [start, end); an absent end is open.

    ``turnaround`` counts as used after the end; ``providers`` is how many it holds in all.
    """

    uuid: str
    name: str
    state: str
    project: str
    account: str
    start: datetime
    end: datetime | None
    claim_end: datetime | None
    turnaround: timedelta = timedelta(0)
    amounts: str = ""
    providers: int = 1
    stranded: bool = False


class Scale(NamedTuple):
    """Which cell stands for which time: from ``left`` on, ``cell`` each."""

    left: datetime
    cell: timedelta
    cells: int

    @property
    def right(self) -> datetime:
        """Return when the scale ends."""
        return self.left + self.cell * self.cells

    def at(self, moment: datetime) -> int:
        """Return the cell that a moment lies in; it may lie outside."""
        return (moment - self.left) // self.cell

    def behind(self, moment: datetime) -> int:
        """Return the first cell that a stretch which ends at ``moment`` does not touch."""
        return -((self.left - moment) // self.cell)

    def moved(self, cells: int) -> "Scale":
        """Return the scale so many cells later."""
        return self._replace(left=self.left + self.cell * cells)

    def zoomed(self, steps: int, about: int) -> "Scale":
        """Return the scale with a coarser (or finer) cell, the moment of cell ``about`` at rest."""
        number = min(range(len(ZOOMS)), key=lambda n: abs(ZOOMS[n] - self.cell))
        cell = ZOOMS[max(0, min(number + steps, len(ZOOMS) - 1))]
        return self._replace(left=self.left + self.cell * about - cell * about, cell=cell)


def scale_about(now: datetime, cell: timedelta, cells: int) -> Scale:
    """Return a scale with ``now`` a third from its left edge, on whole cells."""
    aligned = _MONDAY + (now - _MONDAY) // cell * cell
    return Scale(aligned - cell * (cells // 3), cell, cells)


def style_of(claim: GanttClaim, *, chosen: bool) -> tuple[str, Style]:
    """Return what a claim's cells are filled with, and their style."""
    if chosen:
        return " ", _CHOSEN
    hue = crc32(claim.project.encode()) % len(HUES)
    match claim.state:
        case "active":
            return " ", _ACTIVE[hue]
        case "reserved" if claim.stranded:
            return "!", _STRANDED
        case "reserved":
            return "▒", _RESERVED[hue]
        case _:
            return " ", _OVER


def row_cells(
    claims: Sequence[GanttClaim], scale: Scale, now: datetime, chosen: str
) -> list[Segment]:
    """Return one provider's time line: what is active above what is reserved, over, or cleaned."""
    chars, styles = [" "] * scale.cells, [_GRID] * scale.cells
    for cell in _dots(scale):
        chars[cell] = "·"
    here = scale.at(now)
    if 0 <= here < scale.cells:
        chars[here], styles[here] = "│", _NOW
    for claim in sorted(claims, key=_rank):
        _paint(claim, scale, chars, styles, chosen=claim.uuid == chosen)
    covered = 0 <= here < scale.cells and styles[here].bgcolor is not None
    if covered and chars[here] in " ▒!":  # a name stays readable
        chars[here] = "│"
        styles[here] += _HERE
    return merged(chars, styles)


@lru_cache(maxsize=4)
def _dots(scale: Scale) -> tuple[int, ...]:
    """Return the cells of the marks; every row of a drawing has the same."""
    return tuple(mark.cell for mark in marks(scale))


def _rank(claim: GanttClaim) -> tuple[int, datetime]:
    order = {"ended": 0, "released": 0, "cancelled": 0, "reserved": 1, "active": 2}
    return order.get(claim.state, 0), claim.start


def _paint(
    claim: GanttClaim, scale: Scale, chars: list[str], styles: list[Style], *, chosen: bool
) -> None:
    first = max(0, scale.at(claim.start))
    last = scale.cells if claim.end is None else min(scale.cells, scale.behind(claim.end))
    fill, style = style_of(claim, chosen=chosen)
    for cell in range(first, last):
        chars[cell], styles[cell] = fill, style
    name = harmless(claim.name)
    room = last - first - (len(name) != last - first)
    if room >= 3:
        label = name if len(name) <= room else f"{name[: room - 1]}…"
        begin = first + (1 if room > len(label) else 0)
        chars[begin : begin + len(label)] = label
        if fill != " ":
            plain = style + _NAMED
            styles[begin : begin + len(label)] = [plain] * len(label)
    if claim.end is not None and claim.turnaround and claim.state in ("active", "reserved"):
        until = min(scale.cells, scale.behind(claim.end + claim.turnaround))
        for cell in range(max(0, last), until):
            if styles[cell].bgcolor is None:
                chars[cell], styles[cell] = "~", _CLEANING


def merged(chars: Sequence[str], styles: Sequence[Style]) -> list[Segment]:
    """Return cells as segments, neighbours of one style together."""
    segments: list[Segment] = []
    begin = 0
    for cell in range(1, len(chars) + 1):
        if cell == len(chars) or styles[cell] is not styles[begin]:
            segments.append(Segment("".join(chars[begin:cell]), styles[begin]))
            begin = cell
    return segments


class Mark(NamedTuple):
    """A cell of the scale that a time begins in, and how that is written."""

    cell: int
    label: str


def marks(scale: Scale) -> list[Mark]:
    """Return the marks of a scale, far enough from one another to be read."""
    fitting = [step for step in _STEPS if step >= scale.cell * _MARK_ROOM]
    step = fitting[0] if fitting else _STEPS[-1]
    moment = _MONDAY + -((_MONDAY - scale.left) // step) * step
    found: list[Mark] = []
    while moment < scale.right:
        midnight = (moment.hour, moment.minute) == (0, 0)
        found.append(
            Mark(scale.at(moment), f"{moment:%a %m-%d}" if midnight else f"{moment:%H:%M}")
        )
        moment += step
    return found


def header(scale: Scale, now: datetime) -> tuple[str, str]:
    """Return the line of times, and the ruler below it with now on it."""
    text, ruler = "", ["─"] * scale.cells
    for mark in marks(scale):
        if len(text) <= mark.cell and mark.cell + len(mark.label) <= scale.cells:
            text = f"{text:<{mark.cell}}{mark.label} "
        ruler[mark.cell] = "┬"
    here = scale.at(now)
    if 0 <= here < scale.cells:
        ruler[here] = "▼"
    return f"{text:<{scale.cells}}", "".join(ruler)


LABEL = Style(color="#d6dee8")
HEADING = Style(color="#8a9bb0", bold=True)
RULE = Style(color=FAINT)
