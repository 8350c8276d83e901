"""Read model ``providers``: what can be claimed, how much of it, and what is used when.

``shuffle`` is a number drawn from the provider's id: searches that start at a random one spread
over the fleet without sorting it.
"""

from collections.abc import Iterable
from hashlib import blake2b

from mulligan.handlers.group import Group
from mulligan.handlers.provider import Provider, capacity
from mulligan.projections.schema import ChildTable, ReadModel, Row, columns, stream_table


def shuffle(key: str) -> int:
    """Return a signed 64-bit number, the same for the same key always."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big", signed=True)


def _provider(key: str, provider: Provider) -> Row:
    return (
        provider.type,
        provider.parent,
        bool(provider.cordons),
        provider.over_committed,
        shuffle(key),
    )


def _inventories(key: str, provider: Provider) -> Iterable[Row]:
    if provider.deleted:
        return []
    place, is_open = shuffle(key), not provider.cordons
    return [
        (
            key,
            class_,
            place,
            is_open,
            inventory.min_unit,
            inventory.max_unit,
            inventory.step_size,
            capacity(inventory),
        )
        for class_, inventory in provider.inventories.items()
    ]


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
    tables=(
        stream_table(
            "provider",
            "provider",
            columns(
                type="text",
                parent="text",
                cordoned="boolean",
                over_committed="boolean",
                shuffle="bigint",
            ),
            _provider,
            children=(
                ChildTable(
                    name="inventory",
                    columns=columns(
                        provider="text",
                        class_="text",
                        shuffle="bigint",
                        open="boolean",
                        min_unit="bigint",
                        max_unit="bigint",
                        step_size="bigint",
                        capacity="bigint",
                    ),
                    key=2,
                    rows=_inventories,
                    indices=("(class_, shuffle) WHERE open",),
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
                    name="cordon",
                    columns=columns(provider="text", cause="text"),
                    key=2,
                    rows=_cordons,
                ),
            ),
            indices=("(parent, created_seq, key)", "(type, created_seq, key)"),
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
    ),
)
