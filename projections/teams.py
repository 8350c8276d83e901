"""Which read models are built by which process, and whether more than one process pays."""

import os
from collections.abc import Mapping, Sequence
from contextlib import aclosing

from mulligan.log.protocol import EventLog
from mulligan.model import Seq
from mulligan.projections.models import READ_MODELS
from mulligan.projections.schema import ReadModel

_PAYS = 60_000
"""Events: a process takes half a second to start, in which one folds about so many."""
_MOST = 4
"""Processes, for each decodes every entry anew and there are only so many large read models."""
_LOOKS, _LOOK = 4, 8
"""So many looks at the log, of so many entries each, tell how many events it has."""

_COSTS: Mapping[str, int] = {
    "audit": 12, "claims": 10, "commands": 7, "providers": 7, "names": 5, "machines": 3,
    "actions": 3,
}  # fmt: skip
"""Processor time of a build, ours and Postgres's, in parts of the whole; the others take none."""

_OWN = {model.name: model for model in READ_MODELS}


def known(model: ReadModel) -> bool:
    """Tell whether another process finds this very read model by its name."""
    return _OWN.get(model.name) is model


async def events_before(log: EventLog, last: Seq) -> int:
    """Return about how many events the entries up to ``last`` hold."""
    seen = events = 0
    for n in range(1, _LOOKS + 1):
        first = Seq(max(1, last * n // _LOOKS - _LOOK))
        async with aclosing(log.read(first, Seq(min(last, first + _LOOK)))) as batches:
            async for batch in batches:
                seen += len(batch)
                events += sum(len(c.events) for one in batch for c in one.entry.commits)
    return last * events // seen if seen else 0


def processes(events: int) -> int:
    """Return how many processes are to build from so many events."""
    return min(_MOST, len(os.sched_getaffinity(0))) if events >= _PAYS else 1


def divided(models: Sequence[ReadModel], processes: int) -> list[list[ReadModel]]:
    """Divide read models into at most so many teams of about the same work, none of them empty."""
    teams: list[list[ReadModel]] = [[] for _ in range(max(1, min(processes, len(models))))]
    for model in sorted(models, key=_cost, reverse=True):
        min(teams, key=lambda team: (sum(map(_cost, team)), len(team))).append(model)
    return teams


def _cost(model: ReadModel) -> int:
    return _COSTS.get(model.name, 0)
