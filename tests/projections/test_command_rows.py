"""The rows of the audit: one a commit, one a denial, bounded, whatever stands in an entry."""

from collections.abc import Sequence
from datetime import UTC, datetime
from struct import unpack_from
from typing import Any

from mulligan.events.codec import Codec, Event, encode_commit, encode_entry
from mulligan.events.denial import AttemptsDenied
from mulligan.events.envelope import Actor, Commit
from mulligan.events.project import ProjectEnabled
from mulligan.log.view import link
from mulligan.model import CommitId, Seq, StreamId
from mulligan.projections.commands import MAX_OBJECTS, MODEL, SEPARATOR

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DENIED = AttemptsDenied(
    method="Iam.Login", reason="login", count=3, first_at=NOON, last_at=NOON, peer="a\tb"
)


def decoded(encoded: bytes) -> list[list[bytes]]:
    """Take the binary form of COPY apart: rows of fields."""
    found: list[list[bytes]] = []
    place = 0
    while place < len(encoded):
        (count,) = unpack_from("!h", encoded, place)
        place += 2
        row = []
        for _ in range(count):
            (length,) = unpack_from("!i", encoded, place)
            row.append(encoded[place + 4 : place + 4 + length])
            place += 4 + length
        found.append(row)
    return found


def rows(*commits: Sequence[tuple[str, Event]]) -> list[dict[str, Any]]:
    made = [
        Commit(
            id=CommitId(f"c{n}"),
            at=NOON,
            actor=Actor(account="ada"),
            command="test.do",
            events=tuple(Codec().record(StreamId(s), 1, event) for s, event in events),
        )
        for n, events in enumerate(commits)
    ]
    entry = encode_entry(Seq(1), "0" * 64, "2026-01-01T12:00:00Z", [*map(encode_commit, made)])
    (journal,) = MODEL.journals
    return [
        {
            column.name: value.decode() if column.type == "text" else int.from_bytes(value)
            for column, value in zip(journal.columns, row, strict=True)
        }
        for row in decoded(journal.encode(link(1, None, entry)))
    ]


def test_a_commit_names_each_stream_once_and_no_more_than_there_is_room_for() -> None:
    twice = [("project/a", ProjectEnabled()), ("project/b", ProjectEnabled())] * 2
    many = [(f"project/{n}", ProjectEnabled()) for n in range(100)]
    one, other = rows(twice, many)
    assert one["objects"] == "project/a|project/b"
    assert len(other["objects"].split(SEPARATOR)) == MAX_OBJECTS
    assert [one["n"], other["n"]] == [0, 1]


def test_denials_are_rows_of_their_own_and_not_the_commit_that_holds_them() -> None:
    found = rows(
        [("denial/unknown", DENIED), ("denial/x", DENIED)],
        [("project/a", ProjectEnabled()), ("denial/x", DENIED)],
    )
    assert [(row["n"], row["id"], row["command"], row["count"]) for row in found] == [
        (0, "c0", "Iam.Login", 3),
        (1, "c0", "Iam.Login", 3),
        (2, "c1", "Iam.Login", 3),
        (3, "c1", "test.do", 0),
    ]
    assert found[0]["peer"] == "a\tb"
    assert found[3]["objects"] == "project/a"
