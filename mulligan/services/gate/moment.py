"""The moment a call asks of: by its metadata ``mulligan-at``, and then all it reads is of then.

What its caller may see is decided by their roles now, over what was there then.
"""

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Any

from mulligan.commands.past import PastCommands
from mulligan.errors import InvalidArgument
from mulligan.log.moment import find_moment
from mulligan.log.past import PastLog
from mulligan.log.protocol import EventLog, Head
from mulligan.model import AT_HEADER, Seq
from mulligan.projections.moment import Scene
from mulligan.proto.v1 import READS
from mulligan.queries.moments import KEPT, Moments, PastDatabase
from mulligan.queries.past_states import load_past


class Past:
    """What a call stands on that asks of a moment: the log, the read models and states of then."""

    def __init__(self, log: PastLog, database: PastDatabase, commands: PastCommands) -> None:
        self.log = log
        self.database = database
        self.commands = commands


class Pasts:
    """Finds moments by what calls say, and remembers the recent ones."""

    def __init__(self, log: EventLog, moments: Moments) -> None:
        self._log = log
        self._moments = moments
        self._known: OrderedDict[tuple[Seq, datetime | None], Past] = OrderedDict()

    async def find(self, text: str) -> Past:
        """Return the moment that a text stands for; raise InvalidArgument when there is none."""
        seq = await find_moment(self._log, text, AT_HEADER)
        when = None if text.isdecimal() else datetime.fromisoformat(text)
        past = self._known.get((seq, when))
        if past is None:
            past = self._known[seq, when] = await self._made(seq, when)
        self._known.move_to_end((seq, when))
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return past

    async def _made(self, seq: Seq, when: datetime | None) -> Past:
        """Make it: states are those after the entry, and the time is the one that was named."""
        async with aclosing(self._log.read(seq, seq)) as batches:
            stored = (await anext(batches))[0]
        log_id = self._log.head.log_id
        log = PastLog(self._log, Head(seq=seq, hash=stored.hash, log_id=log_id))
        database = self._moments.past(Scene(seq=seq, chain=stored.hash, log_id=log_id))
        commands = PastCommands(log, partial(load_past, database), when or stored.entry.at)
        return Past(log, database, commands)


def moment_asked(path: str, metadata: Mapping[str, Any]) -> str:
    """Return the moment that a call asks of, none for the present.

    Raise InvalidArgument for a call that does not only read, or of what has no past.
    """
    text = str(metadata.get(AT_HEADER) or "")
    if text and path not in READS:
        name = path.rpartition(".")[2].replace("/", ".")
        raise InvalidArgument(AT_HEADER, f"{name} acts or tells of now; leave it out")
    return text
