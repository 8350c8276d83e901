"""What differs between two positions, against states folded from the log itself."""

from typing import Any

import msgspec

from mulligan.config import Dsn
from mulligan.events.codec import Codec
from mulligan.handlers.kinds import KINDS
from mulligan.log.protocol import Stored
from mulligan.model import Seq, StreamId
from mulligan.queries.differences import Difference, FieldChange, differences, field_changes
from tests.projections.histories import history
from tests.queries.test_fleet import reading


def folded(entries: list[Stored], until: Seq) -> dict[StreamId, Any]:
    states: dict[StreamId, Any] = {}
    codec = Codec()
    for stored in entries[:until]:
        for commit in stored.entry.commits:
            for record in commit.events:
                evolve = KINDS[record.stream.partition("/")[0]].evolve
                states[record.stream] = evolve(
                    states.get(record.stream), codec.event(record), commit.at
                )
    return states


def touched(entries: list[Stored], after: Seq, until: Seq) -> dict[StreamId, list[int]]:
    found: dict[StreamId, list[int]] = {}
    for stored in entries[after:until]:
        for commit in stored.entry.commits:
            for record in commit.events:
                found.setdefault(record.stream, []).append(stored.seq)
    return found


async def test_what_differs_between_two_positions_is_what_was_folded_between(
    database: Dsn,
) -> None:
    world = history(11, steps=200)
    entries, head = list(world.entries), Seq(len(world.entries))
    async with reading(world, database) as reads:
        for after, until in ((Seq(0), head), (Seq(head // 3), Seq(2 * head // 3)), (head, head)):
            before, now = folded(entries, after), folded(entries, until)
            found = {one.stream: one async for one in differences(reads, after, until)}
            expected = touched(entries, after, until)
            assert list(found) == sorted(expected, key=lambda stream: tuple(stream.split("/", 1)))
            for stream, one in found.items():
                assert (one.before, one.after) == (before.get(stream), now[stream])
                assert (one.events, one.first, one.last) == (
                    len(expected[stream]), expected[stream][0], expected[stream][-1],
                )  # fmt: skip


async def test_only_what_is_asked_for_is_compared(database: Dsn) -> None:
    world = history(12, steps=120)
    head = Seq(len(world.entries))
    async with reading(world, database) as reads:
        claims = [one async for one in differences(reads, Seq(0), head, kind="claim")]
        assert claims and all(one.stream.startswith("claim/") for one in claims)
        (same,) = [one async for one in differences(reads, Seq(0), head, stream=claims[0].stream)]
        assert same == claims[0]
        others = [one async for one in differences(reads, Seq(0), head, without=("claim",))]
        assert others and not any(one.stream.startswith("claim/") for one in others)


async def test_what_became_of_an_object_is_said_in_a_word(database: Dsn) -> None:
    world = history(14, steps=300)
    head = Seq(len(world.entries))
    async with reading(world, database) as reads:
        changes: dict[str, list[Difference]] = {}
        async for one in differences(reads, Seq(head // 3), head):
            changes.setdefault(one.change, []).append(one)
    assert changes.keys() == {"created", "changed", "deleted"}
    assert all(one.before is None for one in changes["created"])
    assert all(one.before is not None for one in changes["changed"])
    assert all(one.after.deleted for one in changes["deleted"])


class Shelf(msgspec.Struct, omit_defaults=True):
    """A state of every shape."""

    name: str
    totals: dict[str, int] = {}
    rows: tuple[tuple[str, int], ...] = ()
    note: str | None = None


def test_values_that_differ_are_named_by_their_path() -> None:
    before = Shelf("a", totals={"memory": 4, "gpu": 1}, rows=(("x", 1), ("y", 2)))
    after = Shelf("a", totals={"memory": 8, "nic": 2}, rows=(("x", 1), ("y", 3)), note="new")
    assert field_changes(before, after) == [
        FieldChange(path="note", before="", after='"new"'),
        FieldChange(path="rows[1][1]", before="2", after="3"),
        FieldChange(path="totals.gpu", before="1", after=""),
        FieldChange(path="totals.memory", before="4", after="8"),
        FieldChange(path="totals.nic", before="", after="2"),
    ]
    assert field_changes(before, before) == []


def test_what_is_new_or_longer_is_shown_whole() -> None:
    assert field_changes(None, Shelf("a")) == [FieldChange(path="name", before="", after='"a"')]
    grown = field_changes(Shelf("a", rows=(("x", 1),)), Shelf("a", rows=(("x", 1), ("y", 2))))
    assert grown == [FieldChange(path="rows", before='[["x",1]]', after='[["x",1],["y",2]]')]
