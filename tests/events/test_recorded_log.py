"""A log as version 1 of every event wrote it. It is never edited: what is new is appended."""

from pathlib import Path
from typing import Any, cast

import msgspec

from mulligan.events.codec import EVENT_TYPES, GENESIS_HASH, Codec, decode_entry, entry_hash
from mulligan.events.envelope import Entry, EventRecord
from mulligan.handlers.kinds import KINDS
from mulligan.model import stream_kind

LINES = (Path(__file__).parent / "recorded_v1.jsonl").read_bytes().splitlines()


def entries() -> list[Entry]:
    return [decode_entry(line) for line in LINES]


def records() -> list[EventRecord]:
    return [record for e in entries() for commit in e.commits for record in commit.events]


def keeps(recorded: Any, now: Any) -> bool:
    """Whether everything recorded is still there; what was added since has a default."""
    if isinstance(recorded, dict):
        return isinstance(now, dict) and all(
            key in now and keeps(value, now[key]) for key, value in recorded.items()
        )
    if isinstance(recorded, list):
        return len(recorded) == len(now) and all(map(keeps, recorded, now))
    return bool(recorded == now)


def test_the_recorded_chain_is_sound() -> None:
    prev = GENESIS_HASH
    for seq, (line, entry) in enumerate(zip(LINES, entries(), strict=True), start=1):
        assert (entry.seq, entry.prev) == (seq, prev)
        prev = entry_hash(line)


def test_every_event_type_is_recorded_as_it_was_first() -> None:
    assert {r.type for r in records() if r.v == 1} >= set(EVENT_TYPES)


def test_every_field_of_every_type_is_recorded() -> None:
    seen: dict[str, set[str]] = {}
    for record in records():
        seen.setdefault(record.type, set()).update(msgspec.json.decode(record.data))
    for name, event in EVENT_TYPES.items():
        fields = msgspec.structs.fields(cast("type[msgspec.Struct]", event))
        assert {field.encode_name for field in fields} <= seen[name], name


def test_nothing_recorded_is_lost_when_read() -> None:
    codec = Codec()
    for record in records():
        event = codec.event(record)
        written = codec.record(record.stream, record.version, event)
        if written.v == record.v:
            assert keeps(msgspec.json.decode(record.data), msgspec.json.decode(written.data)), (
                record.type
            )


def test_the_recorded_streams_fold() -> None:
    codec = Codec()
    states: dict[str, Any] = {}
    versions: dict[str, int] = {}
    for entry in entries():
        for commit in entry.commits:
            for r in commit.events:
                kind = KINDS[stream_kind(r.stream)]
                states[r.stream] = kind.evolve(states.get(r.stream), codec.event(r), commit.at)
                versions[r.stream] = versions.get(r.stream, 0) + 1
                assert r.version == versions[r.stream]
    for stream, state in states.items():
        kept = msgspec.json.encode(state)
        assert msgspec.json.decode(kept, type=KINDS[stream.partition("/")[0]].state) == state
    ends = {s.partition("/")[0]: state for s, state in states.items()}
    assert ends["provider"].deleted and ends["machine"].deleted and ends["group"].deleted
