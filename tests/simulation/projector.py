"""A projector: folds the log into the tables in batches of any size; another may be as busy."""

import random
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from typing import cast

import anyio

from mulligan.errors import Unavailable
from mulligan.events.codec import Codec
from mulligan.log.memory import MemoryLog
from mulligan.log.protocol import Stored
from mulligan.projections import applying, checkpoint
from mulligan.projections.checkpoint import ORIGIN, Fenced, Place, place_of
from mulligan.projections.fold import Poison, occurrences
from mulligan.projections.postgres import Connection
from mulligan.projections.schema import ReadModel

from .road import SimulatedRoad
from .tables import TableConnection, Tables


class Projector:
    """Moves every read model on from where it stands, and begins again when it was overtaken."""

    def __init__(
        self,
        tables: Tables,
        log: MemoryLog,
        rng: random.Random,
        road: SimulatedRoad,
        *,
        fenced: bool = True,
    ) -> None:
        self._tables = tables
        self._log = log
        self._rng = rng
        self._codec = Codec()
        lost = (lambda: rng.random() < 0.02) if fenced else (lambda: False)
        self._connection = cast(
            "Connection", TableConnection(tables, road, fenced=fenced, lost=lost)
        )

    async def run(self) -> None:
        """Fold for ever."""
        while True:
            try:
                await self._follow()
            except (Fenced, Unavailable):
                await anyio.sleep(self._rng.uniform(0.1, 0.5))

    async def _follow(self) -> None:
        places = dict(self._tables.places)
        start = min(places.values(), key=lambda place: place.seq)
        async with aclosing(self._log.tail(start.seq, start.chain)) as batches:
            async for batch in batches:
                rest = list(batch)
                while rest:
                    size = self._rng.choice((1, 3, 50, 500))
                    await self._fold(places, rest[:size])
                    del rest[:size]
                await anyio.sleep(self._rng.choice((0.03, 0.1, 0.5, 2.0)))

    async def _fold(self, places: dict[str, Place], batch: Sequence[Stored]) -> None:
        models = {model.schema: model for model in self._tables.models}
        for before in dict.fromkeys(places.values()):
            part = [stored for stored in batch if stored.seq > before.seq]
            if not part:
                continue
            here = [models[schema] for schema, place in places.items() if place == before]
            try:
                await fold_batch(self._connection, here, before, part, self._codec)
            except Poison:
                if all(self._tables.places[model.schema] == before for model in here):
                    raise  # else the rows were another's, whom the fence would have shown
                raise Fenced("overtaken") from None
            places |= {model.schema: place_of(part[-1]) for model in here}


async def fold_batch(
    connection: Connection,
    models: Iterable[ReadModel],
    before: Place,
    batch: Sequence[Stored],
    codec: Codec,
) -> None:
    """Fold a batch onto the read models that stand at one place, the idle ones all at once."""
    wanted = list(models)
    events = occurrences(batch, frozenset(k for model in wanted for k in model.kinds), codec)
    idle: dict[str, ReadModel] = {}
    for model in wanted:
        if model.journals or any(events[kind] for kind in model.kinds):
            await applying.apply(connection, model, model.schema, before, batch, events)
        else:
            idle[model.schema] = model
    if idle:
        async with connection.transaction():
            await checkpoint.advance(connection, idle, before, place_of(batch[-1]))


async def folded(entries: Sequence[Stored], live: Tables, size: int) -> Tables:
    """Fold everything into new tables, in batches of one size."""
    tables = Tables(live.models)
    connection = cast("Connection", TableConnection(tables))
    codec, before = Codec(), ORIGIN
    for first in range(0, len(entries), size):
        batch = entries[first : first + size]
        await fold_batch(connection, tables.models, before, batch, codec)
        before = place_of(batch[-1])
    return tables
