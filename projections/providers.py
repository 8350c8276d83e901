"""Read model ``providers``: what can be claimed, how much of it, and what is used when.

``shuffle`` is a number drawn from the provider's id: searches that start at a random one spread
over the fleet without sorting it. ``brief`` is the state without its use over time: a thousand
claims make that some hundred times as long as all else, and lists want none of it.
"""

from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b

import msgspec
from msgspec.structs import replace

from mulligan.handlers import usage
from mulligan.handlers.group import Group
from mulligan.handlers.provider import Provider, capacity
from mulligan.projections.schema import ChildTable, ReadModel, Row, columns, stream_table

_encode = msgspec.json.Encoder().encode


def shuffle(key: str) -> int:
    """Return a signed 64-bit number, the same for the same key always."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big", signed=True)


def _provider(key: str, provider: Provider) -> Row:
    return (
        provider.type,
        provider.parent,
        provider.root,
        bool(provider.cordons),
        bool(provider.children),
        provider.over_committed,
        shuffle(key),
        _encode(replace(provider, use={})).decode(),
    )


def _inventories(key: str, provider: Provider) -> Iterable[Row]:
    if provider.deleted:
        return []
    place, is_open = shuffle(key), not provider.cordons
    rows: list[Row] = []
    for class_, inventory in provider.inventories.items():
        offered = capacity(inventory)
        use = provider.use.get(class_, ())
        row = (
            key,
            class_,
            place,
            provider.root,
            is_open,
            inventory.min_unit,
            inventory.max_unit,
            inventory.step_size,
            provider.turnaround,
            offered,
            *bounds(use, offered, provider.used_at),
        )
        rows.append(row)
    return rows


def bounds(
    use: usage.Use, offered: int, since: datetime | None
) -> tuple[int, int, datetime | None, datetime | None, datetime | None]:
    """Return (sure, room, opens_at, peak_from, peak_to): what spares a look at the use over time.

    At every instant from ``since`` on at least ``sure`` is free, and at no instant more than
    ``room``. Nothing is free before ``opens_at``; None says nothing. Within [peak_from, peak_to) no
    more than ``sure`` is free; ``peak_from`` None says nothing, ``peak_to`` None is open.
    """
    if not use or since is None:
        return offered, offered, None, None, None
    highest = max(use, key=_height)
    sure = offered - highest.used
    least, full_until, covered = offered, since, since
    open_end = False
    for segment in use:
        if segment.end is not None and segment.end <= since:
            continue
        if segment.start > covered:
            break
        least = min(least, segment.used)
        if full_until == covered and segment.used >= offered and segment.end is not None:
            full_until = segment.end
        if segment.end is None:
            open_end = True
            break
        covered = segment.end
    room = offered - least if open_end else offered
    opens_at = full_until if full_until > since else None
    return sure, room, opens_at, highest.start, highest.end


def _height(segment: usage.Segment) -> tuple[int, datetime]:
    """Order by use, and of the same by time: the later one is within more windows to come."""
    return segment.used, segment.start


def _shares(key: str, provider: Provider) -> Iterable[Row]:
    return [] if provider.deleted else [(key, group) for group in provider.shares]


def _ancestors(key: str, provider: Provider) -> Iterable[Row]:
    return [] if provider.deleted else [(key, one) for one in provider.ancestors]


def _segments(key: str, provider: Provider) -> Iterable[Row]:
    if provider.deleted:
        return []
    return [
        (key, class_, segment.start, segment.end, segment.used)
        for class_, use in provider.use.items()
        for segment in use
    ]


def _capabilities(key: str, provider: Provider) -> Iterable[Row]:
    return [] if provider.deleted else [(key, c) for c in {*provider.capabilities}]


def _cordons(key: str, provider: Provider) -> Iterable[Row]:
    return [] if provider.deleted else [(key, cause) for cause in provider.cordons]


def _members(key: str, group: Group) -> Iterable[Row]:
    return [(key, provider) for provider in group.members]


MODEL = ReadModel(
    name="providers",
    version=2,
    tables=(
        stream_table(
            "provider",
            "provider",
            columns(
                type="text",
                parent="text",
                root="text",
                cordoned="boolean",
                parental="boolean",
                over_committed="boolean",
                shuffle="bigint",
                brief="text",
            ),
            _provider,
            children=(
                ChildTable(
                    name="inventory",
                    columns=columns(
                        provider="text",
                        class_="text",
                        shuffle="bigint",
                        root="text",
                        open="boolean",
                        min_unit="bigint",
                        max_unit="bigint",
                        step_size="bigint",
                        turnaround="bigint",
                        capacity="bigint",
                        sure="bigint",
                        room="bigint",
                        opens_at="timestamptz",
                        peak_from="timestamptz",
                        peak_to="timestamptz",
                    ),
                    key=2,
                    rows=_inventories,
                    indices=(
                        "(class_, shuffle) WHERE open AND room > 0",
                        "(root, class_, shuffle)",
                    ),
                ),
                ChildTable(
                    name="usage_segment",
                    columns=columns(
                        provider="text",
                        class_="text",
                        from_="timestamptz",
                        to_="timestamptz",
                        used="bigint",
                    ),
                    key=3,
                    rows=_segments,
                ),
                ChildTable(
                    name="capability",
                    columns=columns(provider="text", capability="text"),
                    key=2,
                    rows=_capabilities,
                    indices=("(capability, provider)",),
                ),
                ChildTable(
                    name="share",
                    columns=columns(provider="text", group_="text"),
                    key=2,
                    rows=_shares,
                    indices=("(group_, provider)",),
                ),
                ChildTable(
                    name="ancestor",
                    columns=columns(provider="text", ancestor="text"),
                    key=2,
                    rows=_ancestors,
                    indices=("(ancestor, provider)",),
                ),
                ChildTable(
                    name="cordon",
                    columns=columns(provider="text", cause="text"),
                    key=2,
                    rows=_cordons,
                    indices=("(cause, provider)",),
                ),
            ),
            indices=(
                "(parent, created_seq, key)",
                "(type, created_seq, key)",
                "(root, shuffle)",
                "(key) WHERE cordoned AND parental",
                "(shuffle) WHERE NOT deleted",
                "(shuffle) WHERE parent = '' AND NOT deleted",
            ),
        ),
        stream_table(
            "provider_group",
            "group",
            children=(
                ChildTable(
                    name="group_member",
                    columns=columns(group_="text", provider="text"),
                    key=2,
                    rows=_members,
                    indices=("(provider, group_)",),
                ),
            ),
        ),
        stream_table("distance_type", "distance"),
    ),
)
