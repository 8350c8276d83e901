"""Tables on a terminal: cut to its width, times told from now, states in colour."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from mulligan.cli.output import Screen
from mulligan.quantities import Moment
from mulligan.wording import harmless

GAP = 2
LEAST = 8
"""Characters that a column keeps however narrow the terminal."""
_SPANS = ((86400 * 2, 86400, "d"), (3600 * 2, 3600, "h"), (120, 60, "m"), (0, 1, "s"))
_COLOURED = frozenset({"STATE", "STATUS", "HEALTH", "RESULT", "FAULT"})
_RED = ("failed", "critical", "down", "halted", "error", "stranded")
_YELLOW = ("warning", "deploying", "cleaning", "inspecting", "rescue", "lagging", "reserved")
_GREEN = ("active", "available", "ok", "live", "running")


def lines_of(
    titles: Sequence[str] | None,
    cells: Sequence[Sequence[str]],
    names: Sequence[str],
    screen: Screen,
    fitted: Screen | None,
) -> Iterator[str]:
    """Yield the lines of a table; with ``fitted``, as wide as that, and with times from now."""
    now = datetime.now(UTC)
    rows = [[_told(cell, now, fitted is not None) for cell in row] for row in cells]
    measured = [*([list(titles)] if titles else []), *rows]
    widths = [max(map(len, column)) for column in zip(*measured, strict=True)]
    if fitted is not None:
        widths = fit(widths, fitted.width)
    if titles:
        yield _line(list(titles), widths)
    for row in rows:
        yield _line(row, widths, names if screen.colours else ())


def fit(widths: Sequence[int], most: int) -> list[int]:
    """Return the widths of columns that together fit into ``most``, the widest cut first."""
    found = list(widths)
    while found and sum(found) + GAP * (len(found) - 1) > most and max(found) > LEAST:
        widest = max(found)
        over = sum(found) + GAP * (len(found) - 1) - most
        second = max([one for one in found if one < widest], default=LEAST)
        place = found.index(widest)
        found[place] = max(LEAST, widest - over, min(second, widest - 1))
    return found


def ago(at: datetime, now: datetime) -> str:
    """Return how long ago, or how far ahead, a time is: ``5m ago``, ``in 2h``."""
    seconds = (now - at).total_seconds()
    size, unit = next((size, unit) for least, size, unit in _SPANS if abs(seconds) >= least)
    told = f"{int(abs(seconds) // size)}{unit}"
    return f"{told} ago" if seconds >= 0 else f"in {told}"


def _told(cell: str, now: datetime, from_now: bool) -> str:
    if from_now and isinstance(cell, Moment):
        return ago(cell.at, now)
    return harmless(cell.replace("\n", " ")) or "-"


def _line(row: Sequence[str], widths: Sequence[int], names: Sequence[str] = ()) -> str:
    parts = []
    for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
        cut = cell if len(cell) <= width else f"{cell[: width - 1]}…"
        padded = cut.ljust(width) if place + 1 < len(widths) else cut
        coloured = bool(names) and names[place] in _COLOURED
        parts.append(_colour(padded) if coloured else padded)
    return (" " * GAP).join(parts).rstrip()


def _colour(text: str) -> str:
    for words, code in ((_RED, 31), (_YELLOW, 33), (_GREEN, 32)):
        if text.startswith(words):
            return f"\x1b[{code}m{text}\x1b[0m"
    return text
