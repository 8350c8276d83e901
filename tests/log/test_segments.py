"""What a sealed segment is: its manifest, what is signed of it, and what is sealed and pruned."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.errors import Corrupt
from mulligan.events.codec import GENESIS_HASH
from mulligan.events.project import ProjectCreated
from mulligan.log.export_file import Header
from mulligan.log.segment import (
    Manifest,
    Packed,
    checked,
    cut,
    due_to_prune,
    entries_of,
    pack,
    read_manifest,
    require_next,
    signed,
    signed_with,
    statement,
)
from mulligan.log.view import BrokenChain
from mulligan.model import ProjectId, Seq, new_id

from .archiving import Key
from .proof import LOG_ID, REGION, Chain, Signing

NOW = datetime(2026, 1, 10, tzinfo=UTC)


def chain(count: int) -> Chain:
    made = Chain()
    for _ in range(count):
        project = ProjectId(new_id())
        made.add(
            f"project/{project}", ProjectCreated(project=project, name="p", parent=ProjectId(""))
        )
    return made


def packed(made: Chain) -> Packed:
    header = Header(
        region=REGION, log_id=LOG_ID, first=Seq(1), last=Seq(len(made.entries)), prev=GENESIS_HASH
    )
    return pack(header, enumerate(made.entries, 1), NOW)


def test_what_is_packed_is_unpacked() -> None:
    made = chain(20)
    one = packed(made)
    assert list(entries_of(one.manifest, one.data)) == made.entries
    assert [stored.value for stored in checked(one.manifest, one.data)] == made.entries
    assert (one.manifest.events, one.manifest.hash) == (20, made.head)
    assert one.manifest.raw_bytes == sum(len(entry) for entry in made.entries)
    assert read_manifest(msgspec.json.encode(one.manifest), "m") == one.manifest


def test_what_does_not_follow_is_not_packed() -> None:
    made = chain(5)
    del made.entries[2]
    with pytest.raises(BrokenChain):
        packed(made)


@pytest.mark.parametrize("place", [0, 5, 50, -1])
def test_a_bit_that_flipped_is_found(place: int) -> None:
    one = packed(chain(20))
    data = bytearray(one.data)
    data[place] ^= 1
    for read in (entries_of, lambda m, d: list(checked(m, d))):
        with pytest.raises(Corrupt, match=one.manifest.name):
            read(one.manifest, bytes(data))


def test_whoever_rewrites_the_digest_too_is_found_by_the_chain() -> None:
    one, other = packed(chain(20)), packed(chain(20))
    forged = msgspec.structs.replace(
        one.manifest, sha256=other.manifest.sha256, bytes=other.manifest.bytes
    )
    with pytest.raises(Corrupt):
        list(checked(forged, other.data))


@given(st.data())
def test_a_signature_covers_every_field(data: st.DataObject) -> None:
    one, key = packed(chain(2)), Key()
    sealed = signed(one.manifest, key)
    assert signed_with(key.signing.public, sealed)
    assert not signed_with(Signing("2").public, sealed)
    unsigned = {"format", "version", "signature"}
    names = [name for name in Manifest.__struct_fields__ if name not in unsigned]
    name = data.draw(st.sampled_from(names))
    value = getattr(sealed, name)
    match value:
        case int():
            changed: object = value + 1
        case datetime():
            changed = value + timedelta(microseconds=1)
        case _:
            changed = f"{value}0"
    assert not signed_with(key.signing.public, msgspec.structs.replace(sealed, **{name: changed}))


def test_the_statement_is_text_that_anybody_can_write() -> None:
    lines = statement(packed(chain(1)).manifest).decode().splitlines()
    assert lines[:5] == ["mulligan-segment-v1", REGION, LOG_ID, "1", "1"]
    assert len(lines) == 16
    assert lines[14] == "2026-01-10T00:00:00.000000Z"


def test_a_retired_key_seals_nothing_more() -> None:
    key = Key()
    sealed = signed(packed(chain(1)).manifest, key)
    for retired_at, holds in ((NOW - timedelta(seconds=1), False), (NOW, True)):
        retired = msgspec.structs.replace(key.signing.public, retired_at=retired_at)
        assert signed_with(retired, sealed) is holds


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../etc/passwd"},
        {"name": "segments/x.mlog.zst"},
        {"last": 30},
        {"first": 0},
        {"raw_bytes": 2**40},
        {"version": 2},
        {"format": "other"},
    ],
)
def test_a_manifest_that_no_archiver_writes_is_refused(change: dict[str, object]) -> None:
    odd = msgspec.structs.replace(packed(chain(2)).manifest, **change)
    with pytest.raises(Corrupt):
        read_manifest(msgspec.json.encode(odd), "m")


def test_segments_follow_each_other_from_the_first_entry() -> None:
    one = packed(chain(3)).manifest
    following = msgspec.structs.replace(one, first=Seq(4), last=Seq(5), prev=one.hash)
    require_next(one, None)
    require_next(following, one)
    for bad in (
        msgspec.structs.replace(following, first=Seq(5)),
        msgspec.structs.replace(following, prev="0" * 64),
    ):
        with pytest.raises(BrokenChain):
            require_next(bad, one)
    with pytest.raises(BrokenChain):
        require_next(following, None)


@given(st.lists(st.integers(1, 100), max_size=50), st.integers(1, 300))
def test_a_segment_is_full_and_no_fuller(sizes: list[int], limit: int) -> None:
    count = cut(sizes, limit)
    if count is None:
        assert sum(sizes) < limit
    else:
        assert count == 1 or sum(sizes[:count]) <= limit
        assert sum(sizes[: count + 1]) > limit or sum(sizes[:count]) == limit


def aged(*days: int) -> list[Manifest]:
    one = packed(chain(1)).manifest
    return [
        msgspec.structs.replace(
            one,
            first=Seq(10 * n + 1),
            last=Seq(10 * n + 10),
            last_at=NOW - timedelta(days=age),
            raw_bytes=100,
        )
        for n, age in enumerate(days)
    ]


@pytest.mark.parametrize(
    ("spare", "newest", "count"),
    [(0, 99, 2), (-500, 99, 2), (1, 99, 2), (201, 99, 3), (1000, 99, 4), (1000, 25, 2), (0, 5, 0)],
)
def test_what_is_old_leaves_and_what_there_is_no_room_for(
    spare: int, newest: int, count: int
) -> None:
    segments = aged(9, 8, 3, 1)
    due = due_to_prune(segments, now=NOW, keep=timedelta(days=7), spare=spare, newest=Seq(newest))
    assert due == segments[:count]
