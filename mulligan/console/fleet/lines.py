"""The lines of the fleet map that are no cells: titles of sections, names of racks."""

from collections.abc import Iterable, Mapping, Sequence

from rich.segment import Segment

from mulligan.console.brief import MachineBrief
from mulligan.console.fleet.cells import COUNT, COUNT_BAD, RACK, RULE, TITLE
from mulligan.console.fleet.layout import Label, Title
from mulligan.console.trouble import harmless


def title(line: Title, machines: Mapping[str, MachineBrief], width: int) -> list[Segment]:
    """Return a section's title: the way down to it, how many machines, how many failed."""
    failed = failures(line.machines, machines)
    name = shortened(line.text, max(8, width - 30))
    segments = [
        Segment(f" {name} ", TITLE),
        Segment(f" {len(line.machines):,}", COUNT),
    ]
    if failed:
        segments.append(Segment(f"  {failed:,} failed", COUNT_BAD))
    used = sum(len(one.text) for one in segments)
    segments.append(Segment(" " + "─" * max(0, width - used - 2), RULE))
    return segments


def labels(line: Sequence[Label], machines: Mapping[str, MachineBrief]) -> list[Segment]:
    """Return the names of racks beside one another, each with how many of it failed."""
    segments: list[Segment] = []
    x = 0
    for label in line:
        failed = failures(label.rack.machines, machines)
        bad = f" ✖{failed}" if failed else ""
        name = shortened(label.rack.name, max(1, label.width - len(bad)))
        segments += (
            Segment(" " * (label.x - x)),
            Segment(name, RACK),
            Segment(bad, COUNT_BAD),
        )
        x = label.x + len(name) + len(bad)
    return segments


def failures(uuids: Iterable[str], machines: Mapping[str, MachineBrief]) -> int:
    """Return how many of some machines are failed."""
    return sum(1 for uuid in uuids if (one := machines.get(uuid)) and one.state == "failed")


def shortened(text: str, width: int) -> str:
    """Return a text in so many columns, its end cut where it is longer."""
    line = harmless(text)
    return line if len(line) <= width else f"{line[: max(0, width - 1)]}…"
