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
from mulligan.projections import checkpoint
from mulligan.projections.postgres import connected
from mulligan.projections.rebuild import Progress, Rebuilder
from mulligan.projections.schema import ReadModel
from mulligan.projections.status import Building, Seen

_log = logging.getLogger(__name__)

_LOOK_S = 1.0


class Ahead:
    """Builds ahead the read models that serve in an older form, and keeps them near the head.

    ``ready`` tells that this release could take over at once; ``problems`` are those of read models
    that it cannot build, by name.
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
        self.problems: dict[str, str] = {}
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
                self.ready = not self.problems
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
        found = []
        async with connected(self._dsn) as connection:
            await checkpoint.prepare(connection)
            for model in self._models:
                row = await checkpoint.find(connection, model.schema)
                if row is not None and row.outdated(model) and model.name not in self.problems:
                    found.append(model)
        return found

    def _note(self, step: Progress) -> None:
        if step.phase == "failed":
            self.problems[step.name] = step.detail
            problem = {"model": step.name, "problem": step.detail}
            _log.error("read model cannot be built ahead", extra=problem)
        (version,) = (model.version for model in self._models if model.name == step.name)
        seq = Seq(min(step.seq, step.target))
        self._seen[step.name].building = Building(version=version, seq=seq, target=step.target)
