"""A file of log entries, byte for byte, that proves itself wherever it is taken.

Lines, each ended by a newline: a header; one entry a line as it is stored in the log; and an end
with the hash of the last entry and the sha256 of all lines before, against decay and cuts. What
nobody can forge are the signed checkpoints inside.
"""

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self, cast

import msgspec
import zstandard

from mulligan.errors import Corrupt, FailedPrecondition
from mulligan.events.codec import GENESIS_HASH, entry_hash
from mulligan.log.identity import Ancestor
from mulligan.log.protocol import Stored
from mulligan.log.view import link
from mulligan.log.vouching import LogKey
from mulligan.model import Seq

FORMAT = "mulligan-log"
VERSION = 1
MAX_LINE = 16 * 1024 * 1024
"""Bytes; an entry has at most 512 KiB."""
_ZSTD = b"\x28\xb5\x2f\xfd"
_MAX_WINDOW = 2**27


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds: entries [first, last] of a log; ``prev`` is the hash before the first.

    ``keys`` are the log keys that were known when it was written, for convenience: who does not
    trust the file takes them from elsewhere. ``seeded`` are the logs that this one goes on from.
    """

    format: str = FORMAT
    version: int = VERSION
    region: str
    log_id: str
    first: Seq
    last: Seq
    prev: str
    keys: tuple[LogKey, ...] = ()
    seeded: tuple[Ancestor, ...] = ()


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The last line: the hash of the last entry, and the sha256 of every line before this one."""

    end: Seq
    hash: str
    sha256: str


_encode = msgspec.json.encode
_header_decoder = msgspec.json.Decoder(Header)


class Writer:
    """Writes one export; entries come in order, and each must follow from the one before."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._file = file
        self._header = header
        self._digest = hashlib.sha256()
        self._next = header.first
        self._newest = header.prev
        self._line(_encode(header))

    def write(self, seq: int, entry: bytes) -> Stored:
        """Add an entry and return it; raise BrokenChain when it is not the one that follows."""
        stored = link(self._next, self._newest, entry)
        if seq != self._next or b"\n" in entry:
            raise Corrupt(f"entry {seq} came where {self._next} was expected, or is no single line")
        self._newest = stored.hash
        self._next = Seq(self._next + 1)
        self._line(entry)
        return stored

    def finish(self) -> str:
        """Write the end and return the hash of the last entry; raise Corrupt if one is missing."""
        if self._next != self._header.last + 1:
            raise Corrupt(f"the export broke off before entry {self._next}; do it again")
        end = End(end=self._header.last, hash=self._newest, sha256=self._digest.hexdigest())
        self._line(_encode(end))
        return self._newest

    def _line(self, text: bytes) -> None:
        line = text + b"\n"
        self._digest.update(line)
        self._file.write(line)


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a draft beside ``path`` that takes its place, synced, when the block ends well."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


class Reader:
    """Reads one export from its first line to its last, checking what the file says of itself.

    One that is compressed with zstd, as the archive's segments are, is read as it is.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = _plain(file)
        self._name = name
        self._digest = hashlib.sha256()
        self.header = self._header()

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open a file; raise FailedPrecondition if that fails, Corrupt if it is no export."""
        try:
            with path.open("rb") as file:
                yield cls(file, path.name)
        except OSError as error:
            raise FailedPrecondition(f"{path} cannot be read: {error.strerror}") from error

    def entries(self) -> Iterator[Stored]:
        """Yield the entries, each checked to follow from the one before.

        Raise BrokenChain where one does not, Corrupt where the file does not hold what it says.
        """
        header, prev = self.header, self.header.prev
        for seq in range(header.first, header.last + 1):
            stored = link(seq, prev, self._line(f"entry {seq}"))
            prev = stored.hash
            yield stored
        expected = End(end=header.last, hash=prev, sha256=self._digest.hexdigest())
        if self._line("its end") != _encode(expected):
            raise Corrupt(
                f"{self._name} is damaged: its last line is not the digest of the lines before"
            )
        if self._read_line():
            raise Corrupt(f"{self._name} goes on after its end")

    def _header(self) -> Header:
        try:
            header = _header_decoder.decode(self._line("its header"))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Corrupt(f"{self._name} is no export of a log: {error}") from error
        if (header.format, header.version) != (FORMAT, VERSION):
            raise Corrupt(
                f"{self._name} is {header.format} {header.version}, not {FORMAT} {VERSION}"
            )
        if not 1 <= header.first <= header.last:
            raise Corrupt(f"{self._name} says it holds {header.first} to {header.last}")
        if header.first == 1 and header.prev != GENESIS_HASH:
            raise Corrupt(f"{self._name} says that something came before entry 1")
        return header

    def _line(self, what: str) -> bytes:
        line = self._read_line()
        if not line.endswith(b"\n"):
            raise Corrupt(f"{self._name} is cut off or damaged at {what}")
        self._digest.update(line)
        return line[:-1]

    def _read_line(self) -> bytes:
        try:
            return self._file.readline(MAX_LINE)
        except zstandard.ZstdError as error:
            raise Corrupt(f"{self._name} is cut off or damaged: {error}") from error


def _plain(file: BinaryIO) -> BinaryIO:
    """Return the file, or what it decompresses to as it is read."""
    raw = (
        file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, file))
    )
    if not raw.peek(len(_ZSTD)).startswith(_ZSTD):  # a pipe cannot be read twice
        return raw
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    stream = decompressor.stream_reader(raw, read_across_frames=True, closefd=False)
    return io.BufferedReader(stream, 2**17)


def parse_note(text: str) -> tuple[Seq, str] | None:
    """Read ``SEQ:HASH``, as somebody noted a head elsewhere; None for anything else."""
    seq, _, digest = text.partition(":")
    if not seq.isdecimal() or len(seq) > 18 or len(digest) != len(entry_hash(b"")):
        return None
    return Seq(int(seq)), digest.lower()


def names_of(headers: Sequence[Header]) -> tuple[str, str]:
    """Return the region and the log id of all segments; raise Corrupt when they differ."""
    found = {(header.region, header.log_id) for header in headers}
    if len(found) != 1:
        raise Corrupt("the files are of different logs")
    return found.pop()
