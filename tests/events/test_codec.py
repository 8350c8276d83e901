import typing
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulligan.events.codec import (
    EVENT_TYPES,
    GENESIS_HASH,
    KIND_OF_MODULE,
    Codec,
    Event,
    UnreadableEvent,
    Upcaster,
    decode_entry,
    encode_commit,
    encode_entry,
    entry_hash,
    schema_version,
)
from mulligan.events.envelope import Actor, Commit, EventRecord
from mulligan.handlers.kinds import KINDS
from mulligan.model import CommitId, Seq, StreamId, new_id, utc_now

from .strategies import ANY_EVENT, of_struct

STREAM = StreamId("test/1")


def record(type_: str, data: Any, v: int = 1) -> EventRecord:
    raw = data if isinstance(data, bytes) else msgspec.json.encode(data)
    return EventRecord(stream=STREAM, version=7, type=type_, v=v, data=msgspec.Raw(raw))


@given(ANY_EVENT)
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    codec = Codec()
    assert codec.event(codec.record(STREAM, 1, event)) == event


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_every_type_survives_its_record_and_its_entry(name: str) -> None:
    codec = Codec()
    cls = typing.cast("type[msgspec.Struct]", EVENT_TYPES[name])

    @settings(max_examples=10)
    @given(of_struct(cls))
    def check(event: Any) -> None:
        commit = Commit(
            id=CommitId(new_id()),
            at=utc_now(),
            actor=Actor(account="tester"),
            command="test.write",
            events=(codec.record(STREAM, 1, event),),
        )
        value = encode_entry(Seq(1), GENESIS_HASH, "2026-01-01T00:00:00Z", [encode_commit(commit)])
        back = decode_entry(value).commits[0]
        assert back == commit, "an entry's commit equals the one that was appended"
        assert codec.event(back.events[0]) == event

    check()


def test_every_type_is_named_for_its_stream_kind() -> None:
    for name, module in KIND_OF_MODULE.items():
        union = module.Event
        for cls in typing.get_args(union) or (union,):
            assert cls.TYPE.startswith(f"{name}."), cls
            assert EVENT_TYPES[cls.TYPE] is cls, "two events share a type"
    assert set(KIND_OF_MODULE) == set(KINDS)


def test_an_unknown_type_is_unreadable_and_says_where_it_is() -> None:
    with pytest.raises(UnreadableEvent, match=r"claim\.exploded v1 \(version 7 of test/1\)"):
        Codec().event(record("claim.exploded", {}))


@pytest.mark.parametrize("v", [0, -1, 2, 99])
def test_an_unknown_schema_version_is_unreadable(v: int) -> None:
    with pytest.raises(UnreadableEvent, match="unknown schema version"):
        Codec().event(record("machine.deleted", {}, v=v))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"at": "yesterday"}', b'{"at": 1, "at": 2}', b"{}"],
)
def test_garbage_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableEvent, match=r"claim\.released"):
        Codec().event(record("claim.released", data))


def test_a_newer_field_is_ignored() -> None:
    event = Codec().event(record("name.released", {"object": "x", "added_later": 1}))
    assert msgspec.json.encode(event) == b'{"object":"x"}'


class Doubled(msgspec.Struct, frozen=True, kw_only=True):
    TYPE: ClassVar = "test.doubled"
    amount: int
    unit: str


def to_v2(data: dict[str, Any]) -> dict[str, Any]:
    return {"amount": data["kib"] * 1024}


def to_v3(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "unit": "bytes"}


UPCASTERS: dict[tuple[str, int], Upcaster] = {
    ("test.doubled", 1): to_v2,
    ("test.doubled", 2): to_v3,
}


@pytest.mark.parametrize(
    ("v", "data"),
    [(1, {"kib": 2}), (2, {"amount": 2048}), (3, {"amount": 2048, "unit": "bytes"})],
)
def test_every_older_version_is_read_as_the_newest(v: int, data: dict[str, Any]) -> None:
    codec = Codec({"test.doubled": Doubled}, UPCASTERS)
    assert codec.event(record("test.doubled", data, v)) == Doubled(amount=2048, unit="bytes")


def test_what_is_written_is_the_newest_version() -> None:
    codec = Codec({"test.doubled": Doubled}, UPCASTERS)
    written = codec.record(STREAM, 1, Doubled(amount=1, unit="bytes"))
    assert written.v == schema_version("test.doubled", UPCASTERS) == 3


@pytest.mark.parametrize("data", [{}, {"kib": "two"}, {"kib": None}, [], 1, "x"])
def test_an_old_version_that_does_not_fit_is_unreadable(data: Any) -> None:
    codec = Codec({"test.doubled": Doubled}, UPCASTERS)
    with pytest.raises(UnreadableEvent, match="v1"):
        codec.event(record("test.doubled", data, 1))


@given(st.binary(max_size=60))
def test_bytes_that_are_no_entry_are_unreadable(value: bytes) -> None:
    with pytest.raises(UnreadableEvent):
        decode_entry(value)


def test_a_changed_byte_breaks_the_chain() -> None:
    first = encode_entry(Seq(1), GENESIS_HASH, "2026-01-01T00:00:00Z", [])
    second = encode_entry(Seq(2), entry_hash(first), "2026-01-01T00:00:01Z", [])
    assert decode_entry(second).prev == entry_hash(first)
    assert len(GENESIS_HASH) == len(entry_hash(first)) == 64
    forged = first.replace(b"00:00:00", b"00:00:09")
    assert decode_entry(forged).seq == 1
    assert decode_entry(second).prev != entry_hash(forged)
