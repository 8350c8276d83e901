"""The fleet that claims are measured on, and what is asked of it: the same for every system.

Nodes stand in racks, racks in rows, rows in sites. A node has room for so many claims that a run
never fills it, unless told otherwise; a node that is full from the start has room for none.
"""

import random

import msgspec

SCENARIOS = ("plain", "caps", "groups", "windows", "earliest")
ROOM = 10_000
"""Claims that an empty node has room for, so that a run does not fill it."""
CPUS = 1
MEMORY_MIB = 1024
"""What one claim takes."""
COMMON, RARE, BARRED = "custom.bench", "custom.bench-a", "custom.bench-b"
"""Capabilities: of every node, of a tenth, of a fifth."""
NOWHERE = "custom.bench-nowhere"
_DAY_S = 86_400.0


class Place(msgspec.Struct, frozen=True):
    """A rack, row or site, which is a provider group; ``within`` is the next larger one's index."""

    uuid: str
    name: str
    within: int = 0


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A machine to claim from; ``rack`` is an index, ``full`` says that it has no room."""

    uuid: str
    name: str
    rack: int
    capabilities: tuple[str, ...]
    full: bool


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is loaded before a run; an empty node has room for ``room`` claims."""

    room: int
    sites: tuple[Place, ...]
    rows: tuple[Place, ...]
    racks: tuple[Place, ...]
    nodes: tuple[Node, ...]

    def places_of(self, node: Node) -> tuple[Place, Place, Place]:
        """Return the node's rack, row and site."""
        rack = self.racks[node.rack]
        row = self.rows[rack.within]
        return rack, row, self.sites[row.within]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One claim to make: room for ``cpus`` and ``memory_mib`` on one node.

    The node has all capabilities of ``require`` and none of ``forbid``, is in a group of each of
    ``member_of`` and not in ``not_member_of``. ``starts_in`` and ``lasts`` are seconds, None for
    now and for ever; with ``earliest`` the claim may start later than that.
    """

    cpus: int = CPUS
    memory_mib: int = MEMORY_MIB
    require: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    member_of: tuple[tuple[str, ...], ...] = ()
    not_member_of: tuple[str, ...] = ()
    starts_in: float | None = None
    lasts: float | None = None
    earliest: bool = False


TOO_MUCH = Ask(cpus=CPUS * ROOM + 1)
"""More than any node has."""
TOO_SPECIAL = Ask(require=(NOWHERE,))
"""What no node has."""


def shape(providers: int) -> tuple[int, int, int]:
    """Return sites, rows a site and racks a row of a fleet of so many nodes."""
    known = {100: (1, 1, 4), 2_000: (2, 2, 25)}
    return known.get(providers) or (4, 5, max(1, round(providers / 400)))


def make_fleet(providers: int, fill: int = 0, room: int = ROOM, seed: int = 1) -> Fleet:
    """Return the fleet of that size with ``fill`` per cent of its nodes full."""
    rng = random.Random(seed)
    sites, rows, racks = shape(providers)
    full = frozenset(rng.sample(range(providers), providers * fill // 100))
    count = sites * rows * racks
    return Fleet(
        room=room,
        sites=tuple(Place(_uuid(rng), f"site-{n}") for n in range(sites)),
        rows=tuple(Place(_uuid(rng), f"row-{n}", n // rows) for n in range(sites * rows)),
        racks=tuple(Place(_uuid(rng), f"rack-{n}", n // racks) for n in range(count)),
        nodes=tuple(
            Node(
                uuid=_uuid(rng),
                name=f"node-{n}",
                rack=n * count // providers,
                capabilities=_capabilities(rng),
                full=n in full,
            )
            for n in range(providers)
        ),
    )


def draw(fleet: Fleet, scenario: str, rng: random.Random) -> Ask:
    """Return the next claim to make in a scenario."""
    match scenario:
        case "plain":
            return Ask()
        case "caps":
            return Ask(require=(COMMON, RARE), forbid=(BARRED,))
        case "groups":
            return _in_two_racks(fleet, rng)
        case "windows" | "earliest":
            return Ask(
                starts_in=rng.uniform(60.0, 30 * _DAY_S),
                lasts=rng.uniform(3600.0, 3 * _DAY_S),
                earliest=scenario == "earliest",
            )
        case _:
            raise ValueError(f"{scenario!r} is no scenario")


def _in_two_racks(fleet: Fleet, rng: random.Random) -> Ask:
    """Ask for a place in one of two racks of a site, but not in one of its rows."""
    site = rng.randrange(len(fleet.sites))
    racks = [n for n, rack in enumerate(fleet.racks) if _site(fleet, rack) == site]
    one, other = rng.sample(racks, 2)
    kept = {fleet.racks[n].within for n in (one, other)}
    rows = [n for n, row in enumerate(fleet.rows) if row.within == site and n not in kept]
    return Ask(
        member_of=((fleet.racks[one].uuid, fleet.racks[other].uuid), (fleet.sites[site].uuid,)),
        not_member_of=(fleet.rows[rng.choice(rows)].uuid,) if rows else (),
    )


def _site(fleet: Fleet, rack: Place) -> int:
    return fleet.rows[rack.within].within


def _capabilities(rng: random.Random) -> tuple[str, ...]:
    drawn = ((COMMON, 1.0), (RARE, 0.1), (BARRED, 0.2))
    return tuple(name for name, share in drawn if rng.random() < share)


def _uuid(rng: random.Random) -> str:
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-8{text[17:20]}-{text[20:]}"
