"""A projector: folds the log into the tables in batches of any size; another may be as busy."""

import random
from collections.abc import Sequence
from contextlib import aclosing
from typing import cast

import anyio

from mulligan.errors import Unavailable
from mulligan.events.codec import Codec
from mulligan.log.memory import MemoryLog
from mulligan.log.protocol import Stored
from mulligan.projections import applying
from mulligan.projections.checkpoint import Fenced, Place
from mulligan.projections.fold import Poison, occurrences
from mulligan.projections.postgres import Connection

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
        for model in self._tables.models:
            before = places[model.schema]
            part = [stored for stored in batch if stored.seq > before.seq]
            if part:
                events = occurrences(part, model.kinds, self._codec)
                try:
                    places[model.schema] = await applying.apply(
                        self._connection, model, model.schema, before, part, events
                    )
                except Poison:
                    if self._tables.places[model.schema] == before:
                        raise  # else the rows were another's, whom the fence would have shown
                    raise Fenced(model.schema) from None


async def folded(entries: Sequence[Stored], models: Tables, size: int) -> Tables:
    """Fold everything into new tables, in batches of one size."""
    tables = Tables(models.models)
    connection = cast("Connection", TableConnection(tables))
    codec = Codec()
    for first in range(0, len(entries), size):
        batch = entries[first : first + size]
        for model in tables.models:
            events = occurrences(batch, model.kinds, codec)
            before = tables.places[model.schema]
            await applying.apply(connection, model, model.schema, before, batch, events)
    return tables
