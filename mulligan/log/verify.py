"""Verify a range of the log end to end."""

from contextlib import aclosing

import msgspec

from mulligan.log.protocol import EventLog
from mulligan.log.view import BrokenChain
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
    log: EventLog, first: Seq = _FIRST, last: Seq | None = None, after_hash: str | None = None
) -> Verdict:
    """Check [first, last] (to the head by default): every entry there, readable, and chained.

    ``after_hash`` is the known hash of entry ``first - 1``. Raise TailTooShort when the range
    begins in the archive, Unavailable when the log cannot be read.
    """
    entries = commits = 0
    newest = after_hash or ""
    try:
        async with aclosing(log.read(first, log.head.seq if last is None else last)) as batches:
            async for batch in batches:
                if newest and batch[0].entry.prev != newest:
                    raise BrokenChain(batch[0].seq, "does not follow from the entry before it")
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
