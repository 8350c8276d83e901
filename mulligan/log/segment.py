"""Sealed segments: entries [first, last] of a log in one compressed file, and its signed manifest.

A segment file is an export of the log (``log.export_file``) compressed with zstd. What it holds
never changes. ``copy.mlog.zst`` is the same, of what lies in no segment yet, and is overwritten.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec
import zstandard

from mulligan.errors import Corrupt
from mulligan.log.export_file import Header, Reader, Writer
from mulligan.log.identity import Ancestor
from mulligan.log.protocol import Stored
from mulligan.log.view import BrokenChain
from mulligan.log.vouching import LogKey, unpadded, verifies
from mulligan.model import Seq

FORMAT = "mulligan-segment"
VERSION = 1
FOLDER = "segments/"
SUFFIX = ".mlog.zst"
MANIFEST_SUFFIX = ".json"
COPY = "copy.mlog.zst"
"""The copy of what lies in no segment yet; its manifest lies beside it, as with segments."""
OWNER = "archive.json"
"""Says whose log lies at a location, so that no two logs are archived into one."""

MAX_RAW = 2**28 + 2**20
"""Bytes of entries that a segment may hold: the most that one may be set to, and an entry more."""

_NAME = re.compile(r"(segments/[0-9a-f]{16}-[0-9a-f]{16}-[0-9a-f]{16}|copy)\.mlog\.zst")
_LEVEL = 3


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment is: entries [first, last]; ``prev`` is the hash of the entry before them.

    ``bytes`` and ``sha256`` are the file's, ``raw_bytes`` those of the entries, ``hash`` that of
    the last entry. ``signature`` is Ed25519 by the log key ``kid`` over ``statement``, base64url.
    """

    format: str = FORMAT
    version: int = VERSION
    region: str
    log_id: str
    first: Seq
    last: Seq
    first_at: datetime
    last_at: datetime
    events: int
    prev: str
    hash: str
    raw_bytes: int
    bytes: int
    sha256: str
    name: str
    sealed_at: datetime
    kid: str = ""
    signature: str = ""


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """What etcd keeps of a segment under ``archive/<first>``: where it lies, and what it is."""

    location: str
    manifest: Manifest


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Whose log an archive holds, and which logs that one goes on from."""

    format: str = "mulligan-archive"
    version: int = 1
    region: str
    log_id: str
    seeded: tuple[Ancestor, ...] = ()


class Signs(Protocol):
    """Whoever holds the private half of a log key."""

    @property
    def kid(self) -> str:
        """The id of the key."""

    async def ready(self) -> None:
        """Return once it can sign; raise Unavailable if that takes long."""

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature."""


class Packed(msgspec.Struct, frozen=True):
    """A segment file and its manifest, not signed yet."""

    manifest: Manifest
    data: bytes


_manifest_decoder = msgspec.json.Decoder(Manifest)
_archived_decoder = msgspec.json.Decoder(Archived)
_owner_decoder = msgspec.json.Decoder(Owner)


def segment_name(first: int, last: int, sha256: str) -> str:
    """Return the name of the segment of entries [first, last] in its depot.

    It tells the file's digest too, so that an archiver that was thought dead and comes back late
    never puts another file in the place of one that counts.
    """
    return f"{FOLDER}{first:016x}-{last:016x}-{sha256[:16]}{SUFFIX}"


def manifest_name(name: str) -> str:
    """Return the name of the manifest beside a segment file."""
    return name + MANIFEST_SUFFIX


def statement(manifest: Manifest) -> bytes:
    """Return what is signed: a text of sixteen lines, each ended, with times in UTC to 1e-6 s."""
    lines = (
        "mulligan-segment-v1",
        manifest.region,
        manifest.log_id,
        manifest.first,
        manifest.last,
        _moment(manifest.first_at),
        _moment(manifest.last_at),
        manifest.events,
        manifest.prev,
        manifest.hash,
        manifest.raw_bytes,
        manifest.bytes,
        manifest.sha256,
        manifest.name,
        _moment(manifest.sealed_at),
        manifest.kid,
    )
    return "".join(f"{line}\n" for line in lines).encode()


def signed(manifest: Manifest, signs: Signs) -> Manifest:
    """Return the manifest with a signature; the signer must be ready."""
    named = msgspec.structs.replace(manifest, kid=signs.kid)
    return msgspec.structs.replace(named, signature=unpadded(signs.sign(statement(named))))


def signed_with(key: LogKey, manifest: Manifest) -> bool:
    """Tell whether the manifest bears the key's signature, given before the key was retired."""
    if key.retired_at is not None and manifest.sealed_at > key.retired_at:
        return False
    return manifest.kid == key.kid and verifies(key, manifest.signature, statement(manifest))


def read_manifest(data: bytes, name: str) -> Manifest:
    """Read a manifest; raise Corrupt, naming the file, for what is none."""
    try:
        manifest = _manifest_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Corrupt(f"the manifest {name} cannot be read: {error}") from error
    require_sane(manifest)
    return manifest


def read_archived(data: bytes, key: str) -> Archived:
    """Read what etcd keeps of a segment; raise Corrupt, naming the key, for what is none."""
    try:
        archived = _archived_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Corrupt(f"{key} cannot be read: {error}") from error
    require_sane(archived.manifest)
    return archived


def read_owner(data: bytes, location: str) -> Owner:
    """Read whose archive this is; raise Corrupt for what says no such thing."""
    try:
        return _owner_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Corrupt(f"{OWNER} in {location} cannot be read: {error}") from error


def require_sane(manifest: Manifest) -> None:
    """Raise Corrupt for a manifest that no archiver writes."""
    form, version, name = manifest.format, manifest.version, manifest.name
    if (form, version) != (FORMAT, VERSION):
        raise Corrupt(f"the manifest of {name} is {form} {version}, not {FORMAT} {VERSION}")
    if not _NAME.fullmatch(name):
        raise Corrupt(f"a manifest names the file {name!r}, which no segment is called")
    if not 1 <= manifest.first <= manifest.last or manifest.raw_bytes > MAX_RAW:
        raise Corrupt(f"the manifest of {name} speaks of no possible segment")
    if name not in (COPY, segment_name(manifest.first, manifest.last, manifest.sha256)):
        raise Corrupt(f"the manifest of {manifest.first} to {manifest.last} names the file {name}")


def pack(
    header: Header, entries: Iterable[tuple[int, bytes]], sealed_at: datetime, name: str = ""
) -> Packed:
    """Compress entries, each checked to follow, and say what they are; for a thread.

    The file is called ``name``, or as a segment is.

    Raise BrokenChain when one does not follow from the one before, Corrupt when one is missing.
    """
    raw, first_at, last_at, events, size = io.BytesIO(), None, None, 0, 0
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    with compressor.stream_writer(raw, closefd=False) as file:
        writer = Writer(file, header)
        for seq, value in entries:
            entry = writer.write(seq, value).entry
            first_at, last_at = first_at or entry.at, entry.at
            events += sum(len(commit.events) for commit in entry.commits)
            size += len(value)
        newest = writer.finish()
    assert first_at is not None and last_at is not None, "a segment holds at least one entry"
    data = raw.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    manifest = Manifest(
        region=header.region,
        log_id=header.log_id,
        first=header.first,
        last=header.last,
        first_at=first_at,
        last_at=last_at,
        events=events,
        prev=header.prev,
        hash=newest,
        raw_bytes=size,
        bytes=len(data),
        sha256=sha256,
        name=name or segment_name(header.first, header.last, sha256),
        sealed_at=sealed_at,
    )
    return Packed(manifest, data)


def entries_of(manifest: Manifest, data: bytes) -> Sequence[bytes]:
    """Return the entries of a segment file whose digest holds, not chained yet; for a thread.

    Raise Corrupt, naming the file and its first entry, when it is not what the manifest says.
    """
    _require_digest(manifest, data)
    most = manifest.raw_bytes + 2**20 + manifest.last - manifest.first
    try:
        with zstandard.ZstdDecompressor().stream_reader(data) as file:
            text = file.read(most)
    except zstandard.ZstdError as error:
        raise _damaged(manifest, str(error)) from error
    lines = text.split(b"\n")
    if len(lines) != manifest.last - manifest.first + 4:  # header, end, and nothing after that
        raise _damaged(manifest, "it does not hold the entries that it should")
    return lines[1:-2]


def checked(manifest: Manifest, data: bytes) -> Iterator[Stored]:
    """Yield the entries of a segment file, each checked to follow; for a thread.

    Raise Corrupt, naming the file and an entry, for whatever is not as the manifest says.
    """
    _require_digest(manifest, data)
    reader = Reader(io.BytesIO(data), manifest.name)
    header = reader.header
    said = (header.region, header.log_id, header.first, header.last, header.prev)
    meant = (manifest.region, manifest.log_id, manifest.first, manifest.last, manifest.prev)
    if said != meant:
        raise _damaged(manifest, "its header is not that of its manifest")
    newest = ""
    for stored in reader.entries():
        newest = stored.hash
        yield stored
    if newest != manifest.hash:
        raise BrokenChain(manifest.last, f"in {manifest.name} is not what its manifest says")


def require_next(manifest: Manifest, before: Manifest | None) -> None:
    """Raise BrokenChain unless a segment follows from the one before, or is the first of a log.

    It may be of another log than the one before, which goes on from that.
    """
    expected = before.last + 1 if before is not None else 1
    if manifest.first != expected:
        raise BrokenChain(expected, f"is missing: the next segment is {manifest.name}")
    if before is not None and manifest.prev != before.hash:
        raise BrokenChain(manifest.first, f"in {manifest.name} does not follow from {before.name}")


def due_to_prune(
    segments: Sequence[Manifest], *, now: datetime, keep: timedelta, spare: int, newest: Seq
) -> Sequence[Manifest]:
    """Return which sealed segments may leave the store, oldest first.

    Those all of whose entries are older than ``keep``; and as many more as it takes to make
    ``spare`` bytes of room. None that holds an entry beyond ``newest``.
    """
    due = []
    for manifest in segments:
        old = manifest.last_at < now - keep
        if manifest.last > newest or not (old or spare > 0):
            break
        spare -= manifest.raw_bytes
        due.append(manifest)
    return due


def cut(sizes: Sequence[int], limit: int) -> int | None:
    """Return how many of the oldest entries make a segment of ``limit`` bytes; None: too few yet.

    A segment holds no more than the limit, unless its one entry does.
    """
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > limit:
            return max(count, 1)
        if total == limit:
            return count + 1
    return None


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _require_digest(manifest: Manifest, data: bytes) -> None:
    if len(data) != manifest.bytes or hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise _damaged(manifest, "its digest is not that of its manifest")


def _damaged(manifest: Manifest, why: str) -> Corrupt:
    return BrokenChain(
        manifest.first, f"and those up to {manifest.last} are in {manifest.name}, damaged: {why}"
    )
