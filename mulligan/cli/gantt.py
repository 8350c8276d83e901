"""Claims as time lines in a terminal, drawn with blocks or, where it must be, in plain ASCII."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, TextIO

from mulligan.quantities import format_span

if TYPE_CHECKING:
    from mulligan.proto.v1 import Claim

NARROWEST = 10
"""Cells of the shortest time line that is drawn, however narrow the terminal."""
WIDEST_LABEL = 28


class Signs(NamedTuple):
    """The characters of a drawing."""

    active: str
    reserved: str
    over: str
    cleaning: str
    now: str
    cut: str


BLOCKS = Signs("█", "▒", "░", "~", "│", "…")
ASCII = Signs("#", "=", ".", "~", "|", ">")

STEPS = tuple(
    timedelta(minutes=minutes)
    for minutes in (
        1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720,
        1440, 2880, 7 * 1440, 14 * 1440, 28 * 1440, 91 * 1440, 364 * 1440,
    )
)  # fmt: skip
"""Distances that two marks of the scale may have."""


class Bar(NamedTuple):
    """A stretch [start, end) of a row; an absent end is open."""

    sign: str
    start: datetime
    end: datetime | None


Rows = Mapping[str, Sequence[Bar]]


class Scale(NamedTuple):
    """Which cell stands for which time: ``cells`` of them over [start, end)."""

    start: datetime
    end: datetime
    cells: int

    def cell(self, moment: datetime) -> float:
        """Return where a moment lies, in cells from the left edge."""
        return (moment - self.start) / (self.end - self.start) * self.cells


class Shape(NamedTuple):
    """How a drawing is made: over which time, how wide, and with which characters."""

    start: datetime
    end: datetime
    width: int
    signs: Signs = BLOCKS


def signs_for(out: TextIO, *, ascii_only: bool) -> Signs:
    """Return blocks, or ASCII where the terminal cannot show them."""
    try:
        "".join(BLOCKS).encode(getattr(out, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return ASCII if ascii_only else BLOCKS


def by_claim(claims: "Sequence[Claim]", signs: Signs) -> Rows:
    """Return a row for each claim, in the order of their starts."""
    rows: dict[str, list[Bar]] = {}
    for claim in sorted(claims, key=lambda one: (_begin(one), one.name or one.uuid)):
        label = claim.name or claim.uuid
        if label in rows:
            label = claim.uuid
        rows[label] = list(_bars(claim, _whole(claim), signs))
    return rows


def by_provider(claims: "Sequence[Claim]", signs: Signs) -> Rows:
    """Return a row for each provider of the claims, by name."""
    rows: dict[str, list[Bar]] = {}
    for claim in claims:
        for one in claim.allocations:
            hold = _Hold(one.since, one.until, one.turnaround or timedelta(0))
            rows.setdefault(one.provider_name or one.provider, []).extend(_bars(claim, hold, signs))
    return {name: bars for name, bars in sorted(rows.items()) if bars}


class _Hold(NamedTuple):
    since: datetime | None
    until: datetime | None
    turnaround: timedelta


def _whole(claim: "Claim") -> _Hold:
    longest = max((one.turnaround or timedelta(0) for one in claim.allocations), default=None)
    return _Hold(None, None, longest or timedelta(0))


def _begin(claim: "Claim") -> datetime:
    start = claim.window.start if claim.window else None
    return start or claim.created_at or datetime.min.replace(tzinfo=UTC)


def _bars(claim: "Claim", hold: _Hold, signs: Signs) -> Iterator[Bar]:
    from mulligan.proto.v1 import ClaimState

    by_state = {ClaimState.ACTIVE: signs.active, ClaimState.RESERVED: signs.reserved}
    start = hold.since or _begin(claim)
    end = hold.until or (claim.window.end if claim.window else None)
    if end is not None and end <= start:
        return  # given back before it began
    yield Bar(by_state.get(claim.state, signs.over), start, end)
    if end is not None and hold.turnaround:
        yield Bar(signs.cleaning, end, end + hold.turnaround)


def draw(rows: Rows, shape: Shape, now: datetime) -> list[str]:
    """Return the lines of a drawing, none longer than the width if that can be.

    A cell shows what holds in any part of it: what is active over what is reserved, that over what
    is over, and cleaning last.
    """
    signs = shape.signs
    room = max(1, min(WIDEST_LABEL, shape.width // 3))
    labels = {name: _cut(name, room, signs) for name in rows}
    margin = max(map(len, labels.values()), default=0) + 1
    scale = Scale(shape.start, shape.end, max(NARROWEST, shape.width - margin))
    marks, ticks = _marks(scale)
    lines = [f"{'':<{margin}}{marks}".rstrip(), f"{'':<{margin}}{_ruler(scale, ticks, signs, now)}"]
    for name, bars in rows.items():
        lines.append(f"{labels[name]:<{margin}}{_row(bars, scale, signs, now)}".rstrip())
    return [*lines, *_legend(scale, signs, shape.width, now)]


def _cut(name: str, room: int, signs: Signs) -> str:
    return name if len(name) <= room else name[: room - 1] + signs.cut


def _row(bars: Sequence[Bar], scale: Scale, signs: Signs, now: datetime) -> str:
    rank = (signs.cleaning, signs.over, signs.reserved, signs.active)
    cells = [" "] * scale.cells
    if scale.start <= now < scale.end:
        cells[int(scale.cell(now))] = signs.now
    for bar in sorted(bars, key=lambda one: rank.index(one.sign)):
        first = max(0, int(scale.cell(bar.start)))
        last = scale.cells if bar.end is None else _ceiling(scale.cell(bar.end))
        for number in range(first, min(last, scale.cells)):
            cells[number] = bar.sign
    return "".join(cells)


def _ceiling(value: float) -> int:
    """Return the cell behind an end; a hair over a cell's edge, of rounding, is no cell."""
    return -int(-(value - 1e-9) // 1)


def _marks(scale: Scale) -> tuple[str, list[int]]:
    """Return the line of times above the ruler, and the cells that they stand for."""
    span = scale.end - scale.start
    fitting = [step for step in STEPS if step / span * scale.cells >= _room(step)]
    step = fitting[0] if fitting else STEPS[-1]
    origin = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday: weeks begin there
    moment = origin + -((origin - scale.start) // step) * step
    text, ticks = "", []
    while moment < scale.end:
        cell = int(scale.cell(moment))
        label = _label(moment, step)
        if cell >= 0 and len(text) <= cell and cell + len(label) <= scale.cells:
            text = f"{text:<{cell}}{label}"
        if cell >= 0:
            ticks.append(cell)
        moment += step
    return text, ticks


def _room(step: timedelta) -> int:
    return 8 if step < timedelta(days=1) else 7


def _label(moment: datetime, step: timedelta) -> str:
    if step >= timedelta(days=1) or (moment.hour, moment.minute) == (0, 0):
        return f"{moment:%m-%d}"
    return f"{moment:%H:%M}"


def _ruler(scale: Scale, ticks: Sequence[int], signs: Signs, now: datetime) -> str:
    plain = signs == ASCII
    cells = ["-" if plain else "─"] * scale.cells
    for tick in ticks:
        cells[tick] = "+" if plain else "┬"
    if scale.start <= now < scale.end:
        cells[int(scale.cell(now))] = "V" if plain else "▼"
    return "".join(cells)


def _legend(scale: Scale, signs: Signs, width: int, now: datetime) -> list[str]:
    """Return what the characters mean, broken where the line would be too long."""
    marker = "V" if signs == ASCII else "▼"
    here = [f"{marker} now {now:%m-%d %H:%M}Z"] if scale.start <= now < scale.end else []
    cell = ((scale.end - scale.start) / scale.cells).total_seconds()
    words = [
        f"{signs.active} active", f"{signs.reserved} reserved", f"{signs.over} over",
        f"{signs.cleaning} cleaning", *here, f"a cell is {format_span(round(cell))}",
    ]  # fmt: skip
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 2 + len(word) <= width:
            lines[-1] += f"  {word}"
        else:
            lines.append(word)
    return lines
