"""Verify a log end to end: as it is stored, or as it was exported to files."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, aclosing
from datetime import datetime
from pathlib import Path

import msgspec

from mulligan.errors import Corrupt
from mulligan.log.export_file import Header, Reader, names_of
from mulligan.log.protocol import EventLog
from mulligan.log.view import BrokenChain
from mulligan.log.vouching import LogKey, Vouched, Vouching
from mulligan.model import Seq

_FIRST = Seq(1)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: how many entries and commits hold; the first bad entry, if there is one.

    ``hash`` is that of the last good entry; two replicas whose verdicts share it hold the same log.
    """

    entries: int
    commits: int
    hash: str
    bad: Seq | None = None
    problem: str = ""

    @property
    def sound(self) -> bool:
        """Whether the whole range holds."""
        return self.bad is None


async def verify(
    log: EventLog,
    first: Seq = _FIRST,
    last: Seq | None = None,
    after_hash: str | None = None,
    vouching: Vouching | None = None,
) -> Verdict:
    """Check [first, last] (to the head by default): every entry there, readable, and chained.

    ``after_hash`` is the known hash of entry ``first - 1``; ``vouching``, if given, looks at the
    checkpoints on the way, and is not finished by this. Raise TailTooShort when the range
    begins in the archive, Unavailable when the log cannot be read.
    """
    entries = commits = 0
    newest = after_hash or ""
    try:
        async with aclosing(log.read(first, log.head.seq if last is None else last)) as batches:
            async for batch in batches:
                if newest and batch[0].entry.prev != newest:
                    raise BrokenChain(batch[0].seq, "does not follow from the entry before it")
                if vouching is not None:
                    for stored in batch:
                        vouching.take(stored)
                entries += len(batch)
                commits += sum(len(stored.entry.commits) for stored in batch)
                newest = batch[-1].hash
    except BrokenChain as error:
        return Verdict(
            entries=entries,
            commits=commits,
            hash=newest,
            bad=Seq(error.seq),
            problem=error.message,
        )
    return Verdict(entries=entries, commits=commits, hash=newest)


class FileVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Files that hold: entries [first, last], chained, the last of ``hash`` and written at ``at``.

    ``vouched`` is the newest signed checkpoint inside; what lies after it is chained only.
    """

    region: str
    log_id: str
    first: Seq
    last: Seq
    commits: int
    hash: str
    at: datetime
    vouched: Vouched | None


def verify_files(
    paths: Sequence[Path],
    keys: Sequence[LogKey] | None,
    expected: Mapping[Seq, str],
    progress: Callable[[Seq], None] = lambda seq: None,
) -> FileVerdict:
    """Check exported segments, in their order, as one log; no more than an entry is in memory.

    ``keys`` are the log keys to trust; None trusts those that the files themselves name.
    ``expected`` are hashes of entries that were noted elsewhere. Raise Corrupt, naming the entry,
    for whatever does not hold, FailedPrecondition for a file that cannot be read.
    """
    with ExitStack() as stack:
        readers = [stack.enter_context(Reader.open(path)) for path in paths]
        headers = [reader.header for reader in readers]
        region, log_id = names_of(headers)
        told = [key for header in headers for key in header.keys] if keys is None else keys
        vouching = Vouching(
            region,
            log_id,
            told,
            trust_log=keys is None,
            before=(Seq(headers[0].first - 1), headers[0].prev),
            seeded=[one for header in headers for one in header.seeded],
        )
        seq, newest, commits, at = Seq(headers[0].first - 1), headers[0].prev, 0, None
        for reader in readers:
            _require_next(reader, seq, newest)
            for stored in reader.entries():
                vouching.take(stored)
                seq, newest, at = stored.seq, stored.hash, stored.entry.at
                commits += len(stored.entry.commits)
                if expected.get(seq, newest) != newest:
                    raise BrokenChain(seq, "is not the one that was noted: it was rewritten")
                progress(seq)
        vouching.finish()
    assert at is not None, "an export holds at least one entry"
    _require_noted(expected, headers[0], seq)
    return FileVerdict(
        region=region,
        log_id=log_id,
        first=headers[0].first,
        last=seq,
        commits=commits,
        hash=newest,
        at=at,
        vouched=vouching.vouched,
    )


def _require_next(reader: Reader, seq: Seq, newest: str) -> None:
    header = reader.header
    if header.first != seq + 1:
        raise Corrupt(f"a file that begins at entry {header.first} follows one up to {seq}")
    if header.prev != newest:
        raise BrokenChain(header.first, "does not follow from the last entry of the file before")


def _require_noted(expected: Mapping[Seq, str], header: Header, last: Seq) -> None:
    for seq, noted in expected.items():
        if seq > last:
            raise Corrupt(f"the log ends at entry {last}, before entry {seq} that was noted: cut")
        if seq == header.first - 1 and noted != header.prev:
            raise BrokenChain(header.first, "does not follow from the entry that was noted")
        if seq < header.first - 1:
            raise Corrupt(f"entry {seq} that was noted lies before {header.first}, the first here")
