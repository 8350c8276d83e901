"""The command runner of a moment that is over: it knows every state as it was, and does nothing."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from mulligan.commands.runner import Commands, Outcome, Request
from mulligan.commands.states import Known, Loaded
from mulligan.handlers.decision import Command
from mulligan.log.past import PastLog, unchangeable
from mulligan.log.protocol import Fence
from mulligan.model import Position, StreamId

REMEMBERED = 2_000
"""So many states are remembered of one moment."""

Load = Callable[[Sequence[StreamId]], Awaitable[Mapping[StreamId, Loaded]]]


class PastCommands(Commands):
    """States as they were at the end of ``log``, which came to be at ``at``."""

    def __init__(self, log: PastLog, load: Load, at: datetime) -> None:
        self.log = log
        self._load_past = load
        self._at = at
        self._remembered: OrderedDict[StreamId, Known] = OrderedDict()

    def close(self) -> None:
        """Nothing is followed."""

    def now(self) -> datetime:
        """Return the time of the moment."""
        return self._at

    def position(self) -> Position:
        """Return the position of the moment."""
        return Position(self.log.region, self.log.head.seq)

    def peek(self, stream: StreamId) -> Known | None:
        """Return a stream's state if it is at hand."""
        return self._remembered.get(stream)

    async def states(self, streams: list[StreamId]) -> Mapping[StreamId, Known]:
        """Return the states of several streams as they were."""
        found = {one: self._remembered[one] for one in streams if one in self._remembered}
        missing = [one for one in streams if one not in found]
        if missing:
            for stream, loaded in (await self._load_past(missing)).items():
                known = Known(loaded.version, loaded.state, loaded.created_at, loaded.updated_at)
                found[stream] = self._remembered[stream] = known
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return found

    def learn(self, states: Mapping[StreamId, Loaded]) -> None:
        """Nothing is decided here, so nothing needs to be at hand."""

    async def earlier(self, request: Request) -> Outcome | None:
        """Refuse: nothing is asked for in the past."""
        raise unchangeable()

    async def execute(
        self,
        command: Command,
        request: Request,
        *,
        fence: Fence | None = None,
        versions: Mapping[StreamId, int] | None = None,
    ) -> Outcome:
        """Refuse: the past is settled."""
        raise unchangeable()
