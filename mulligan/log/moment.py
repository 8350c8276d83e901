"""Moments of a log: a position, or a time that stands for the last entry dated no later."""

from contextlib import aclosing
from datetime import datetime

from mulligan.errors import InvalidArgument
from mulligan.log.protocol import EventLog, Stored
from mulligan.model import Seq

MAX_TEXT = 64


async def find_moment(log: EventLog, text: str, field: str) -> Seq:
    """Return the position that a text stands for: a number, or a time as in RFC 3339.

    Raise InvalidArgument naming the ``field`` when it is neither, lies before the first entry, or
    is a position beyond the head; a time yet to come stands for the head. Raise as log.read does.
    """
    head = log.head.seq
    if text.isdecimal() and len(text) <= 19:
        seq = Seq(int(text))
        if not 1 <= seq <= head:
            raise InvalidArgument(field, f"{seq} is not between 1 and the head, {head}")
        return seq
    when = read_time(text, field)
    if not head:
        raise InvalidArgument(field, "there is nothing in the log yet")
    found = await last_before(log, when)
    if not found:
        began = (await _entry(log, Seq(1))).entry.at
        first = began.isoformat().replace("+00:00", "Z")
        raise InvalidArgument(field, f"lies before the first entry, of {first}")
    return found


async def last_before(log: EventLog, when: datetime) -> Seq:
    """Return the last entry dated ``when`` or earlier, 0 if all are later; ~log2 reads of one.

    Entries are dated in their order.
    """
    low, high = 0, int(log.head.seq)
    if high and (await _entry(log, Seq(high))).entry.at <= when:
        return Seq(high)
    while low < high - 1:
        middle = (low + high) // 2
        if (await _entry(log, Seq(middle))).entry.at <= when:
            low = middle
        else:
            high = middle
    return Seq(low)


async def _entry(log: EventLog, seq: Seq) -> Stored:
    async with aclosing(log.read(seq, seq)) as batches:
        batch = await anext(batches)
        return batch[0]


def read_time(text: str, field: str) -> datetime:
    """Read a time as in RFC 3339; raise InvalidArgument naming the ``field`` for anything else."""
    try:
        when = datetime.fromisoformat(text[:MAX_TEXT])
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        shown = repr(text[:MAX_TEXT])
        wanted = "a position such as 1234, or a time such as 2027-01-31T08:00:00Z"
        raise InvalidArgument(field, f"{shown} is not {wanted}")
    return when
