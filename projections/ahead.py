"""Building ahead: what a newer release needs, beside what still serves, before its turn to work.

When its projector takes over, it swaps in what it has, and nothing stands still meanwhile.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing

import anyio

from mulligan.events.codec import Codec
from mulligan.log.protocol import EventLog
from mulligan.model import Seq
from mulligan.projections import checkpoint, standby
from mulligan.projections.postgres import Connection, connected
from mulligan.projections.rebuild import Progress, Rebuilder
from mulligan.projections.schema import ReadModel
from mulligan.projections.status import Building, Seen

_log = logging.getLogger(__name__)

_LOOK_S = 1.0


class Ahead:
    """Builds ahead the read models that serve in an older form, and keeps them near the head.

    ``ready`` tells that this release could take over at once; ``problems`` are those of read models
    that it cannot build, by name; ``outrun`` that a newer release's serve,
    which is known once it has ``looked``.
    """

    def __init__(
        self,
        log: EventLog,
        dsn: str,
        models: Sequence[ReadModel],
        codec: Codec,
        seen: Mapping[str, Seen],
        look_every: float = _LOOK_S,
    ) -> None:
        self.ready = False
        self.outrun = False
        self.looked = anyio.Event()
        self.problems: dict[str, str] = {}
        self._disowned = False
        self._log = log
        self._dsn = dsn
        self._models = tuple(models)
        self._codec = codec
        self._seen = seen
        self._look_every = look_every

    async def keep(self, working: anyio.Event, idle: anyio.Event) -> None:
        """Stay ahead until this release works; ``idle`` is set once nothing is being built."""
        try:
            while not working.is_set():
                await self.once()
                self.ready = not self.problems and not self.outrun
                with anyio.move_on_after(self._look_every):
                    await working.wait()
        finally:
            self.ready = False
            idle.set()

    async def once(self) -> Sequence[Progress]:
        """Build what is needed and not there yet, bring it to the head; return how each ended."""
        needed = await self._needed()
        ended: list[Progress] = []
        if not needed:
            return ended
        head = self._log.head.seq
        for model in needed:
            one = Building(version=model.version, seq=Seq(0), target=head)
            self._seen[model.name].building = one
        rebuilder = Rebuilder(self._log, self._dsn, models=needed, codec=self._codec)
        try:
            async with aclosing(rebuilder.build_ahead()) as steps:
                async for step in steps:
                    self._note(step)
                    if step.finished:
                        ended.append(step)
        finally:
            for model in needed:
                self._seen[model.name].building = None
        return ended

    async def _needed(self) -> list[ReadModel]:
        """Return the read models that serve as an older release made them."""
        found, outrun, disowned = [], False, False
        async with connected(self._dsn) as connection:
            await checkpoint.prepare(connection)
            for model in self._models:
                row = await checkpoint.find(connection, model.schema)
                if row is None:
                    continue
                if row.outdated(model) and model.name not in self.problems:
                    found.append(model)
                outrun = outrun or row.outruns(model)
                disowned = disowned or (row.serves(model) and row.problem == row.disowned)
            await self._evict_older(connection, disowned)
        self.outrun = outrun
        self.looked.set()
        return found

    async def _evict_older(self, connection: Connection, disowned: bool) -> None:
        """End the work of a release too old for what serves, once two looks have found it so.

        Release 0.1.0 halts what it cannot fold and keeps its turn; later ones give way themselves.
        """
        if disowned and self._disowned:
            _log.warning("a projector of an older release cannot fold what serves; it is ended")
            await standby.evict(connection)
        self._disowned = disowned

    def _note(self, step: Progress) -> None:
        if step.phase == "failed":
            self.problems[step.name] = step.detail
            problem = {"model": step.name, "problem": step.detail}
            _log.error("read model cannot be built ahead", extra=problem)
        (version,) = (model.version for model in self._models if model.name == step.name)
        seq = Seq(min(step.seq, step.target))
        self._seen[step.name].building = Building(version=version, seq=seq, target=step.target)
