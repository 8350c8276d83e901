"""Where each machine stands on the fleet map: sections of racks, racks of cells. Pure."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from mulligan.console.brief import MachineBrief, Place
from mulligan.wording import natural

NOWHERE = "no rack"
CELL = 2
"""Columns that a cell takes: a mark and the gap behind it."""
GAP = 3
"""Columns between two racks."""
_WIDEST, _USUAL, _NARROWEST = 40, 10, 4
"""Cells of a rack beside one another."""
_NAME_CELLS = 12
"""Cells that a rack may be wide for its name's sake."""
_BAD_COLUMNS = 4
_NAMED_AT_MOST, _LONGEST_NAME = 600, 24
_DEEP = 32
"""Levels of places that are followed; a tree that is deeper, or a ring, ends there."""


class Rack(msgspec.Struct, frozen=True):
    """Machines that stand under one provider, in the order of their names."""

    uuid: str
    name: str
    machines: tuple[str, ...]


class Section(msgspec.Struct, frozen=True):
    """Racks that stand under one provider; the title is the way down to it."""

    title: str
    racks: tuple[Rack, ...]


class Title(msgspec.Struct, frozen=True):
    """A line that names a section."""

    text: str
    machines: tuple[str, ...]


class Label(msgspec.Struct, frozen=True):
    """A rack's name in a line of names."""

    x: int
    width: int
    rack: Rack


class Run(msgspec.Struct, frozen=True):
    """Cells beside one another: ``machines`` from column ``x`` on."""

    x: int
    machines: tuple[str, ...]


Line = Title | tuple[Label, ...] | tuple[Run, ...] | None
"""One line of the map: a section's title, names of racks, cells, or nothing."""


class Spot(msgspec.Struct, frozen=True):
    """Where a machine's cell is."""

    x: int
    y: int


class Layout(msgspec.Struct, frozen=True):
    """The whole map for one width; ``order`` is how the cursor goes from cell to cell.

    A cell is ``cell`` columns wide: ``CELL``, or more where there is room for names.
    """

    lines: tuple[Line, ...]
    spots: Mapping[str, Spot]
    order: tuple[str, ...]
    width: int
    cell: int = CELL

    @property
    def named(self) -> bool:
        """Whether cells have the names of machines in them."""
        return self.cell > CELL


EMPTY = Layout((), {}, (), 0)


def sections(
    machines: Iterable[MachineBrief], places: Mapping[str, Place], parents: Mapping[str, str]
) -> list[Section]:
    """Group machines by the rack they stand in, and racks by what these stand in."""
    racks: dict[str, list[MachineBrief]] = {}
    for machine in machines:
        racks.setdefault(parents.get(machine.uuid, ""), []).append(machine)
    grouped: dict[tuple[str, ...], list[Rack]] = {}
    for uuid, members in racks.items():
        way = path(uuid, places)
        members.sort(key=lambda one: natural(one.name))
        rack = Rack(uuid, way[-1] if way else NOWHERE, tuple(one.uuid for one in members))
        grouped.setdefault(way[:-1], []).append(rack)
    return [
        Section(" / ".join(way), tuple(sorted(found, key=_rack_order)))
        for way, found in sorted(
            grouped.items(), key=lambda item: [natural(one) for one in item[0]]
        )
    ]


def _rack_order(rack: Rack) -> tuple[bool, tuple[object, ...]]:
    return not rack.uuid, natural(rack.name)


def path(uuid: str, places: Mapping[str, Place]) -> tuple[str, ...]:
    """Return the names from the top of a tree down to a place; nothing for an unknown one."""
    names: list[str] = []
    while uuid in places and len(names) < _DEEP:
        here = places[uuid]
        names.append(here.name)
        uuid = here.parent
    return tuple(reversed(names))


def lay_out(
    found: Sequence[Section], width: int, height: int = 0, names: Mapping[str, str] | None = None
) -> Layout:
    """Place every cell on lines that are ``width`` columns wide.

    Where all machines fit into ``height`` lines with their ``names``, they are told by these.
    """
    if names and len(names) <= _NAMED_AT_MOST:
        cell = CELL + 1 + min(_LONGEST_NAME, max(len(name) for name in names.values()))
        most = max(len(rack.machines) for section in found for rack in section.racks)
        for across in range(1, min(most, max(1, width // cell)) + 1):
            layout = _lay_out(found, width, cell, across)
            if len(layout.lines) <= height:
                return layout
    return _lay_out(found, width, CELL)


def _lay_out(found: Sequence[Section], width: int, cell: int, wanted: int = 0) -> Layout:
    lines: list[Line] = []
    spots: dict[str, Spot] = {}
    order: list[str] = []
    for section in found:
        if lines:
            lines.append(None)
        if section.title:
            lines.append(Title(section.title, tuple(m for r in section.racks for m in r.machines)))
        across = wanted or cells_across(section.racks, width)
        block = across * cell - 1
        beside = max(1, (width - 1 + GAP) // (block + GAP))
        for start in range(0, len(section.racks), beside):
            row = section.racks[start : start + beside]
            if start:
                lines.append(None)
            _place_row(row, across, cell, lines, spots, order)
    return Layout(tuple(lines), spots, tuple(order), width, cell)


def cells_across(racks: Sequence[Rack], width: int) -> int:
    """Return how many cells stand beside one another so that a section takes the fewest lines."""
    most = max(len(rack.machines) for rack in racks)
    named = max(len(rack.name) for rack in racks) + _BAD_COLUMNS
    least = min(max(_NARROWEST, -(-named // CELL)), _NAME_CELLS)
    fitting = max(1, (width - 1) // CELL)

    def lines(across: int) -> tuple[int, int]:
        beside = max(1, (width - 1 + GAP) // (across * CELL - 1 + GAP))
        return -(-len(racks) // beside) * (-(-most // across) + 2), abs(across - _USUAL)

    return min(fitting, min(range(least, max(least, min(most, _WIDEST)) + 1), key=lines))


def _place_row(
    row: Sequence[Rack],
    across: int,
    cell: int,
    lines: list[Line],
    spots: dict[str, Spot],
    order: list[str],
) -> None:
    """Add racks that stand beside one another: a line of names, then lines of cells."""
    block = across * cell - 1
    columns = [1 + number * (block + GAP) for number in range(len(row))]
    lines.append(tuple(Label(x, block, rack) for x, rack in zip(columns, row, strict=True)))
    deep = max(-(-len(rack.machines) // across) for rack in row)
    top = len(lines)
    for depth in range(deep):
        runs = []
        for x, rack in zip(columns, row, strict=True):
            members = rack.machines[depth * across : (depth + 1) * across]
            if members:
                runs.append(Run(x, members))
        lines.append(tuple(runs))
    for x, rack in zip(columns, row, strict=True):
        for number, machine in enumerate(rack.machines):
            spots[machine] = Spot(x + number % across * cell, top + number // across)
        order += rack.machines
