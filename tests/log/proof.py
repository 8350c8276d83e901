"""A small log with log keys and signed checkpoints, for tests of what proves it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mulligan.events.checkpoint import CheckpointSigned, statement
from mulligan.events.codec import (
    GENESIS_HASH,
    Codec,
    Event,
    encode_commit,
    encode_entry,
    entry_hash,
)
from mulligan.events.envelope import Actor, Commit
from mulligan.events.key import KeyCreated, KeyRetired
from mulligan.events.project import ProjectCreated
from mulligan.log.export_file import Header, Writer, written_whole
from mulligan.log.vouching import LogKey, unpadded
from mulligan.model import CommitId, ProjectId, Seq, StreamId, new_id

REGION = "west"
LOG_ID = "0190aaaa-0000-7000-8000-000000000000"
BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Signing:
    """A log key with its private half; seeded by its id, so that tests repeat."""

    def __init__(self, kid: str, seed: int = 0) -> None:
        self.kid = kid
        self.private = Ed25519PrivateKey.from_private_bytes(bytes([seed or int(kid)] * 32))
        raw = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = LogKey(kid=kid, x=unpadded(raw))

    def sign(
        self, seq: int, hash_: str, at: datetime, *, log_id: str = LOG_ID, region: str = REGION
    ) -> CheckpointSigned:
        text = statement(region, log_id, seq, hash_, at)
        return CheckpointSigned(
            log_id=log_id,
            seq=Seq(seq),
            hash=hash_,
            at=at,
            kid=self.kid,
            signature=unpadded(self.private.sign(text)),
        )


class Chain:
    """A log as a list of stored entries, each event in an entry of its own."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self._codec = Codec()
        self._versions: dict[str, int] = {}

    @property
    def head(self) -> str:
        return entry_hash(self.entries[-1]) if self.entries else GENESIS_HASH

    @property
    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=len(self.entries))

    def add(self, stream: str, event: Event, command: str = "test.do") -> None:
        version = self._versions[stream] = self._versions.get(stream, 0) + 1
        commit = Commit(
            id=CommitId(new_id()),
            at=self.now,
            actor=Actor(account="service:test"),
            command=command,
            events=(self._codec.record(StreamId(stream), version, event),),
        )
        at = self.now.isoformat().replace("+00:00", "Z")
        seq = Seq(len(self.entries) + 1)
        self.entries.append(encode_entry(seq, self.head, at, [encode_commit(commit)]))

    def work(self, entries: int = 1) -> None:
        for _ in range(entries):
            uuid = new_id()
            self.add(f"project/{uuid}", ProjectCreated(project=ProjectId(uuid), name="p"))

    def announce(self, signing: Signing) -> None:
        made = KeyCreated(kid=signing.kid, x=signing.public.x, version="v", use="log")
        self.add(f"key/{signing.kid}", made)

    def retire(self, signing: Signing) -> None:
        self.add(f"key/{signing.kid}", KeyRetired(honoured_until=self.now))

    def sign(self, signing: Signing) -> None:
        """Sign the head as it is."""
        signed = signing.sign(len(self.entries), self.head, self.now)
        self.add("checkpoint/log", signed)


def rechained(entries: Sequence[bytes], first: int = 1, prev: str = GENESIS_HASH) -> list[bytes]:
    """Number and chain entries anew, as somebody would who rewrites history."""
    made: list[bytes] = []
    for seq, entry in enumerate(entries, start=first):
        values = msgspec.json.decode(entry, type=dict[str, msgspec.Raw])
        values["seq"] = msgspec.Raw(str(seq).encode())
        values["prev"] = msgspec.Raw(f'"{prev}"'.encode())
        made.append(msgspec.json.encode(values))
        prev = entry_hash(made[-1])
    return made


def export(
    path: Path,
    entries: Sequence[bytes],
    keys: Sequence[LogKey] = (),
    *,
    first: int = 1,
    prev: str = GENESIS_HASH,
) -> Path:
    """Write entries as an export does."""
    last = Seq(first + len(entries) - 1)
    header = Header(
        region=REGION, log_id=LOG_ID, first=Seq(first), last=last, prev=prev, keys=tuple(keys)
    )
    with written_whole(path) as file:
        writer = Writer(file, header)
        for seq, entry in enumerate(entries, start=first):
            writer.write(seq, entry)
        writer.finish()
    return path
